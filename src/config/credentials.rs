//! Credentials that the connector authenticates with.

use super::members::{Members, configuration};
use super::secret::Secret;
use crate::error::Result;

/// Configured credentials. Flow adds the tokens of the IAM types when it starts the connector.
#[derive(Debug, Clone)]
pub enum Credentials {
    /// Password; empty if none is configured, as for `trust` authentication.
    Password(Secret),
    /// Amazon RDS, with a token that is signed for each connection.
    AwsIam {
        /// Region of the database.
        region: String,
        /// Role that Flow assumed for the session.
        role_arn: String,
        /// Access key ID of the session, added by Flow.
        access_key_id: Option<String>,
        /// Signing key of the session, added by Flow.
        secret_access_key: Option<Secret>,
        /// Token of the session, added by Flow.
        session_token: Option<Secret>,
    },
    /// Google Cloud SQL, with an access token.
    GcpIam {
        /// Service account that Flow impersonates.
        service_account: String,
        /// Audience of the workload identity pool.
        pool_audience: String,
        /// Access token, added by Flow.
        access_token: Option<Secret>,
    },
    /// Azure Database for PostgreSQL, with an access token.
    AzureIam {
        /// Client ID of the application that is a user of the database.
        client_id: String,
        /// Tenant of the application.
        tenant_id: String,
        /// Access token, added by Flow.
        access_token: Option<Secret>,
    },
}

/// Source of the password for one connection attempt.
#[derive(Debug, Clone, Copy)]
pub enum PasswordSource<'a> {
    /// No password is configured.
    None,
    /// Fixed text.
    Fixed(&'a Secret),
    /// Token that is signed for each attempt, since it expires after minutes.
    AwsToken {
        /// Region of the database.
        region: &'a str,
        /// Access key ID of the session.
        access_key_id: &'a str,
        /// Signing key of the session.
        secret_access_key: &'a Secret,
        /// Token of the session.
        session_token: &'a Secret,
    },
}

impl Credentials {
    /// Returns the source of the password.
    ///
    /// # Errors
    ///
    /// Fails if a member that Flow adds to the credentials of an IAM type is missing.
    pub fn password_source(&self) -> Result<PasswordSource<'_>> {
        match self {
            Self::Password(password) if password.is_empty() => Ok(PasswordSource::None),
            Self::Password(password) => Ok(PasswordSource::Fixed(password)),
            Self::AwsIam {
                region,
                access_key_id,
                secret_access_key,
                session_token,
                ..
            } => Ok(PasswordSource::AwsToken {
                region,
                access_key_id: runtime_token("aws_access_key_id", access_key_id.as_ref())?,
                secret_access_key: runtime_token(
                    "aws_secret_access_key",
                    secret_access_key.as_ref(),
                )?,
                session_token: runtime_token("aws_session_token", session_token.as_ref())?,
            }),
            Self::GcpIam { access_token, .. } => Ok(PasswordSource::Fixed(runtime_token(
                "gcp_access_token",
                access_token.as_ref(),
            )?)),
            Self::AzureIam { access_token, .. } => Ok(PasswordSource::Fixed(runtime_token(
                "azure_access_token",
                access_token.as_ref(),
            )?)),
        }
    }

    /// Returns whether TLS is required unless `sslmode` is configured. Servers accept the tokens of
    /// the IAM types only over TLS.
    pub(super) fn implies_tls(&self) -> bool {
        !matches!(self, Self::Password(_))
    }
}

fn runtime_token<'a, T>(name: &str, value: Option<&'a T>) -> Result<&'a T> {
    value.ok_or_else(|| {
        configuration(format!(
            "missing iam session '{name}': the Flow runtime adds it to 'credentials' once it has \
             obtained a session"
        ))
    })
}

/// Members of all types together, unchecked: the runtime adds tokens whatever the type, and a form
/// may keep the members of a type that was selected before.
pub(super) struct RawCredentials {
    auth_type: String,
    password: Option<String>,
    aws_region: Option<String>,
    aws_role_arn: Option<String>,
    aws_access_key_id: Option<String>,
    aws_secret_access_key: Option<String>,
    aws_session_token: Option<String>,
    gcp_service_account: Option<String>,
    gcp_pool_audience: Option<String>,
    gcp_access_token: Option<String>,
    azure_client_id: Option<String>,
    azure_tenant_id: Option<String>,
    azure_access_token: Option<String>,
}

