//! What people and programs see. Standard output carries data alone; everything else goes
//! to standard error. Commands hand over values, and this decides how they look.

mod human;
mod json;
mod line;
mod progress;
mod status;
mod table;
mod text;

pub(crate) use human::Style;
pub(crate) use progress::Running;
pub(crate) use status::Labels;
pub(crate) use table::{Align, Table};
pub(crate) use text::{bytes, count, counted, duration, local_time, printable, rfc3339};

use crate::args::OutputArgs;
use crate::environment::Environment;
use crate::exit::Exit;
use pgkeep_engine::{Error, ErrorKind, Result};
use serde::Serialize;
use std::io::{self, IsTerminal, Write};
use std::ops::ControlFlow;

/// How a run talks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    json: bool,
    quiet: bool,
    progress: bool,
    /// How often `-v` was given.
    pub(crate) verbose: u8,
    /// How standard error is coloured.
    pub(crate) style: Style,
}

impl Output {
    /// Settles how to talk, once for a run.
    pub(crate) fn new(args: &OutputArgs, environment: &Environment) -> Self {
        Self {
            json: args.json,
            quiet: args.quiet,
            progress: !args.quiet && !args.no_progress,
            verbose: args.verbose,
            style: Style::for_stderr(environment),
        }
    }

    /// Whether `--json` was given.
    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// Prints a value as the one document of a run: JSON, or the text made of it.
    ///
    /// # Errors
    /// [`ErrorKind::Store`] when standard output cannot be written; a reader that went away
    /// is no error.
    pub(crate) fn document<T: Serialize>(
        &self,
        value: &T,
        text: impl FnOnce(&T) -> String,
    ) -> Result<()> {
        let text = if self.json { json::document(value)? } else { text(value) };
        self.data(text.as_bytes())
    }

    /// Writes data to standard output.
    ///
    /// # Errors
    /// As [`Output::document`].
    pub(crate) fn data(&self, bytes: &[u8]) -> Result<()> {
        write_stdout(bytes).map(|_| ()).map_err(|error| {
            Error::new(ErrorKind::Store, "could not write to standard output").because(error)
        })
    }

    /// Says something that is good to know; not with `--quiet` nor `--json`.
    pub(crate) fn note(&self, text: &str) {
        if !self.quiet && !self.json {
            to_stderr(text);
        }
    }

    /// Says something that the user should know, whatever was asked for.
    pub(crate) fn warning(&self, text: &str) {
        if self.json {
            // Whoever reads the lines finds the warnings in the summary too, or finds neither.
            let _gone = json::line(&json::Line::Warning { message: text });
        } else {
            to_stderr(&self.style.warning(text));
        }
    }

    /// Prints one of many changes: a JSON object with `message_type` `change`, or lines. Breaks
    /// when the reader went away.
    ///
    /// # Errors
    /// As [`Output::document`].
    pub(crate) fn change<T: Serialize>(
        &self,
        value: &T,
        text: impl FnOnce(&T) -> String,
    ) -> Result<ControlFlow<()>> {
        let text = match self.json {
            true => json::text(&json::Message::Change(value))?,
            false => text(value),
        };
        write_stdout(text.as_bytes()).map_err(|error| {
            Error::new(ErrorKind::Store, "could not write to standard output").because(error)
        })
    }

    /// Ends a long run: a JSON object with `message_type` `summary`, or a note.
    ///
    /// # Errors
    /// As [`Output::document`].
    pub(crate) fn summary<T: Serialize>(
        &self,
        value: &T,
        text: impl FnOnce(&T) -> String,
    ) -> Result<()> {
        if self.json {
            return json::line(&json::Message::Summary(value));
        }
        self.note(&text(value));
        Ok(())
    }

    /// Says why the run failed, on standard error.
    pub(crate) fn error(&self, error: &Error) {
        let exit = Exit::from(error.kind());
        to_stderr(&if self.json { json::error(error, exit) } else { self.style.error(error) });
    }
}

/// Says on standard error that clap could not make sense of the arguments, as JSON.
pub(crate) fn usage_error_as_json(text: &str) {
    let mut lines = text.lines().filter(|line| !line.trim().is_empty());
    let first = lines.next().unwrap_or_default();
    let mut error = Error::new(ErrorKind::Usage, first.strip_prefix("error: ").unwrap_or(first));
    for line in lines {
        error = error.hint(line.trim());
    }
    to_stderr(&json::error(&error, Exit::Usage));
}

/// Writes to standard output; a reader that went away is no error, and breaks.
fn write_stdout(bytes: &[u8]) -> io::Result<ControlFlow<()>> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ControlFlow::Break(())),
        result => result.map(ControlFlow::Continue),
    }
}

/// Writes a line to standard error. When that is gone there is nobody left to tell.
fn to_stderr(text: &str) {
    let mut stderr = io::stderr().lock();
    let _gone = writeln!(stderr, "{}", text.trim_end());
}

/// Whether standard output is a terminal.
pub(crate) fn stdout_is_terminal() -> bool {
    io::stdout().is_terminal()
}
