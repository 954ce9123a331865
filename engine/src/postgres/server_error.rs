//! What a server says when it refuses: the fields of an ErrorResponse, and which
//! [`ErrorKind`] its SQLSTATE stands for. One place for both kinds of session.
//! <https://www.postgresql.org/docs/current/protocol-error-fields.html>

use crate::{Error, ErrorKind};
use postgres_protocol::message::backend::ErrorFields;
use std::fmt;
use tokio_postgres::fallible_iterator::FallibleIterator;

/// An error or notice of the server, in its own words.
///
/// Found behind an [`Error`] with `error.cause::<ServerError>()`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServerError {
    /// `ERROR`, `FATAL`, `PANIC`, or a notice's level; in the server's language on servers
    /// that do not send the fixed word.
    pub severity: String,
    /// The five characters of the SQLSTATE.
    pub sqlstate: String,
    /// The primary message.
    pub message: String,
    /// More about it.
    pub detail: Option<String>,
    /// What the server suggests.
    pub hint: Option<String>,
    /// Where in the statement, in characters from 1.
    pub position: Option<u32>,
    /// The call stack of functions and the line of COPY that it happened in.
    pub context: Option<String>,
}

/// What the server says when others define things meanwhile: that a thing is gone which a query of
/// ours has just listed, an undefined schema, table, column, type, object or function, or an entry
/// that its caches lack; or that it ended our wait for a lock, since somebody else waited for ours,
/// who changes several tables in another order than we lock them.
const MEANWHILE: [&str; 7] = ["3F000", "42P01", "42703", "42704", "42883", "XX000", "40P01"];

impl ServerError {
    /// Reads the fields of an ErrorResponse or NoticeResponse. What is not text is replaced;
    /// a field that is missing is empty.
    pub(super) fn from_fields(mut fields: ErrorFields<'_>) -> Self {
        let mut error = Self::default();
        while let Ok(Some(field)) = fields.next() {
            let text = String::from_utf8_lossy(field.value_bytes()).into_owned();
            match field.type_() {
                b'S' if error.severity.is_empty() => error.severity = text,
                b'V' => error.severity = text,
                b'C' => error.sqlstate = text,
                b'M' => error.message = text,
                b'D' => error.detail = Some(text),
                b'H' => error.hint = Some(text),
                b'P' => error.position = text.parse().ok(),
                b'W' => error.context = Some(text),
                _ => {}
            }
        }
        error
    }

    pub(super) fn from_driver(error: &tokio_postgres::error::DbError) -> Self {
        use tokio_postgres::error::ErrorPosition;
        let owned = |text: Option<&str>| text.map(str::to_owned);
        Self {
            severity: error.severity().to_owned(),
            sqlstate: error.code().code().to_owned(),
            message: error.message().to_owned(),
            detail: owned(error.detail()),
            hint: owned(error.hint()),
            position: match error.position() {
                Some(ErrorPosition::Original(position)) => Some(*position),
                _ => None,
            },
            context: owned(error.where_()),
        }
    }

    /// What kind of thing the SQLSTATE stands for.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self.sqlstate.as_str() {
            "42501" => ErrorKind::Privilege,
            "55P03" => ErrorKind::LockTimeout,
            "3D000" => ErrorKind::NotFound,
            // Too many connections; shutting down, crashed, starting up.
            "53300" | "57P01" | "57P02" | "57P03" => ErrorKind::Connection,
            // A database, object, schema, relation, function or cursor of that name.
            "42P04" | "42710" | "42P06" | "42P07" | "42723" => ErrorKind::AlreadyExists,
            code if code.starts_with("28") => ErrorKind::Authentication,
            code if code.starts_with("08") => ErrorKind::Connection,
            _ => ErrorKind::Server,
        }
    }

    /// Whether an error is of what others define meanwhile, so that to ask again may help.
    pub(crate) fn is_of_changed_definitions(error: &Error) -> bool {
        error.cause::<Self>().is_some_and(|error| MEANWHILE.contains(&error.sqlstate.as_str()))
    }

    /// Makes it the cause of an [`Error`] with `message`; the server's hint becomes its hint.
    pub(super) fn into_error(self, message: impl Into<String>) -> Error {
        let mut error = Error::new(self.kind(), message);
        if let Some(hint) = &self.hint {
            error = error.hint(hint.clone());
        }
        error.because(self)
    }

    /// Tells the log about a notice.
    pub(super) fn log_notice(&self) {
        let Self { severity, sqlstate, message, .. } = self;
        if severity == "WARNING" {
            tracing::warn!(sqlstate, "server: {message}");
        } else {
            tracing::debug!(sqlstate, "server: {severity}: {message}");
        }
    }
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.severity, self.message)?;
        if let Some(detail) = &self.detail {
            write!(f, ": {detail}")?;
        }
        if let Some(position) = self.position {
            write!(f, " (at character {position})")?;
        }
        if let Some(context) = &self.context {
            write!(f, " ({})", context.replace('\n', "; "))?;
        }
        write!(f, " [{}]", self.sqlstate)
    }
}

impl std::error::Error for ServerError {}
