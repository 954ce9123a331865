//! What programs see: documents, lines and errors as JSON. docs/cli-contract.md says what
//! every field means; a field is added there when it is added here, and none goes away.

use super::status::Status;
use crate::exit::{Exit, kind_name};
use pgkeep_engine::postgres::ServerError;
use pgkeep_engine::{Error, ErrorKind, Result};
use serde::Serialize;
use std::error::Error as _;

/// A line of a long run.
#[derive(Debug, Serialize)]
#[serde(tag = "message_type", rename_all = "snake_case")]
pub(super) enum Message<'a, T: Serialize> {
    /// How far the work is.
    Status(&'a Status),
    /// Something that the user should know.
    Warning {
        /// A sentence.
        message: &'a str,
    },
    /// One of many things that were asked for.
    Change(&'a T),
    /// What was done; the last line.
    Summary(&'a T),
}

/// For lines that hold no summary.
pub(super) type Line<'a> = Message<'a, ()>;

#[derive(Debug, Serialize)]
struct Failure<'a> {
    message_type: &'static str,
    kind: &'static str,
    message: String,
    causes: Vec<String>,
    hints: Vec<&'a str>,
    exit_code: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    sqlstate: Option<&'a str>,
}

/// A document, with line ends for people who look.
pub(super) fn document<T: Serialize>(value: &T) -> Result<String> {
    serde_json::to_string_pretty(value).map(|text| text + "\n").map_err(|error| {
        Error::new(ErrorKind::Internal, "could not write a value as JSON").because(error)
    })
}

/// A line, with its end.
pub(super) fn text<T: Serialize>(message: &Message<'_, T>) -> Result<String> {
    serde_json::to_string(message).map(|text| text + "\n").map_err(|error| {
        Error::new(ErrorKind::Internal, "could not write a value as JSON").because(error)
    })
}

/// Prints a line to standard output, at once. A reader that went away is told nothing more.
///
/// # Errors
/// [`ErrorKind::Store`] when standard output cannot be written.
pub(super) fn line<T: Serialize>(message: &Message<'_, T>) -> Result<()> {
    super::write_stdout(text(message)?.as_bytes()).map(|_| ()).map_err(|error| {
        Error::new(ErrorKind::Store, "could not write to standard output").because(error)
    })
}

/// A fatal error, in one line.
pub(super) fn error(error: &Error, exit: Exit) -> String {
    let mut causes = Vec::new();
    let mut source = error.source();
    while let Some(cause) = source {
        causes.push(cause.to_string());
        source = cause.source();
    }
    let failure = Failure {
        message_type: "error",
        kind: kind_name(error.kind()),
        message: error.to_string(),
        causes,
        hints: error.hints(),
        exit_code: exit.code(),
        sqlstate: error.cause::<ServerError>().map(|server| server.sqlstate.as_str()),
    };
    serde_json::to_string(&failure).unwrap_or_else(|_| failure.message.clone())
}
