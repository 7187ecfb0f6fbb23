//! Errors and notices from the server, with all their fields.
//!
//! See <https://www.postgresql.org/docs/current/protocol-error-fields.html>.

use std::{borrow::Cow, fmt};

use crate::{
    codec::{Malformed, Parsed, all_consuming, c_bytes, uint8},
    error::{DecodeError, DecodeErrorKind},
};

const SEVERITY_LOCALIZED: u8 = b'S';
const SEVERITY: u8 = b'V';
const CODE: u8 = b'C';
const MESSAGE: u8 = b'M';

/// Body of an ErrorResponse or NoticeResponse.
///
/// Texts are in the server's language. Before the session is established they may be in an
/// encoding other than UTF-8: invalid bytes are replaced by U+FFFD.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Report<'a> {
    fields: &'a [u8],
    code: SqlState,
}

impl<'a> Report<'a> {
    pub(crate) fn parse(message: &'static str, body: &'a [u8]) -> Result<Self, DecodeError> {
        all_consuming(message, body, |input| {
            let (mut code, mut has_message) = (None, false);
            let mut rest = input;
            loop {
                let (value, kind) = uint8(rest)?;
                if kind == 0 {
                    rest = value;
                    break;
                }
                let (next, text) = c_bytes(value)?;
                match kind {
                    CODE => code = Some(SqlState::parse(value, text)?),
                    MESSAGE => has_message = true,
                    _ => {}
                }
                rest = next;
            }
            match code {
                Some(code) if has_message => Ok((
                    rest,
                    Self {
                        fields: input,
                        code,
                    },
                )),
                _ => Err(Malformed::at(rest, DecodeErrorKind::UnexpectedEnd)),
            }
        })
    }

    /// Returns the severity.
    pub fn severity(&self) -> Severity {
        // Servers before 9.6 do not send the untranslated severity.
        let word = self
            .field(SEVERITY)
            .or_else(|| self.field(SEVERITY_LOCALIZED));
        word.map_or(Severity::Other, Severity::from_word)
    }

    /// Returns the SQLSTATE.
    pub fn code(&self) -> SqlState {
        self.code
    }

    /// Returns the primary message, usually one line.
    pub fn message(&self) -> Cow<'a, str> {
        self.text(MESSAGE).unwrap_or_default()
    }

    /// Returns the detail message. It may quote values of rows.
    pub fn detail(&self) -> Option<Cow<'a, str>> {
        self.text(b'D')
    }

    /// Returns the hint: a suggestion for solving the problem.
    pub fn hint(&self) -> Option<Cow<'a, str>> {
        self.text(b'H')
    }

    /// Returns the severity in the server's language.
    pub fn severity_localized(&self) -> Option<Cow<'a, str>> {
        self.text(SEVERITY_LOCALIZED)
    }

    /// Returns the position of the error in the query string, in characters from 1.
    pub fn position(&self) -> Option<u32> {
        self.number(b'P')
    }

    /// Returns the position of the error in the internal query, in characters from 1.
    pub fn internal_position(&self) -> Option<u32> {
        self.number(b'p')
    }

    /// Returns the internally generated query that failed.
    pub fn internal_query(&self) -> Option<Cow<'a, str>> {
        self.text(b'q')
    }

    /// Returns the context: the call stack of procedural languages and internal queries.
    pub fn context(&self) -> Option<Cow<'a, str>> {
        self.text(b'W')
    }

    /// Returns the schema of the object that the report is about.
    pub fn schema(&self) -> Option<Cow<'a, str>> {
        self.text(b's')
    }

    /// Returns the table that the report is about.
    pub fn table(&self) -> Option<Cow<'a, str>> {
        self.text(b't')
    }

    /// Returns the column that the report is about.
    pub fn column(&self) -> Option<Cow<'a, str>> {
        self.text(b'c')
    }

    /// Returns the data type that the report is about.
    pub fn data_type(&self) -> Option<Cow<'a, str>> {
        self.text(b'd')
    }

    /// Returns the constraint that the report is about.
    pub fn constraint(&self) -> Option<Cow<'a, str>> {
        self.text(b'n')
    }

    /// Returns the source file of the server that made the report.
    pub fn file(&self) -> Option<Cow<'a, str>> {
        self.text(b'F')
    }

    /// Returns the line in the source file of the server.
    pub fn line(&self) -> Option<u32> {
        self.number(b'L')
    }

    /// Returns the source routine of the server that made the report.
    pub fn routine(&self) -> Option<Cow<'a, str>> {
        self.text(b'R')
    }

    /// Returns an iterator over all fields in the order of the message: the code of each and its
    /// bytes. This includes fields with unknown codes, which the protocol allows.
    pub fn fields(&self) -> impl Iterator<Item = (u8, &'a [u8])> + use<'a> {
        let mut rest = self.fields;
        std::iter::from_fn(move || {
            let (next, field) = field(rest).ok()?;
            rest = next;
            Some(field)
        })
    }

    /// Detaches the report from the receive buffer.
    pub fn into_owned(self) -> ServerError {
        ServerError {
            fields: self.fields.into(),
            code: self.code,
        }
    }

    fn field(&self, kind: u8) -> Option<&'a [u8]> {
        self.fields()
            .find(|(found, _)| *found == kind)
            .map(|(_, text)| text)
    }

    fn text(&self, kind: u8) -> Option<Cow<'a, str>> {
        self.field(kind).map(String::from_utf8_lossy)
    }

    fn number(&self, kind: u8) -> Option<u32> {
        str::from_utf8(self.field(kind)?).ok()?.parse().ok()
    }
}

