//! What the backup before has of the same tables. A chunk in which a few rows have changed is another
//! chunk; with this, what is stored of it is the rows that are new.
//!
//! Nothing is read before a chunk is met that the repository does not have. Then the chunk of the backup
//! before that it comes from is read back, and rows are compared byte by byte: no hash is trusted. So
//! it takes the identity. What cannot be read is as if it were not there.

mod compared;
mod held;

pub(super) use compared::{EarlierPart, Out};

use crate::repository::{Backup, ChunkReader, Repository};
use crate::{Error, Result};
use pgkeep_format::entry::{Data, RowEncoding};
use pgkeep_format::frame::FrameType;
use pgkeep_format::id::SeriesId;
use pgkeep_format::manifest::{BackupKind, Database};
use pgkeep_format::stream::{ChunkReference, Ending, Stream};
use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use tokio::sync::OnceCell;

/// Tables with fewer bytes of rows are stored again rather than looked at.
const TABLE_LEN_MIN: u64 = 64 << 10;
/// Bytes at a row's beginning and end that are hashed.
const HASHED_LEN: usize = 48;

/// The newest backup of a series, looked for once it is needed.
pub(super) struct Newest {
    repository: Repository,
    series: SeriesId,
    found: OnceCell<Option<Backup>>,
}

impl Newest {
    /// Of a series in a repository.
    pub(super) fn new(repository: &Repository, series: SeriesId) -> Self {
        Self { repository: repository.clone(), series, found: OnceCell::new() }
    }

    async fn backup(&self) -> Result<Option<&Backup>> {
        self.found.get_or_try_init(|| self.find()).await.map(Option::as_ref)
    }

    async fn find(&self) -> Result<Option<Backup>> {
        let mut newest: Option<Backup> = None;
        let read = self.repository.for_each_backup(|_, backup| {
            let Ok(backup) = backup else { return };
            let is_newer = newest
                .as_ref()
                .is_none_or(|newest| newest.clear.finished_at < backup.clear.finished_at);
            let is_of_series = backup.clear.series == self.series;
            if is_newer && is_of_series && backup.clear.kind == BackupKind::Logical {
                newest = Some(backup);
            }
        });
        read.await?;
        Ok(newest)
    }
}

/// What the newest backup has of a database, as far as it is known.
pub(super) struct Earlier {
    newest: Arc<Newest>,
    database: String,
    encoding: String,
    found: OnceCell<Option<Found>>,
}

struct Found {
    lists: ChunkReader,
    rows: ChunkReader,
    tables: HashMap<u32, (Data, Stream)>,
    /// Those whose references are in memory, as long as somebody needs them.
    read: Mutex<HashMap<u32, Weak<EarlierTable>>>,
}

/// A table as the backup before has it.
pub(super) struct EarlierTable {
    references: Vec<ChunkReference>,
    /// Places of references, ascending, by what they end with.
    endings: HashMap<Ending, Vec<u32>>,
    encoding: RowEncoding,
    rows: ChunkReader,
}

impl Earlier {
    /// Of a database whose values have this encoding.
    pub(super) fn new(newest: &Arc<Newest>, database: &str, encoding: &str) -> Self {
        Self {
            newest: newest.clone(),
            database: database.to_owned(),
            encoding: encoding.to_owned(),
            found: OnceCell::new(),
        }
    }

    /// The table whose rows are as `data` says, where the backup before has it.
    pub(super) async fn table(&self, data: &Data) -> Option<Arc<EarlierTable>> {
        let found =
            self.found.get_or_init(|| async { self.find().await.inspect_err(warn).ok().flatten() });
        let found = found.await.as_ref()?;
        let oid = data.table?;
        let (stored, stream) = found.tables.get(&oid)?;
        let is_same = stored.encoding == data.encoding
            && stored.columns == data.columns
            && stored.types == data.types;
        if !is_same {
            return None;
        }
        if let Some(table) = found.lock().get(&oid).and_then(Weak::upgrade) {
            return Some(table);
        }
        let references = found.lists.references(stream).await.inspect_err(warn);
        let table = Arc::new(EarlierTable::new(references.ok()?, data.encoding, &found.rows));
        found.lock().insert(oid, Arc::downgrade(&table));
        Some(table)
    }

