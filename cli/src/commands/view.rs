//! A backup as `list` and `show` show it: the manifest's numbers under names that JSON keeps.

use crate::output::{bytes, count, counted, printable, rfc3339};
use pgkeep_engine::Lsn;
use pgkeep_engine::repository::{Backup, LostSpan, MissingRows, RowSpan};
use pgkeep_format::manifest::BackupKind;
use serde::Serialize;
use std::collections::BTreeMap;

/// Rows of a table that damage takes, from 1 in the order in which they are stored.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct RowsSummary {
    pub(super) first: u64,
    pub(super) last: u64,
    /// Whether it is all of them; else some of them, and no others.
    pub(super) exact: bool,
}

impl From<RowSpan> for RowsSummary {
    fn from(rows: RowSpan) -> Self {
        let RowSpan { first, last, exact } = rows;
        Self { first, last, exact }
    }
}

impl RowsSummary {
    /// `rows 5 to 9`.
    pub(super) fn text(&self) -> String {
        let some = if self.exact { "" } else { "some of " };
        let (first, last) = (count(self.first), count(self.last));
        match self.first == self.last {
            true => format!("row {first}"),
            false => format!("{some}rows {first} to {last}"),
        }
    }
}

/// Chunks of a stream that damage takes, from 1.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct ChunksSummary {
    pub(super) first: u64,
    pub(super) last: u64,
    /// How many the stream has.
    pub(super) of: u64,
}

impl From<LostSpan> for ChunksSummary {
    fn from(lost: LostSpan) -> Self {
        Self { first: lost.first_chunk, last: lost.last_chunk, of: lost.chunks }
    }
}

/// Rows of a table that could not be had.
#[derive(Debug, Serialize)]
pub(super) struct MissingSummary {
    pub(super) table: String,
    pub(super) rows: u64,
    pub(super) plain_bytes: u64,
    pub(super) spans: Vec<SpanSummary>,
}

/// Where rows are missing.
#[derive(Debug, Serialize)]
pub(super) struct SpanSummary {
    pub(super) chunks: ChunksSummary,
    pub(super) rows: Option<RowsSummary>,
}

impl From<MissingRows> for MissingSummary {
    fn from(missing: MissingRows) -> Self {
        let span = |lost: LostSpan| SpanSummary {
            chunks: lost.into(),
            rows: lost.rows.map(RowsSummary::from),
        };
        Self {
            table: missing.table,
            rows: missing.rows,
            plain_bytes: missing.bytes,
            spans: missing.spans.into_iter().map(span).collect(),
        }
    }
}

impl MissingSummary {
    /// A line: `table app.jobs lacks 12 rows, 1.23 kB: rows 5 to 16`.
    pub(super) fn text(&self) -> String {
        let spans = self.spans.iter().map(|span| match &span.rows {
            Some(rows) => rows.text(),
            None => format!("chunks {} to {}", span.chunks.first, span.chunks.last),
        });
        let spans: Vec<String> = spans.collect();
        let (rows, bytes) = (counted(self.rows, "row"), bytes(self.plain_bytes));
        let text = format!("table {} lacks {rows}, {bytes}: {}", self.table, spans.join(", "));
        format!("{}\n", printable(&text))
    }
}

/// The line of a backup.
#[derive(Debug, Serialize)]
pub(super) struct BackupView {
    /// The whole id.
    pub(super) id: String,
    pub(super) started_at: Option<String>,
    pub(super) finished_at: Option<String>,
    /// `logical`; `copy` of tables whose rows a change stream lacks.
    pub(super) kind: &'static str,
    /// The databases' names; absent without the identity.
    pub(super) databases: Option<Vec<String>>,
    /// Absent without the identity.
    pub(super) host: Option<String>,
    /// `180004` for 18.4; absent without the identity.
    pub(super) server_version: Option<u32>,
    pub(super) tags: BTreeMap<String, String>,
    pub(super) lsn: String,
    pub(super) program: String,
    pub(super) entries: u64,
    pub(super) rows: u64,
    pub(super) plain_bytes: u64,
    pub(super) stored_bytes: u64,
    pub(super) added_bytes: u64,
    pub(super) chunks: u64,
    pub(super) new_chunks: u64,
    /// Absent without the identity.
    pub(super) warnings: Option<Vec<String>>,
    /// For people: when it was done.
    #[serde(skip)]
    pub(super) finished_micros: i64,
    #[serde(skip)]
    pub(super) started_micros: i64,
}

impl From<&Backup> for BackupView {
    fn from(backup: &Backup) -> Self {
        let (clear, sealed) = (&backup.clear, backup.sealed.as_ref());
        let totals = &clear.totals;
        Self {
            id: clear.id.to_string(),
            started_at: rfc3339(clear.started_at),
            finished_at: rfc3339(clear.finished_at),
            kind: match clear.kind {
                BackupKind::Logical => "logical",
                BackupKind::Physical => "physical",
                BackupKind::Copy => COPY,
            },
            databases: sealed.map(|sealed| {
                sealed.databases.iter().map(|database| database.name.clone()).collect()
            }),
            host: sealed.map(|sealed| sealed.host.clone()),
            server_version: sealed.map(|sealed| sealed.server_version),
            tags: clear.tags.iter().map(|tag| (tag.key.clone(), tag.value.clone())).collect(),
            lsn: lsn(clear.lsn),
            program: clear.program.clone(),
            entries: totals.entries,
            rows: totals.rows,
            plain_bytes: totals.plain_bytes,
            stored_bytes: totals.stored_bytes,
            added_bytes: totals.added_bytes,
            chunks: totals.chunks,
            new_chunks: totals.new_chunks,
            warnings: sealed.map(|sealed| sealed.warnings.clone()),
            finished_micros: clear.finished_at,
            started_micros: clear.started_at,
        }
    }
}

impl BackupView {
    /// The digits of the id that people read and type.
    pub(super) fn short_id(&self) -> &str {
        self.id.get(..SHORT_ID_LEN).unwrap_or(&self.id)
    }

    /// The databases on one line: a few names, or how many.
    pub(super) fn database_line(&self) -> Option<String> {
        let names = self.databases.as_ref()?;
        Some(match names.len() {
            0..=NAMES_SHOWN => names.join(", "),
            number => counted(number as u64, "database"),
        })
    }

    /// The tags on one line: `reason=deploy, keep`; of a copy, that it is one.
    pub(super) fn tag_line(&self) -> String {
        if self.kind == COPY {
            return "(copy of tables, for the change stream)".to_owned();
        }
        let tag = |(key, value): (&String, &String)| match value.as_str() {
            "" => key.clone(),
            value => format!("{key}={value}"),
        };
        self.tags.iter().map(tag).collect::<Vec<_>>().join(", ")
    }
}

/// What a copy is called.
const COPY: &str = "copy";

/// Names of databases that are shown on one line.
const NAMES_SHOWN: usize = 2;

/// Digits of an id that are shown.
pub(super) const SHORT_ID_LEN: usize = 8;

/// An LSN as PostgreSQL prints it.
pub(super) fn lsn(lsn: u64) -> String {
    Lsn(lsn).to_string()
}

/// A server version as people write it: `18.4`.
pub(super) fn server_version(number: u32) -> String {
    format!("{}.{}", number / 10_000, number % 10_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_postgresql_writes_them() {
        assert_eq!(lsn(0x0000_0016_B374_D848), "16/B374D848");
        assert_eq!(lsn(0x0000_0001_0000_0028), "1/28");
        assert_eq!(server_version(180_004), "18.4");
        assert_eq!(server_version(140_023), "14.23");
    }
}
