//! Rows from chunks into tables, by `COPY FROM STDIN`; a large table in groups of chunks,
//! each of which any connection can load.

use super::rename::Rename;
use super::routes::Routes;
use super::sessions::Sessions;
use super::triggers::Triggers;
use crate::catalog::rows_target;
use crate::postgres::{WireSession, literal, qualified};
use crate::progress::{Event, Progress};
use crate::repository::{Backup, ChunkReader};
use crate::{Error, ErrorKind, Result};
use futures_util::future::BoxFuture;
use futures_util::{StreamExt, stream};
use pgkeep_format::entry::{Data, Entry, Kind, RowEncoding};
use pgkeep_format::frame::FrameType;
use pgkeep_format::manifest::Database;
use pgkeep_format::stream::{ChunkReference, Stream};
use std::sync::Arc;

/// Chunks of one group: some 64 MiB of rows.
const GROUP_CHUNKS: usize = 64;
/// Chunks that are read ahead while one is sent.
const CHUNKS_AHEAD: usize = 2;

/// A run of a table's chunks that begins and ends between rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Group {
    first: bool,
    chunks: Vec<ChunkReference>,
}

impl Group {
    /// Whether the table begins with it.
    pub(super) fn is_first(&self) -> bool {
        self.first
    }
}

/// Loads rows.
pub(super) struct Loader {
    reader: ChunkReader,
    streams: Vec<Stream>,
    entries: Arc<Vec<Entry>>,
    encoding: String,
    rename: Rename,
    sessions: Arc<Sessions>,
    routes: Routes,
    /// Whether triggers are disabled, table by table.
    disable_triggers: bool,
}

impl Loader {
    pub(super) fn new(
        reader: &ChunkReader,
        backup: &Backup,
        database: &Database,
        entries: &Arc<Vec<Entry>>,
        rename: &Rename,
        sessions: &Arc<Sessions>,
        disable_triggers: bool,
    ) -> Result<Self> {
        Ok(Self {
            reader: reader.clone(),
            streams: backup.clear.streams.clone(),
            entries: entries.clone(),
            encoding: database.encoding.clone(),
            rename: rename.clone(),
            sessions: sessions.clone(),
            routes: Routes::default(),
            disable_triggers,
        })
    }

    /// The groups of an entry's rows, in order; one without chunks for an empty table.
    pub(super) async fn groups(&self, position: usize) -> Result<Vec<Group>> {
        let data = self.data(position)?;
        let stream = self.streams.get(data.stream as usize).ok_or_else(|| {
            Error::new(ErrorKind::Damaged, "rows refer to a stream that is not there")
        })?;
        Ok(groups(&self.reader.references(stream).await?))
    }

    fn data(&self, position: usize) -> Result<&Data> {
        let data = self.entries.get(position).and_then(|entry| entry.data.as_ref());
        data.ok_or_else(|| Error::new(ErrorKind::Internal, "entry has no rows"))
    }

    /// Lets rows go through other tables than their own.
    pub(super) fn route(&mut self, routes: Routes) {
        self.routes = routes;
    }

    /// The routes that rows go.
    pub(super) fn routes(&self) -> &Routes {
        &self.routes
    }

    /// Loads one group; returns the number of rows.
    pub(super) async fn load(
        &self,
        wire: &mut WireSession,
        position: usize,
        group: &Group,
        progress: &Arc<dyn Progress>,
    ) -> Result<u64> {
        let entry = &self.entries[position];
        let data = self.data(position)?;
        let options = copy_options(data.encoding, &self.encoding)?;
        let route = self.routes.of(&self.entries, entry);
        let table = route.unwrap_or(entry);
        let schema = self.rename.new_name(table.schema.as_deref().unwrap_or_default());
        let target = rows_target(entry, data, schema, &table.name);
        let sql = format!("COPY {} FROM STDIN WITH ({options})", target.copy);
        let disables = self.disable_triggers && entry.kind == Kind::TableData;
        if target.before.is_empty() && target.after.is_empty() && !disables {
            return self.copy(wire, &sql, group, progress).await;
        }
        // The triggers of a table that is reached through its root are disabled there.
        let only = if route.is_some() { "" } else { "ONLY " };
        let relation = qualified(schema, &table.name);
        self.sessions.begin(wire).await?;
        let done = async {
            let triggers = match disables {
                true => Triggers::disable(wire, only, &relation).await?,
                false => Triggers::default(),
            };
            wire.execute(target.before).await?;
            let rows = self.copy(wire, &sql, group, progress).await?;
            wire.execute(target.after).await?;
            triggers.enable(wire, only, &relation).await?;
            Ok(rows)
        };
        let done = done.await;
        self.sessions.end(wire, done).await
    }

