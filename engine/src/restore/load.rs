//! Rows from chunks into tables, by `COPY FROM STDIN`; a large table in groups of chunks,
//! each of which any connection can load. To a moment, they pass through a fold first.

use super::folded::Base;
use super::passing::{CHUNKS_AHEAD, RowsPassing, Sink, write_changed};
use super::rename::Rename;
use super::routes::Routes;
use super::row_groups::{GROUP_CHUNKS, Group, What, row_groups};
use super::sessions::Sessions;
use super::triggers::Triggers;
use crate::catalog::rows_target;
use crate::fold::{Part, Recovery, TableFold};
use crate::postgres::{SESSION_ENCODING, WireSession, literal, qualified};
use crate::progress::{Event, Progress};
use crate::repository::{Backup, ChunkReader, MissingRows, RowsSeen, WholeRows};
use crate::{Error, ErrorKind, Result};
use futures_util::future::BoxFuture;
use futures_util::{StreamExt, stream};
use pgkeep_format::entry::{Data, Entry, Kind, RowEncoding};
use pgkeep_format::manifest::Database;
use pgkeep_format::stream::{ChunkReference, Stream};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::OnceCell;

/// Loads rows.
pub(super) struct Loader {
    reader: ChunkReader,
    backup: Backup,
    entries: Arc<Vec<Entry>>,
    encoding: String,
    rename: Rename,
    sessions: Arc<Sessions>,
    routes: Routes,
    /// Tables, by their entries, that this restore has made.
    made: HashSet<usize>,
    /// Whether the server is of an older major version than the rows.
    is_older: bool,
    /// Whether triggers are disabled, table by table.
    disable_triggers: bool,
    recovery: Option<Arc<Recovery>>,
    /// With changes: what they are applied to, by the OID of the table.
    bases: HashMap<u32, Base>,
    /// Of tables with changes, by the entry of their rows.
    folds: HashMap<usize, Arc<Folded>>,
    rows: Arc<AtomicU64>,
    seen: Arc<Seen>,
}

/// What was read of each table, by the entry of its rows; kept only where damage is allowed.
#[derive(Debug, Default)]
pub(super) struct Seen {
    allows_damage: bool,
    tables: Mutex<BTreeMap<usize, RowsSeen>>,
}

