//! The engine's log, on standard error: warnings always, more with `-v`. One line an event,
//! `warning: text`, in the manner of all other messages.

use crate::output::{Output, Style, printable};
use std::fmt::{self, Write};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{EnvFilter, fmt as subscriber};

/// Begins to log.
pub(crate) fn start(output: &Output) {
    let level = match output.verbose {
        0 => "warn",
        1 => "info",
        2 => "debug",
        _ => "trace",
    };
    let filter = EnvFilter::new(format!("off,pgkeep={level},pgkeep_engine={level}"));
    // Nothing else in this process sets a logger.
    let _first = subscriber()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .event_format(Lines { style: output.style })
        .try_init();
}

/// Writes an event as one line.
struct Lines {
    style: Style,
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut text = Text::default();
        event.record(&mut text);
        let line = match *event.metadata().level() {
            Level::ERROR | Level::WARN => self.style.warning(&text.0),
            level => format!("{}: {}", level.as_str().to_ascii_lowercase(), printable(&text.0)),
        };
        writeln!(writer, "{line}")
    }
}

/// The message of an event, then its other fields.
#[derive(Default)]
struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let _infallible = match field.name() {
            "message" => write!(self.0, "{value:?}"),
            name => write!(self.0, " {name}={value:?}"),
        };
    }
}