impl RawCredentials {
    pub(super) fn read(mut members: Members<'_>) -> Result<Self> {
        let mut set = |name| members.non_empty_string(name);
        let raw = Self {
            auth_type: set("auth_type")?.unwrap_or_default(),
            password: set("password")?,
            aws_region: set("aws_region")?,
            aws_role_arn: set("aws_role_arn")?,
            aws_access_key_id: set("aws_access_key_id")?,
            aws_secret_access_key: set("aws_secret_access_key")?,
            aws_session_token: set("aws_session_token")?,
            gcp_service_account: set("gcp_service_account_to_impersonate")?,
            gcp_pool_audience: set("gcp_workload_identity_pool_audience")?,
            gcp_access_token: set("gcp_access_token")?,
            azure_client_id: set("azure_client_id")?,
            azure_tenant_id: set("azure_tenant_id")?,
            azure_access_token: set("azure_access_token")?,
        };
        members.finish()?;
        Ok(raw)
    }

    /// Checks the members of the configured type. Without a type, the password is that of
    /// `credentials`, or else that at the root.
    pub(super) fn check(self, root_password: Secret) -> Result<Credentials> {
        match self.auth_type.as_str() {
            "" => Ok(Credentials::Password(
                self.password.map_or(root_password, Secret::from),
            )),
            "UserPassword" => match self.password {
                Some(password) => Ok(Credentials::Password(password.into())),
                None => Err(configuration(
                    "missing 'password': 'credentials' of type UserPassword need the password of \
                     the database user",
                )),
            },
            "AWSIAM" => Ok(Credentials::AwsIam {
                region: required("aws_region", self.aws_region)?,
                role_arn: required("aws_role_arn", self.aws_role_arn)?,
                access_key_id: self.aws_access_key_id,
                secret_access_key: self.aws_secret_access_key.map(Secret::from),
                session_token: self.aws_session_token.map(Secret::from),
            }),
            "GCPIAM" => Ok(Credentials::GcpIam {
                service_account: required(
                    "gcp_service_account_to_impersonate",
                    self.gcp_service_account,
                )?,
                pool_audience: required(
                    "gcp_workload_identity_pool_audience",
                    self.gcp_pool_audience,
                )?,
                access_token: self.gcp_access_token.map(Secret::from),
            }),
            "AzureIAM" => Ok(Credentials::AzureIam {
                client_id: required("azure_client_id", self.azure_client_id)?,
                tenant_id: required("azure_tenant_id", self.azure_tenant_id)?,
                access_token: self.azure_access_token.map(Secret::from),
            }),
            other => Err(configuration(format!(
                "unknown 'credentials.auth_type' {other:?}: it must be UserPassword, AWSIAM, \
                 GCPIAM or AzureIAM"
            ))),
        }
    }
}