    async fn find(&self) -> Result<Option<Found>> {
        let Some(backup) = self.newest.backup().await? else { return Ok(None) };
        let databases = &backup.sealed_part()?.databases;
        let is_same = |it: &&Database| it.name == self.database && it.encoding == self.encoding;
        let Some(database) = databases.iter().find(is_same) else { return Ok(None) };
        let repository = &self.newest.repository;
        let lists = ChunkReader::of_definitions(repository).await?;
        let mut tables = HashMap::new();
        lists
            .for_each_entry(backup, database.entries_stream, |entry| {
                let data = entry.data.filter(|data| data.bytes >= TABLE_LEN_MIN);
                if let Some(data) = data
                    && let Some(oid) = data.table
                {
                    let stream = backup.stream(data.stream)?.clone();
                    tables.insert(oid, (*data, stream));
                }
                Ok(())
            })
            .await?;
        let mut chunks = Vec::new();
        for (_, stream) in tables.values() {
            let references = lists.references(stream).await?;
            chunks.extend(references.into_iter().map(|reference| reference.id));
        }
        let rows = ChunkReader::of_rows(repository, &chunks).await?;
        Ok(Some(Found { lists, rows, tables, read: Mutex::default() }))
    }
}

impl Found {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<u32, Weak<EarlierTable>>> {
        self.read.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl EarlierTable {
    fn new(references: Vec<ChunkReference>, encoding: RowEncoding, rows: &ChunkReader) -> Self {
        let mut endings: HashMap<Ending, Vec<u32>> = HashMap::new();
        for (at, reference) in references.iter().enumerate() {
            if !reference.ending.is_none() {
                let at = u32::try_from(at).unwrap_or(u32::MAX);
                endings.entry(reference.ending).or_default().push(at);
            }
        }
        Self { references, endings, encoding, rows: rows.clone() }
    }

    /// The place of the first reference with this ending, at `from` or behind it if it is known.
    fn at_ending(&self, ending: Ending, from: Option<usize>) -> Option<usize> {
        let places = self.endings.get(&ending)?;
        let behind = places.partition_point(|at| (*at as usize) < from.unwrap_or(0));
        places.get(behind).map(|at| *at as usize)
    }

    /// Whether the rows of the chunk at a place were gathered.
    fn is_gathered(&self, at: usize) -> bool {
        self.references.get(at).is_some_and(|reference| reference.ending.is_none())
    }

    /// The first place from this one on whose chunk's rows were not gathered.
    fn chunk_from(&self, at: usize) -> usize {
        (at..).find(|at| !self.is_gathered(*at)).unwrap_or(at)
    }

    /// The reference at a place, where its chunk begins and ends with a whole row.
    fn whole_rows(&self, at: usize) -> Option<&ChunkReference> {
        let reference = self.references.get(at)?;
        let before = at.checked_sub(1).and_then(|before| self.references.get(before));
        let begins_within = before.is_some_and(|before| before.row_continues);
        (!reference.row_continues && !begins_within).then_some(reference)
    }

    /// The place of a chunk; of several the first.
    fn place(&self, chunk: &ChunkReference) -> Option<usize> {
        let mut places = self.endings.get(&chunk.ending)?.iter().map(|at| *at as usize);
        places.find(|at| self.references[*at].id == chunk.id)
    }

    /// All rows of a chunk; absent where it cannot be read.
    async fn read(&self, reference: &ChunkReference) -> Option<Vec<u8>> {
        let plain = self.rows.read_whole(reference, FrameType::Rows).await;
        plain.inspect_err(warn).ok()
    }
}

/// The references of a part's chunks with those of gathered rows in their places.
pub(super) fn placed(
    chunks: Vec<ChunkReference>,
    mut gathered: Vec<(usize, ChunkReference)>,
) -> Vec<ChunkReference> {
    gathered.sort_by_key(|(place, _)| *place);
    let mut placed = Vec::with_capacity(chunks.len() + gathered.len());
    let mut gathered = gathered.into_iter().peekable();
    for (number, chunk) in chunks.into_iter().enumerate() {
        while let Some((_, reference)) = gathered.next_if(|(place, _)| *place <= number) {
            placed.push(reference);
        }
        placed.push(chunk);
    }
    placed.extend(gathered.map(|(_, reference)| reference));
    placed
}

/// The backup goes on without: it stores again what it cannot refer to.
fn warn(error: &Error) {
    tracing::warn!("rows of the backup before are stored again: {error:?}");
}

/// Hashes rows; anew in each run, for rows are made by strangers.
#[derive(Debug, Default)]
struct RowHash(RandomState);

impl RowHash {
    /// Of the row's length, beginning and end: rows that are found are compared as a whole.
    fn of(&self, row: &[u8]) -> u32 {
        let mut hasher = self.0.build_hasher();
        hasher.write_usize(row.len());
        match row.len() > 2 * HASHED_LEN {
            true => {
                hasher.write(&row[..HASHED_LEN]);
                hasher.write(&row[row.len() - HASHED_LEN..]);
            }
            false => hasher.write(row),
        }
        let [a, b, c, d, ..] = hasher.finish().to_le_bytes();
        u32::from_le_bytes([a, b, c, d])
    }
}

#[cfg(test)]
mod tests;