    async fn copy(
        &self,
        wire: &mut WireSession,
        sql: &str,
        group: &Group,
        progress: &Arc<dyn Progress>,
    ) -> Result<u64> {
        let reads: Vec<_> =
            group.chunks.iter().map(|reference| read(self.reader.clone(), *reference)).collect();
        let mut chunks = stream::iter(reads).buffered(CHUNKS_AHEAD);
        let mut copy = wire.copy_in(sql).await?;
        while let Some(chunk) = chunks.next().await {
            match chunk {
                Ok((plain, stored)) => {
                    copy.write(&plain).await?;
                    let bytes = plain.len() as u64;
                    progress.event(Event::Advanced { rows: 0, bytes, stored });
                }
                Err(error) => {
                    // Without this the server would take what came so far for all of it.
                    copy.fail("the backup could not be read").await?;
                    return Err(error);
                }
            }
        }
        let rows = copy.finish().await?;
        progress.event(Event::Advanced { rows, bytes: 0, stored: 0 });
        Ok(rows)
    }
}

/// Reads a chunk: its rows, and the bytes that it took in the store.
fn read(
    reader: ChunkReader,
    reference: ChunkReference,
) -> BoxFuture<'static, Result<(Vec<u8>, u64)>> {
    Box::pin(async move {
        let opened = reader.read(&reference.id, FrameType::Rows).await?;
        if opened.row_continues != reference.row_continues {
            let message = format!("chunk {} does not end as its list says", reference.id);
            return Err(Error::new(ErrorKind::Damaged, message));
        }
        let stored = reader.locate(&reference.id)?.frame_len();
        Ok((opened.plain, stored))
    })
}

fn copy_options(row_encoding: RowEncoding, encoding: &str) -> Result<String> {
    let format = match row_encoding {
        RowEncoding::CopyText => "text",
        RowEncoding::CopyBinary => "binary",
        RowEncoding::Cbor => {
            return Err(Error::new(
                ErrorKind::Damaged,
                "rows are in an encoding that tables do not have",
            ));
        }
    };
    Ok(format!("FORMAT {format}, ENCODING {}", literal(encoding)))
}

fn groups(references: &[ChunkReference]) -> Vec<Group> {
    let mut groups = Vec::new();
    let mut start = 0;
    for (at, reference) in references.iter().enumerate() {
        let is_last = at + 1 == references.len();
        if is_last || (at + 1 - start >= GROUP_CHUNKS && !reference.row_continues) {
            groups.push(Group { first: start == 0, chunks: references[start..=at].to_vec() });
            start = at + 1;
        }
    }
    if groups.is_empty() {
        groups.push(Group { first: true, chunks: Vec::new() });
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;
    use pgkeep_format::id::ChunkId;

    #[test]
    fn groups_hold_all_chunks_in_order_and_never_part_a_row() {
        let reference = |row_continues| ChunkReference { id: ChunkId([1; 32]), row_continues };
        let mut references = vec![reference(false); 3 * GROUP_CHUNKS + 5];
        references[GROUP_CHUNKS - 1].row_continues = true;
        references[GROUP_CHUNKS].row_continues = true;
        let groups = groups(&references);
        let lens: Vec<_> = groups.iter().map(|group| group.chunks.len()).collect();
        assert_eq!(lens, [GROUP_CHUNKS + 2, GROUP_CHUNKS, GROUP_CHUNKS, 3]);
        assert!(groups.iter().all(|group| !group.chunks.last().unwrap().row_continues));
        assert_eq!(super::groups(&[]).len(), 1, "an empty table is loaded too");
    }
}