fn required(name: &str, value: Option<String>) -> Result<String> {
    value.ok_or_else(|| {
        configuration(format!(
            "missing '{name}': 'credentials' of this 'auth_type' need it"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::members::{Location, Node, parse};

    fn credentials(json: &str) -> Result<Credentials> {
        let value = parse(json, "credentials")?;
        let node = Node::root(&value, Location::configuration("credentials"));
        RawCredentials::read(Members::of(&node, "an object")?)?.check(Secret::from("root"))
    }

    fn message(json: &str) -> String {
        credentials(json).unwrap_err().to_string()
    }

    #[test]
    fn a_password_is_used_unchanged() {
        for (json, expected) in [
            (r#"{"auth_type":"UserPassword","password":"p"}"#, "p"),
            (r#"{"password":"p"}"#, "p"),
            (r#"{"auth_type":null}"#, "root"),
            ("{}", "root"),
        ] {
            let credentials = credentials(json).unwrap();
            match credentials.password_source().unwrap() {
                PasswordSource::Fixed(password) => {
                    assert_eq!(password.expose(), expected, "{json}")
                }
                other => panic!("{json}: {other:?}"),
            }
        }
        let none = Credentials::Password(Secret::default());
        assert!(matches!(
            none.password_source().unwrap(),
            PasswordSource::None
        ));
    }

    #[test]
    fn each_type_requires_its_members() {
        for (json, expected) in [
            (r#"{"auth_type":"UserPassword"}"#, "missing 'password'"),
            (
                r#"{"auth_type":"UserPassword","password":""}"#,
                "missing 'password'",
            ),
            (
                r#"{"auth_type":"AWSIAM","aws_role_arn":"x"}"#,
                "missing 'aws_region'",
            ),
            (
                r#"{"auth_type":"AWSIAM","aws_region":"x"}"#,
                "missing 'aws_role_arn'",
            ),
            (
                r#"{"auth_type":"GCPIAM"}"#,
                "missing 'gcp_service_account_to_impersonate'",
            ),
            (
                r#"{"auth_type":"GCPIAM","gcp_service_account_to_impersonate":"x"}"#,
                "missing 'gcp_workload_identity_pool_audience'",
            ),
            (r#"{"auth_type":"AzureIAM"}"#, "missing 'azure_client_id'"),
            (
                r#"{"auth_type":"AzureIAM","azure_client_id":"x"}"#,
                "missing 'azure_tenant_id'",
            ),
            (
                r#"{"auth_type":"Kerberos"}"#,
                "unknown 'credentials.auth_type'",
            ),
        ] {
            assert!(
                message(json).starts_with(expected),
                "{json}: {}",
                message(json)
            );
        }
    }

    #[test]
    fn members_of_every_type_are_accepted_under_any() {
        credentials(
            r#"{"auth_type":"UserPassword","password":"p","aws_region":"r","aws_role_arn":"a",
                "aws_access_key_id":"k","aws_secret_access_key":"s","aws_session_token":"t",
                "gcp_service_account_to_impersonate":"g","gcp_access_token":"t",
                "gcp_workload_identity_pool_audience":"w","azure_client_id":"c",
                "azure_tenant_id":"t","azure_access_token":"t"}"#,
        )
        .unwrap();
        assert!(message(r#"{"pasword":"p"}"#).starts_with("unknown member 'pasword'"));
    }

    #[test]
    fn a_missing_token_is_named_when_connecting() {
        let mut json =
            r#"{"auth_type":"AWSIAM","aws_region":"eu-west-1","aws_role_arn":"arn"}"#.to_owned();
        for member in [
            "aws_access_key_id",
            "aws_secret_access_key",
            "aws_session_token",
        ] {
            let error = credentials(&json)
                .unwrap()
                .password_source()
                .unwrap_err()
                .to_string();
            assert!(
                error.starts_with(&format!("missing iam session '{member}'")),
                "{error}"
            );
            json.insert_str(json.len() - 1, &format!(r#","{member}":"{member} value""#));
        }
        let complete = credentials(&json).unwrap();
        match complete.password_source().unwrap() {
            PasswordSource::AwsToken {
                region,
                access_key_id,
                secret_access_key,
                session_token,
                ..
            } => {
                assert_eq!(
                    (region, access_key_id),
                    ("eu-west-1", "aws_access_key_id value")
                );
                assert_eq!(secret_access_key.expose(), "aws_secret_access_key value");
                assert_eq!(session_token.expose(), "aws_session_token value");
            }
            other => panic!("{other:?}"),
        }
        let debug = format!("{complete:?}");
        assert!(!debug.contains("session_token value") && !debug.contains("access_key value"));

        let gcp = r#"{"auth_type":"GCPIAM","gcp_service_account_to_impersonate":"x",
            "gcp_workload_identity_pool_audience":"y""#;
        let error = credentials(&format!("{gcp}}}"))
            .unwrap()
            .password_source()
            .unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("missing iam session 'gcp_access_token'")
        );
        let with = credentials(&format!(r#"{gcp},"gcp_access_token":"tok"}}"#)).unwrap();
        assert!(
            matches!(with.password_source().unwrap(), PasswordSource::Fixed(t) if t.expose() == "tok")
        );
        let azure =
            credentials(r#"{"auth_type":"AzureIAM","azure_client_id":"c","azure_tenant_id":"t"}"#)
                .unwrap();
        assert!(azure.implies_tls());
        let error = azure.password_source().unwrap_err().to_string();
        assert!(error.starts_with("missing iam session 'azure_access_token'"));
    }
}