impl fmt::Debug for Report<'_> {
    /// Omits the fields that may quote values of rows.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Report")
            .field("severity", &self.severity())
            .field("code", &self.code)
            .field("message", &self.message())
            .finish_non_exhaustive()
    }
}

fn field(input: &[u8]) -> Parsed<'_, (u8, &[u8])> {
    match uint8(input)? {
        (rest, 0) => Err(Malformed::at(rest, DecodeErrorKind::TrailingBytes)),
        (rest, kind) => c_bytes(rest).map(|(rest, text)| (rest, (kind, text))),
    }
}

/// Error that the server reported, with all its fields.
#[derive(Clone, PartialEq, Eq)]
pub struct ServerError {
    fields: Box<[u8]>,
    code: SqlState,
}

impl ServerError {
    /// Returns the report with all fields.
    pub fn report(&self) -> Report<'_> {
        Report {
            fields: &self.fields,
            code: self.code,
        }
    }

    /// Returns the SQLSTATE.
    pub fn code(&self) -> SqlState {
        self.code
    }

    /// Returns the severity.
    pub fn severity(&self) -> Severity {
        self.report().severity()
    }

    /// Returns the primary message, usually one line.
    pub fn message(&self) -> Cow<'_, str> {
        self.report().message()
    }

    /// Returns the detail message. It may quote values of rows.
    pub fn detail(&self) -> Option<Cow<'_, str>> {
        self.report().detail()
    }

    /// Returns the hint: a suggestion for solving the problem.
    pub fn hint(&self) -> Option<Cow<'_, str>> {
        self.report().hint()
    }
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (SQLSTATE {})", self.message(), self.code)
    }
}

impl fmt::Debug for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.report().fmt(f)
    }
}

impl std::error::Error for ServerError {}

/// Severity of an error or notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Severity {
    /// ERROR: the statement failed.
    Error,
    /// FATAL: the session ends.
    Fatal,
    /// PANIC: all sessions end.
    Panic,
    /// WARNING: a likely problem.
    Warning,
    /// NOTICE: possibly useful information.
    Notice,
    /// DEBUG: information for developers.
    Debug,
    /// INFO: information that the user requested.
    Info,
    /// LOG: information for administrators.
    Log,
    /// Any other severity, for example a translated one.
    Other,
}

impl Severity {
    fn from_word(word: &[u8]) -> Self {
        match word {
            b"ERROR" => Self::Error,
            b"FATAL" => Self::Fatal,
            b"PANIC" => Self::Panic,
            b"WARNING" => Self::Warning,
            b"NOTICE" => Self::Notice,
            b"DEBUG" => Self::Debug,
            b"INFO" => Self::Info,
            b"LOG" => Self::Log,
            _ => Self::Other,
        }
    }

