//! Connection settings of the process's environment, as libpq reads them: variables, the service
//! file, the password file and the files in `~/.postgresql`. The configuration takes precedence.

use std::collections::HashMap;
use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tracing::warn;

use super::HostPort;
use super::members::configuration;
use super::secret::Secret;
use crate::error::Result;

/// Settings by libpq's names, and the variables that hold them. A service file may also hold the
/// settings.
pub(super) const VARIABLES: [(&str, &str); 15] = [
    ("channel_binding", "PGCHANNELBINDING"),
    ("connect_timeout", "PGCONNECT_TIMEOUT"),
    ("dbname", "PGDATABASE"),
    ("passfile", "PGPASSFILE"),
    ("password", "PGPASSWORD"),
    ("require_auth", "PGREQUIREAUTH"),
    ("service", "PGSERVICE"),
    ("servicefile", "PGSERVICEFILE"),
    ("sslcert", "PGSSLCERT"),
    ("sslkey", "PGSSLKEY"),
    ("sslmode", "PGSSLMODE"),
    ("sslnegotiation", "PGSSLNEGOTIATION"),
    ("sslrootcert", "PGSSLROOTCERT"),
    ("sslsni", "PGSSLSNI"),
    ("target_session_attrs", "PGTARGETSESSIONATTRS"),
];

/// Environment of a process.
#[derive(Clone, Default)]
pub struct Environment {
    variables: HashMap<String, String>,
    service: HashMap<String, String>,
}

impl std::fmt::Debug for Environment {
    /// Prints none of the values, since they may include passwords.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Environment").finish_non_exhaustive()
    }
}

impl Environment {
    /// Reads the environment of this process.
    ///
    /// # Errors
    ///
    /// Fails where PGSERVICE names a service that is not in the service file.
    pub fn process() -> Result<Self> {
        let text = |text: OsString| text.into_string().ok();
        Self::new(std::env::vars_os().filter_map(|(name, value)| Some((text(name)?, text(value)?))))
    }

    /// Makes an environment of these variables.
    ///
    /// # Errors
    ///
    /// Fails where PGSERVICE names a service that is not in the service file.
    pub fn new(variables: impl IntoIterator<Item = (String, String)>) -> Result<Self> {
        let mut environment = Self {
            variables: variables.into_iter().collect(),
            service: HashMap::new(),
        };
        if let Some(name) = environment.setting("service") {
            environment.service = environment.read_service(&name)?;
        }
        Ok(environment)
    }

    /// Returns a variable; `None` if it is not set or empty.
    pub fn variable(&self, name: &str) -> Option<String> {
        self.variables
            .get(name)
            .filter(|value| !value.is_empty())
            .cloned()
    }

    /// Returns a setting by its libpq name, such as `sslmode`: from the service file, or else from the
    /// variable.
    pub fn setting(&self, name: &str) -> Option<String> {
        if let Some(value) = self.service.get(name) {
            return Some(value.clone());
        }
        let (_, variable) = VARIABLES.iter().find(|(known, _)| *known == name)?;
        self.variable(variable)
    }

    /// Returns the path of a file in the home directory, if the file exists.
    pub fn home_file(&self, name: &str) -> Option<String> {
        let path = Path::new(&self.variable("HOME")?).join(name);
        path.exists().then(|| path.to_str().map(str::to_owned))?
    }

    /// Returns the password for a server: PGPASSWORD, or else that of the password file.
    pub fn password(&self, host: &HostPort, database: &str, user: &str) -> Option<Secret> {
        if let Some(password) = self.setting("password") {
            return Some(Secret::from(password));
        }
        let path = self
            .setting("passfile")
            .or_else(|| self.home_file(".pgpass"))?;
        let metadata = std::fs::metadata(&path)
            .ok()
            .filter(|file| file.is_file())?;
        if metadata.permissions().mode() & 0o077 != 0 {
            warn!(
                path,
                "password file ignored: its group or others have access to it, set its mode to 0600"
            );
            return None;
        }
        let database = if database.is_empty() { user } else { database };
        let port = host.port.to_string();
        find_password(
            &std::fs::read_to_string(&path).ok()?,
            [host.host.as_str(), &port, database, user],
        )
    }

    /// Reads a section of the user's service file, or else of the system's.
    fn read_service(&self, name: &str) -> Result<HashMap<String, String>> {
        let files = [
            self.setting("servicefile").map(PathBuf::from),
            self.home_file(".pg_service.conf").map(PathBuf::from),
            self.variable("PGSYSCONFDIR")
                .map(|folder| Path::new(&folder).join("pg_service.conf")),
        ];
        for file in files.into_iter().flatten() {
            let Ok(text) = std::fs::read_to_string(&file) else {
                continue;
            };
            if let Some(service) = find_service(&text, name) {
                return Ok(service);
            }
        }
        Err(configuration(format!(
            "no service file defines the service {name:?} that PGSERVICE names"
        )))
    }
}

