//! A backup as plain SQL.

use super::{Export, ExportReport, unwritable};
use crate::catalog::{Turn, creation, rows_target, turn};
use crate::postgres::literal;
use crate::progress::Event;
use crate::{Error, ErrorKind, Result};
use pgkeep_format::entry::{Data, Entry, RowEncoding, Section};
use pgkeep_format::frame::FrameType;
use std::collections::BTreeSet;
use std::io::Write;

/// What every restoring session is told; comments hold nothing that came from a database.
const PREAMBLE: &str = "\
-- A backup by pgkeep, as SQL for psql.
SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET default_table_access_method = heap;
SET client_min_messages = warning;
SET row_security = off;
";

pub(super) async fn write(
    export: &Export<'_>,
    selected: &BTreeSet<usize>,
    output: &mut (dyn Write + Send),
) -> Result<ExportReport> {
    let mut order: Vec<(Turn, Section, usize)> = selected
        .iter()
        .map(|at| {
            let entry = &export.entries[*at];
            (turn(&export.entries, entry), entry.section, *at)
        })
        .collect();
    order.sort_unstable();
    let mut report = ExportReport::default();
    output.write_all(PREAMBLE.as_bytes()).map_err(unwritable)?;
    for (_, _, at) in order {
        let entry = &export.entries[at];
        report.entries += 1;
        if let Some(data) = &entry.data {
            report.tables += 1;
            report.rows += data.rows;
            write_rows(export, entry, data, output).await?;
        } else if !entry.create.is_empty() {
            let sql = creation(entry);
            writeln!(output, "\n{}", sql.trim_end()).map_err(unwritable)?;
        }
    }
    output.flush().map_err(unwritable)?;
    Ok(report)
}

async fn write_rows(
    export: &Export<'_>,
    entry: &Entry,
    data: &Data,
    output: &mut (dyn Write + Send),
) -> Result<()> {
    if data.encoding != RowEncoding::CopyText {
        return Err(Error::new(ErrorKind::UnsupportedFormat, "rows are not stored as text"));
    }
    let target = rows_target(entry, data, entry.schema.as_deref().unwrap_or_default());
    let encoding = literal(&export.backup.sealed_part()?.encoding);
    let (before, copy, after) = (target.before, target.copy, target.after);
    writeln!(output, "\n{before}\nCOPY {copy} FROM stdin WITH (ENCODING {encoding});")
        .map_err(unwritable)?;
    export.for_each_chunk(data, |plain| output.write_all(plain).map_err(unwritable)).await?;
    writeln!(output, "\\.\n{after}").map_err(unwritable)
}

impl Export<'_> {
    /// Gives the plain bytes of all chunks of an entry's rows, in order.
    pub(super) async fn for_each_chunk(
        &self,
        data: &Data,
        mut each: impl FnMut(&[u8]) -> Result<()> + Send,
    ) -> Result<()> {
        let stream = self.backup.clear.streams.get(data.stream as usize).ok_or_else(|| {
            Error::new(ErrorKind::Damaged, "rows refer to a stream that is not there")
        })?;
        for reference in self.reader.references(stream).await? {
            let opened = self.reader.read(&reference.id, FrameType::Rows).await?;
            let stored = self.reader.locate(&reference.id)?.frame_len();
            each(&opened.plain)?;
            let bytes = opened.plain.len() as u64;
            self.progress.event(Event::Advanced { rows: 0, bytes, stored });
        }
        Ok(())
    }
}
