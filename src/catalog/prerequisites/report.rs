//! Findings of the checks.

use crate::error::{Error, ErrorKind, Result};

/// Number of failures that the error lists at most.
const MAX_FAILURES_SHOWN: usize = 20;

/// Findings of the checks so far.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub(super) failures: Vec<String>,
    pub(super) warnings: Vec<String>,
}

impl Report {
    pub(super) fn fail(&mut self, text: impl Into<String>) {
        self.failures.push(text.into());
    }

    /// Adds a warning, once: a table may be bound twice.
    pub(super) fn warn(&mut self, text: impl Into<String>) {
        let text = text.into();
        if !self.warnings.contains(&text) {
            self.warnings.push(text);
        }
    }

    pub(super) fn stop_if_failed(&self) -> Result<()> {
        if self.failures.is_empty() {
            return Ok(());
        }
        let shown = self.failures.iter().take(MAX_FAILURES_SHOWN).cloned();
        let omitted = self.failures.len().saturating_sub(MAX_FAILURES_SHOWN);
        let omitted = (omitted > 0).then(|| format!("additional {omitted} errors omitted"));
        Err(prerequisite_error(shown.chain(omitted)))
    }
}

/// Makes the error that lists what keeps a capture from running.
pub fn prerequisite_error(problems: impl IntoIterator<Item = String>) -> Error {
    let mut text = "the capture cannot run due to the following error(s):".to_owned();
    for problem in problems {
        text.push_str("\n - ");
        text.push_str(&problem);
    }
    Error::new(ErrorKind::Prerequisite, text)
}

/// Separates a refusal by the server, which is a finding, from a failure of the attempt itself, which
/// ends the checks.
pub(super) fn refusal<T>(result: Result<T>) -> Result<Result<T, Error>> {
    match result {
        Ok(value) => Ok(Ok(value)),
        Err(error) if error.kind() == ErrorKind::Server && !error.is_retryable() => Ok(Err(error)),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::sqlstate;

    #[test]
    fn one_error_lists_the_first_twenty_failures() {
        let mut report = Report::default();
        assert!(report.stop_if_failed().is_ok());
        report.fail("one");
        report.fail("two");
        let error = report.stop_if_failed().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Prerequisite);
        assert_eq!(
            error.to_string(),
            "the capture cannot run due to the following error(s):\n - one\n - two"
        );
        for number in 0..21 {
            report.fail(number.to_string());
        }
        let text = report.stop_if_failed().unwrap_err().to_string();
        assert!(
            text.ends_with("\n - 17\n - additional 3 errors omitted"),
            "{text}"
        );
    }

    #[test]
    fn a_refusal_is_a_finding_but_a_lost_connection_is_an_error() {
        let refused = Error::new(ErrorKind::Server, "permission denied")
            .with_sqlstate(sqlstate::INSUFFICIENT_PRIVILEGE);
        assert!(matches!(refusal::<()>(Err(refused)), Ok(Err(_))));
        let down =
            Error::new(ErrorKind::Server, "terminating").with_sqlstate(sqlstate::ADMIN_SHUTDOWN);
        assert!(refusal::<()>(Err(down)).is_err());
        assert!(refusal::<()>(Err(Error::new(ErrorKind::Connection, "reset"))).is_err());
    }
}