/// Returns the settings of a section of a service file: `[name]`, then lines of `setting=value`.
fn find_service(text: &str, name: &str) -> Option<HashMap<String, String>> {
    let mut lines = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .skip_while(|line| {
            line.strip_prefix('[')
                .and_then(|line| line.strip_suffix(']'))
                != Some(name)
        });
    lines.next()?;
    let settings = lines
        .take_while(|line| !line.starts_with('['))
        .filter_map(|line| line.split_once('='))
        .map(|(setting, value)| (setting.trim().to_owned(), value.trim().to_owned()))
        .collect();
    Some(settings)
}

/// Returns the password of the first line `host:port:database:user:password` that matches; `*`
/// matches everything, and a backslash escapes the next character.
fn find_password(text: &str, wanted: [&str; 4]) -> Option<Secret> {
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .find_map(|line| {
            let fields = split_fields(line);
            let (password, keys) = fields.split_last()?;
            let matches = keys.len() == wanted.len()
                && keys
                    .iter()
                    .zip(wanted)
                    .all(|(key, wanted)| key == "*" || key == wanted);
            (matches && !password.is_empty()).then(|| Secret::from(password.clone()))
        })
}

fn split_fields(line: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        // The password is the fifth and last field, even if it contains a colon.
        let is_end = character == ':' && fields.len() < 5;
        let character = match character {
            '\\' => characters.next().unwrap_or('\\'),
            other => other,
        };
        match fields.last_mut() {
            Some(field) if !is_end => field.push(character),
            _ => fields.push(String::new()),
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    fn password(text: &str, host: &str) -> Option<String> {
        find_password(text, [host, "5432", "d", "u"]).map(|secret| secret.expose().to_owned())
    }

    #[test]
    fn the_first_matching_line_of_a_password_file_is_used() {
        let file =
            "# h:5432:d:u:no\nh:5433:d:u:port\nh:5432:*:u:one\nh:*:*:*:two\n*:*:*:*:a:b\\\\\\:\n";
        assert_eq!(password(file, "h").unwrap(), "one");
        assert_eq!(password(file, "other").unwrap(), "a:b\\:");
        assert_eq!(password("h:5432:d:u:\n", "h"), None);
        assert_eq!(password("h:5432:d:u\n", "h"), None);
        assert_eq!(password("\\:\\:1:5432:d:u:six", "::1").unwrap(), "six");
    }

    #[test]
    fn a_service_takes_precedence_over_a_variable() {
        let folder = std::env::temp_dir().join(format!("service-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let file = folder.join("services");
        std::fs::write(
            &file,
            "# two\n[a]\nsslmode=disable\n\n[b]\n sslmode = verify-ca\nsslrootcert=/r\n[c]\nsslmode=x",
        )
        .unwrap();
        let variables = |service: &str| {
            [
                ("PGSERVICEFILE", file.to_str().unwrap()),
                ("PGSERVICE", service),
                ("PGSSLMODE", "allow"),
                ("PGSSLSNI", "0"),
                ("PGSSLCERT", ""),
            ]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
        };
        let environment = Environment::new(variables("b")).unwrap();
        assert_eq!(environment.setting("sslmode").unwrap(), "verify-ca");
        assert_eq!(environment.setting("sslrootcert").unwrap(), "/r");
        assert_eq!(environment.setting("sslsni").unwrap(), "0");
        assert_eq!(environment.setting("sslcert"), None);
        let without = Environment::new(variables("")).unwrap();
        assert_eq!(without.setting("sslmode").unwrap(), "allow");
        let error = Environment::new(variables("d")).unwrap_err().to_string();
        assert!(error.contains("PGSERVICE"), "{error}");
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_password_file_that_others_may_read_is_ignored() {
        let folder = std::env::temp_dir().join(format!("pgpass-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let file = folder.join(".pgpass");
        std::fs::write(&file, "*:*:*:*:hunter2").unwrap();
        let environment =
            Environment::new([("HOME".to_owned(), folder.to_str().unwrap().to_owned())]).unwrap();
        let host = HostPort {
            host: "h".to_owned(),
            port: 1,
        };
        for (mode, expected) in [(0o644, None), (0o600, Some("hunter2"))] {
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
            let found = environment.password(&host, "", "u");
            assert_eq!(found.as_ref().map(Secret::expose), expected);
        }
        assert!(!format!("{environment:?}").contains(folder.to_str().unwrap()));
        std::fs::remove_dir_all(folder).unwrap();
    }
}