    /// Returns whether the server ends the session after this report.
    pub const fn ends_session(self) -> bool {
        matches!(self, Self::Fatal | Self::Panic)
    }
}

/// SQLSTATE: an error code of five letters and digits.
///
/// See <https://www.postgresql.org/docs/current/errcodes-appendix.html>.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SqlState([u8; 5]);

impl SqlState {
    /// Creates a code. Returns `None` unless all bytes are ASCII letters or digits.
    pub const fn new(code: [u8; 5]) -> Option<Self> {
        let [a, b, c, d, e] = code;
        if a.is_ascii_alphanumeric()
            && b.is_ascii_alphanumeric()
            && c.is_ascii_alphanumeric()
            && d.is_ascii_alphanumeric()
            && e.is_ascii_alphanumeric()
        {
            Some(Self(code))
        } else {
            None
        }
    }

    fn parse<'a>(at: &'a [u8], text: &'a [u8]) -> Result<Self, nom::Err<Malformed>> {
        text.try_into()
            .ok()
            .and_then(Self::new)
            .ok_or_else(|| Malformed::at(at, DecodeErrorKind::InvalidValue))
    }

    /// Returns the code as text.
    pub fn as_str(&self) -> &str {
        // The constructor accepts ASCII only.
        str::from_utf8(&self.0).unwrap_or_default()
    }

    /// Returns the code as bytes.
    pub const fn as_bytes(&self) -> &[u8; 5] {
        &self.0
    }

    /// Returns the class of the error: the first two characters of the code.
    pub fn class(&self) -> &str {
        self.as_str().get(..2).unwrap_or_default()
    }
}

impl fmt::Display for SqlState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for SqlState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SqlState({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_has_its_letter() {
        let body = b"SHINWEIS\0VNOTICE\0CABCDE\0Mlook\0Da detail\0Ha hint\0P12\0p7\0qSELECT 1\0\
                     WPL/pgSQL\0sschema\0ttable\0ccolumn\0dtype\0nconstraint\0Ffile.c\0L3891\0\
                     Rroutine\0?new\0\0";
        let report = Report::parse("NoticeResponse", body).unwrap();
        assert_eq!(report.severity(), Severity::Notice);
        assert_eq!(report.severity_localized().unwrap(), "HINWEIS");
        assert_eq!(report.code().as_str(), "ABCDE");
        assert_eq!(report.message(), "look");
        assert_eq!(report.detail().unwrap(), "a detail");
        assert_eq!(report.hint().unwrap(), "a hint");
        assert_eq!(
            (report.position(), report.internal_position()),
            (Some(12), Some(7))
        );
        assert_eq!(report.internal_query().unwrap(), "SELECT 1");
        assert_eq!(report.context().unwrap(), "PL/pgSQL");
        assert_eq!(report.schema().unwrap(), "schema");
        assert_eq!(report.table().unwrap(), "table");
        assert_eq!(report.column().unwrap(), "column");
        assert_eq!(report.data_type().unwrap(), "type");
        assert_eq!(report.constraint().unwrap(), "constraint");
        assert_eq!(report.file().unwrap(), "file.c");
        assert_eq!(report.line(), Some(3891));
        assert_eq!(report.routine().unwrap(), "routine");
        assert_eq!(report.fields().count(), 19);
        assert_eq!(report.fields().last(), Some((b'?', &b"new"[..])));
    }

    #[test]
    fn invalid_utf8_in_texts_is_replaced() {
        let report =
            Report::parse("ErrorResponse", b"SFEHLER\0C28000\0Munbekannt \xe4\0\0").unwrap();
        assert_eq!(report.message(), "unbekannt \u{fffd}");
        assert_eq!(report.severity(), Severity::Other);
        assert!(!report.severity().ends_session());
    }

    #[test]
    fn debug_shows_no_detail() {
        let body = b"SERROR\0C23505\0Mduplicate key\0DKey (id)=(secret) already exists.\0\0";
        let report = Report::parse("ErrorResponse", body).unwrap();
        let text = format!("{report:?} {:?}", report.into_owned());
        assert!(
            text.contains("duplicate key") && !text.contains("secret"),
            "{text}"
        );
    }
}