impl Seen {
    /// What is missing of the rows of all tables.
    pub(super) fn missing(&self, entries: &[Entry]) -> Vec<MissingRows> {
        let tables = self.lock();
        let missing = tables.iter().filter_map(|(at, seen)| seen.missing(full_name(&entries[*at])));
        missing.collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<usize, RowsSeen>> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn full_name(entry: &Entry) -> String {
    match &entry.schema {
        Some(schema) => format!("{schema}.{}", entry.name),
        None => entry.name.clone(),
    }
}

/// A table with changes, and what became of its rows once somebody needs it.
struct Folded {
    fold: Arc<TableFold>,
    whole: OnceCell<Part>,
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
            backup: backup.clone(),
            entries: entries.clone(),
            encoding: database.encoding.clone(),
            rename: rename.clone(),
            sessions: sessions.clone(),
            routes: Routes::default(),
            made: HashSet::new(),
            is_older: false,
            disable_triggers,
            recovery: None,
            bases: HashMap::new(),
            folds: HashMap::new(),
            rows: Arc::default(),
            seen: Arc::default(),
        })
    }

    /// Goes on without chunks that cannot be read, if allowed, and remembers what is missing.
    pub(super) fn allow_damage(&mut self, allows_damage: bool) {
        self.seen = Arc::new(Seen { allows_damage, ..Seen::default() });
    }

    /// What was read of each table.
    pub(super) fn seen(&self) -> Arc<Seen> {
        self.seen.clone()
    }

    /// Lets rows become what changes make of them.
    pub(super) fn recover(&mut self, recovery: Option<&Arc<Recovery>>, bases: HashMap<u32, Base>) {
        self.recovery = recovery.cloned();
        self.bases = bases;
    }

    /// Counts the rows that are loaded.
    pub(super) fn rows(&self) -> Arc<AtomicU64> {
        self.rows.clone()
    }

    /// The groups of an entry's rows, in order; one without chunks for an empty table.
    pub(super) async fn groups(&mut self, position: usize) -> Result<Vec<Group>> {
        let mut groups = self.groups_of_backup(position).await?;
        let data = self.data(position)?;
        let (Some(recovery), Some(table)) = (&self.recovery, data.table) else {
            return Ok(groups);
        };
        let base = self.base(data);
        let recovery = base.map_or(recovery, |base| &base.recovery);
        let base = base.map(|base| &base.data);
        let Some(fold) = TableFold::open(recovery, table, base, data)? else {
            return Ok(groups);
        };
        if fold.fits() {
            for from in (0..fold.units()).step_by(GROUP_CHUNKS) {
                let what = What::Changed(from, from + GROUP_CHUNKS);
                groups.push(Group { first: false, what, start: 0, chunks: Vec::new() });
            }
        } else {
            let chunks = groups.into_iter().flat_map(|group| group.chunks).collect();
            groups = vec![Group { first: true, what: What::InParts, start: 0, chunks }];
        }
        self.folds.insert(position, Arc::new(Folded { fold, whole: OnceCell::new() }));
        Ok(groups)
    }

    async fn groups_of_backup(&self, position: usize) -> Result<Vec<Group>> {
        let data = self.data(position)?;
        let base = self.base(data);
        if base.is_none() && self.recovery.is_some() && data.table.is_some() {
            return Ok(row_groups(&[]));
        }
        let stream = match base {
            Some(base) => &base.stream,
            None => self.backup.stream(data.stream)?,
        };
        let data = self.stored(position)?;
        let references = self.references(stream, data).await?;
        if self.seen.allows_damage {
            let seen = RowsSeen::new(&references, data.rows, data.bytes);
            self.seen.lock().insert(position, seen);
        }
        Ok(row_groups(&references))
    }

    async fn references(&self, stream: &Stream, data: &Data) -> Result<Vec<ChunkReference>> {
        if self.seen.allows_damage && data.encoding != RowEncoding::Cbor {
            return self.reader.references_left(stream).await;
        }
        self.reader.references(stream).await.map_err(names_the_option)
    }

    /// The rows that changes are applied to, where there are changes.
    fn base(&self, data: &Data) -> Option<&Base> {
        self.recovery.as_ref()?;
        self.bases.get(&data.table?)
    }

    /// How the rows of an entry are stored.
    fn stored(&self, position: usize) -> Result<&Data> {
        let data = self.data(position)?;
        Ok(self.base(data).map_or(data, |base| &base.data))
    }

    /// How the rows of an entry go to the server. Binary values are only for columns of the very
    /// types that they come from, which is certain of tables that this restore has made.
    fn sent_as(&self, position: usize) -> Result<RowEncoding> {
        let (entry, data, stored) =
            (&self.entries[position], self.data(position)?, self.stored(position)?);
        let table = self.routes.of(entry).or(entry.belongs_to.map(|table| table as usize));
        // Rows of an extension belong to it: its tables may be others now.
        let is_table = |at: usize| self.entries.get(at).is_some_and(|it| it.relation.is_some());
        let is_made = entry.kind == Kind::LargeObjectData
            || table.is_some_and(|table| is_table(table) && self.made.contains(&table));
        let is_same = is_made
            && stored.types == data.types
            && !self.is_older
            && !self.folds.contains_key(&position)
            && self.encoding == SESSION_ENCODING;
        Ok(match stored.encoding {
            RowEncoding::CopyBinary if !is_same => RowEncoding::CopyText,
            encoding => encoding,
        })
    }

    fn data(&self, position: usize) -> Result<&Data> {
        let data = self.entries.get(position).and_then(|entry| entry.data.as_deref());
        data.ok_or_else(|| Error::new(ErrorKind::Internal, "entry has no rows"))
    }

    /// Tells which tables were made by this restore.
    pub(super) fn made(&mut self, tables: HashSet<usize>) {
        self.made = tables;
    }

    /// Says that the server is of an older major version than the one that the rows come from. What
    /// a value's bytes mean there may be another value: before 17 no interval was infinite. As text
    /// the server refuses what it does not know.
    pub(super) fn older(&mut self) {
        self.is_older = true;
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
        let options = copy_options(self.sent_as(position)?, &self.encoding)?;
        let route = self.routes.of(entry).and_then(|root| self.entries.get(root));
        let table = route.unwrap_or(entry);
        let schema = self.rename.new_name(table.schema.as_deref().unwrap_or_default());
        let target = rows_target(entry, data, schema, &table.name);
        let sql = format!("COPY {} FROM STDIN WITH ({options})", target.copy);
        let disables = self.disable_triggers && entry.kind == Kind::TableData;
        if target.before.is_empty() && target.after.is_empty() && !disables {
            return self.copy(wire, position, &sql, group, progress).await;
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
            let rows = self.copy(wire, position, &sql, group, progress).await?;
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
        position: usize,
        sql: &str,
        group: &Group,
        progress: &Arc<dyn Progress>,
    ) -> Result<u64> {
        let mut copy = wire.copy_in(sql).await?;
        let mut sink = Sink { copy: &mut copy, refused: None, progress };
        if let Err(error) = self.write(position, group, &mut sink).await {
            return match sink.refused {
                // The server's own word ends the COPY.
                Some(refused) => Err(refused),
                None => {
                    // Without this the server would take what came so far for all of it.
                    copy.fail("the backup could not be read").await?;
                    Err(error)
                }
            };
        }
        let rows = copy.finish().await?;
        self.rows.fetch_add(rows, Ordering::Relaxed);
        progress.event(Event::Advanced { rows, bytes: 0, stored: 0 });
        Ok(rows)
    }

    /// Writes the rows of a group.
    async fn write(&self, position: usize, group: &Group, sink: &mut Sink<'_, '_>) -> Result<()> {
        let Some(folded) = self.folds.get(&position) else {
            return self.pass(position, group, None, sink).await;
        };
        if group.what == What::InParts {
            let mut parts = folded.fold.parts();
            while let Some(part) = parts.next().await? {
                write_changed(&part, part.units(), sink).await?;
                self.pass(position, group, Some(&part), sink).await?;
            }
            return Ok(());
        }
        let part = folded.whole.get_or_try_init(|| folded.fold.whole()).await?;
        match group.what {
            What::Changed(from, to) => {
                let units = part.units();
                write_changed(part, from.max(units.start)..to.min(units.end), sink).await
            }
            _ => self.pass(position, group, Some(part), sink).await,
        }
    }

    /// Writes the rows of chunks, or what they have become.
    async fn pass(
        &self,
        position: usize,
        group: &Group,
        part: Option<&Part>,
        sink: &mut Sink<'_, '_>,
    ) -> Result<()> {
        if part.is_some_and(Part::is_without_base) {
            return Ok(());
        }
        let data = self.stored(position)?;
        let encoding = data.encoding;
        let reads: Vec<_> =
            group.chunks.iter().map(|it| read(self.reader.clone(), it.clone(), encoding)).collect();
        let mut chunks = stream::iter(reads).buffered(CHUNKS_AHEAD).enumerate();
        let mut whole = WholeRows::new(&self.reader, &group.chunks, data.encoding);
        let mut passing = RowsPassing::new(part, data, sink.copy.encoding())?;
        while let Some((at, chunk)) = chunks.next().await {
            let (plain, stored) = match chunk {
                Ok(chunk) => chunk,
                Err(error) if self.goes_on_without(position, &error) => {
                    whole.take(at, None).await?;
                    self.note_lost(position, group.start + at, &error, sink.progress);
                    continue;
                }
                Err(error) => return Err(names_the_option(error)),
            };
            let plain = match self.seen.allows_damage {
                true => self.whole(position, group.start, at, &plain, &mut whole).await?,
                false => &plain,
            };
            passing.pass(plain, stored, sink).await?;
        }
        passing.end()
    }

    /// What is whole of the rows of a chunk.
    async fn whole<'p>(
        &self,
        position: usize,
        start: usize,
        at: usize,
        plain: &'p [u8],
        whole: &mut WholeRows<'_>,
    ) -> Result<&'p [u8]> {
        let whole = whole.take(at, Some(plain)).await?;
        if let Some(seen) = self.seen.lock().get_mut(&position) {
            seen.read(start + at, plain.len(), &whole);
        }
        Ok(&plain[whole.range])
    }

    fn goes_on_without(&self, position: usize, error: &Error) -> bool {
        let has_rows = self.stored(position).is_ok_and(|it| it.encoding != RowEncoding::Cbor);
        self.seen.allows_damage && has_rows && error.kind() == ErrorKind::Damaged
    }

    fn note_lost(&self, position: usize, at: usize, error: &Error, progress: &Arc<dyn Progress>) {
        let mut tables = self.seen.lock();
        if !tables.get_mut(&position).is_some_and(|seen| seen.lost(at)) {
            return;
        }
        let table = full_name(&self.entries[position]);
        let warning = format!("chunk {} of table \"{table}\" is left out: {error}", at + 1);
        progress.event(Event::Warning(warning));
    }

    fn is_damaged(&self, position: usize) -> bool {
        self.seen.lock().get(&position).is_some_and(RowsSeen::is_damaged)
    }

    /// Checks, when all groups of an entry are loaded, that they are all there is.
    ///
    /// # Errors
    /// [`ErrorKind::Damaged`] when they are not.
    pub(super) fn check(&self, position: usize, loaded: u64) -> Result<()> {
        if self.is_damaged(position) {
            return Ok(());
        }
        if let Some(folded) = self.folds.get(&position) {
            return folded.whole.get().map_or(Ok(()), Part::check);
        }
        let expected = self.data(position)?.rows;
        if loaded == expected {
            return Ok(());
        }
        let entry = &self.entries[position];
        let table = format!("{}.{}", entry.schema.as_deref().unwrap_or_default(), entry.name);
        let message = format!("table \"{table}\" has {loaded} rows, the backup says {expected}");
        Err(Error::new(ErrorKind::Damaged, message))
    }
}

/// Says how to go on without what is damaged.
fn names_the_option(error: Error) -> Error {
    match error.kind() {
        ErrorKind::Damaged => {
            error.hint("Restore what is left, and be told what is missing: --allow-damage")
        }
        _ => error,
    }
}

/// Reads the rows of a chunk, and the bytes that it took in the store.
fn read(
    reader: ChunkReader,
    reference: ChunkReference,
    encoding: RowEncoding,
) -> BoxFuture<'static, Result<(Vec<u8>, u64)>> {
    Box::pin(async move {
        let rows = reader.read_rows(&reference, encoding).await?;
        let stored = reader.locate(&reference.id)?.frame_len();
        Ok((rows, stored))
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
