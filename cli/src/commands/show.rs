//! `pgkeep show`: everything that a backup's manifest says.

use super::view::{BackupView, lsn, server_version};
use crate::access::{Context, Reads};
use crate::args::ShowArgs;
use crate::exit::Exit;
use crate::output::{bytes, count, duration, local_time, printable};
use pgkeep_engine::Result;
use pgkeep_format::manifest::Database;
use serde::Serialize;
use std::time::Duration;

#[derive(Debug, Serialize)]
struct Shown {
    repository: String,
    #[serde(flatten)]
    backup: BackupView,
    series: String,
    features: Vec<String>,
    manifest_bytes: u64,
    #[serde(flatten)]
    sealed: Option<Sealed>,
}

/// What only the identity shows.
#[derive(Debug, Serialize)]
struct Sealed {
    system_identifier: u64,
    timeline: u32,
    /// Whether roles and tablespaces are in it.
    globals: bool,
    snapshots: Vec<DatabaseSnapshot>,
    selection: Vec<String>,
}

/// What each database was seen in.
#[derive(Debug, Serialize)]
struct DatabaseSnapshot {
    database: String,
    encoding: String,
    snapshot: String,
    lsn: String,
}

/// Shows a backup.
pub(super) async fn run(context: &Context, args: &ShowArgs) -> Result<Exit> {
    let repository = context.open_for_reading(&args.repository, Reads::Clear).await?;
    let backup = repository.find(&args.backup).await?;
    let shown = Shown {
        repository: repository.id().to_string(),
        backup: BackupView::from(&backup),
        series: backup.clear.series.to_string(),
        features: backup.clear.features.clone(),
        manifest_bytes: backup.manifest_len,
        sealed: backup.sealed.as_ref().map(|sealed| Sealed {
            system_identifier: sealed.system_identifier,
            timeline: sealed.timeline,
            globals: sealed.globals_stream.is_some(),
            snapshots: sealed.databases.iter().map(snapshot).collect(),
            selection: sealed.selection.clone(),
        }),
    };
    context.output.document(&shown, text)?;
    Ok(Exit::Done)
}

fn snapshot(database: &Database) -> DatabaseSnapshot {
    DatabaseSnapshot {
        database: database.name.clone(),
        encoding: database.encoding.clone(),
        snapshot: database.snapshot.clone(),
        lsn: lsn(database.lsn),
    }
}

fn text(shown: &Shown) -> String {
    let backup = &shown.backup;
    let micros = backup.finished_micros.saturating_sub(backup.started_micros);
    let took = Duration::from_micros(u64::try_from(micros).unwrap_or(0));
    let mut lines = Lines::default();
    lines.add("backup", &backup.id);
    lines.add("repository", &shown.repository);
    lines.add("started", &local_time(backup.started_micros));
    lines.add("finished", &format!("{} ({})", local_time(backup.finished_micros), duration(took)));
    lines.add("tags", &backup.tag_line());
    lines.add("rows", &count(backup.rows));
    lines.add("entries", &count(backup.entries));
    lines.add("size", &bytes(backup.plain_bytes));
    lines.add("stored", &bytes(backup.stored_bytes));
    lines.add("added", &bytes(backup.added_bytes));
    lines.add(
        "chunks",
        &format!("{}, {} of them new", count(backup.chunks), count(backup.new_chunks)),
    );
    lines.add("consistent at", &backup.lsn);
    lines.add("written by", &backup.program);
    match &shown.sealed {
        None => lines.add("database", "(sealed: needs the identity)"),
        Some(sealed) => {
            for seen in &sealed.snapshots {
                let DatabaseSnapshot { database, encoding, snapshot, lsn } = seen;
                lines.add("database", database);
                lines.add("  encoding", encoding);
                lines.add("  snapshot", &format!("{snapshot} at {lsn}"));
            }
            lines.add("globals", if sealed.globals { "roles and tablespaces" } else { "none" });
            lines.add("host", backup.host.as_deref().unwrap_or_default());
            lines.add("server", &backup.server_version.map(server_version).unwrap_or_default());
            if sealed.system_identifier != 0 {
                lines.add("system", &sealed.system_identifier.to_string());
            }
            lines.add("timeline", &sealed.timeline.to_string());
            lines.add("selection", &sealed.selection.join(" "));
        }
    }
    for warning in backup.warnings.iter().flatten() {
        lines.add("warning", warning);
    }
    lines.text
}

/// Names and values, one a line; what has no value is left out.
#[derive(Debug, Default)]
struct Lines {
    text: String,
}

impl Lines {
    fn add(&mut self, name: &str, value: &str) {
        if !value.is_empty() {
            self.text.push_str(&format!("{name:<15}{}\n", printable(value)));
        }
    }
}
