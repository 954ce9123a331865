//! The workers: each with its own connection and the common snapshot, each copying one
//! part of a table after the other.

use super::BackupOptions;
use super::earlier::Earlier;
use super::part::PartInWork;
use super::plan::{self, Item, Statement};
use crate::catalog::Catalog;
use crate::postgres::{Snapshot, WireSession};
use crate::progress::{Event, Progress};
use crate::repository::ChunkWriter;
use crate::seal::{Cutter, Layout};
use crate::{Error, ErrorKind, Result};
use pgkeep_format::entry::Data;
use pgkeep_format::stream::ChunkReference;
use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Notify;
use tokio::task::JoinSet;

/// What was copied of one table.
#[derive(Debug, Default)]
pub(super) struct CopiedTable {
    pub(super) references: Vec<ChunkReference>,
    pub(super) rows: u64,
    pub(super) bytes: u64,
}

/// What is left to do, and what is done.
struct Work {
    state: Mutex<State>,
    tables: Vec<String>,
    /// How each table's chunks are laid out.
    layouts: Vec<Layout>,
    /// What the backup before has, and what each table's rows are, where they are looked for in it.
    earlier: Option<(Earlier, Vec<Option<Data>>)>,
    /// Whether there are processors that sealing beside the reading can use.
    seals_aside: bool,
    progress: Arc<dyn Progress>,
    /// Told whenever the first worker may have got an item, or need wait no longer.
    changed: Notify,
}

struct State {
    items: VecDeque<Item>,
    /// Items whose table somebody waits to lock: only the first worker, which has all
    /// locks from the start, can still read it.
    first_worker: VecDeque<Item>,
    /// Workers other than the first that may still hand items to it.
    others: usize,
    parts: Vec<Vec<Option<CopiedTable>>>,
    /// Bytes of each table: expected, and what they were once it is done.
    bytes: Vec<u64>,
}

impl State {
    fn plan(&self) -> Event {
        Event::Plan { tables: self.bytes.len() as u64, bytes: self.bytes.iter().sum() }
    }
}

/// Copies all tables and returns what was copied of each, in the catalog's order.
pub(super) async fn copy_all(
    snapshot: &Snapshot,
    catalog: &Catalog,
    earlier: Option<Earlier>,
    options: &BackupOptions,
    writer: &ChunkWriter,
    progress: &Arc<dyn Progress>,
) -> Result<Vec<CopiedTable>> {
    let plan = plan::plan(catalog);
    let jobs = options.jobs.get().min(plan.items.len()).max(1);
    let state = State {
        items: plan.items,
        first_worker: VecDeque::new(),
        others: jobs - 1,
        parts: plan.parts.iter().map(|parts| (0..*parts).map(|_| None).collect()).collect(),
        bytes: plan.bytes,
    };
    progress.event(state.plan());
    let tables = catalog.tables.iter().map(|table| format!("{}.{}", table.schema, table.name));
    let work = Arc::new(Work {
        state: Mutex::new(state),
        tables: tables.collect(),
        layouts: catalog.tables.iter().map(|_| Layout::default()).collect(),
        earlier: earlier.map(|earlier| (earlier, rows_of(catalog))),
        seals_aside: processors() > jobs,
        progress: progress.clone(),
        changed: Notify::new(),
    });
    let locks: Vec<(String, String)> = catalog
        .tables
        .iter()
        .filter(|table| table.rows.query.is_none())
        .map(|table| (table.schema.clone(), table.name.clone()))
        .collect();
    let mut workers = JoinSet::new();
    for number in 0..jobs {
        let mut wire = snapshot.join().await?;
        if number == 0 {
            snapshot.lock_on(&mut wire, &locks, options.lock_timeout).await?;
        }
        let (work, writer) = (work.clone(), writer.clone());
        workers.spawn(async move { work.run(wire, number == 0, &writer).await });
    }
    while let Some(ended) = workers.join_next().await {
        ended.map_err(|error| {
            Error::new(ErrorKind::Internal, "copying rows did not end").because(error)
        })??;
    }
    work.into_tables()
}

/// What the rows of each table are, where there are enough of them to look for.
fn rows_of(catalog: &Catalog) -> Vec<Option<Data>> {
    let data = catalog.tables.iter().map(|table| {
        let entry = catalog.entries.get(table.entry as usize)?;
        entry.data.as_deref().filter(|_| plan::may_have_chunks(table)).cloned()
    });
    data.collect()
}

/// Processors that this process may use; many where nobody knows.
fn processors() -> usize {
    std::thread::available_parallelism().map_or(usize::MAX, NonZeroUsize::get)
}

impl Work {
    async fn run(
        self: Arc<Self>,
        mut wire: WireSession,
        is_first: bool,
        writer: &ChunkWriter,
    ) -> Result<()> {
        while let Some(item) = self.next(is_first) {
            if !is_first && !may_read(&mut wire, &item).await? {
                self.lock_state().first_worker.push_back(item);
                self.changed.notify_one();
                continue;
            }
            if item.part == 0 {
                let table = self.tables[item.table].clone();
                self.progress.event(Event::TableStarted { table });
            }
            let copied = self.copy(&mut wire, &item, writer).await.map_err(|error| {
                let message = format!("could not copy table \"{}\"", self.tables[item.table]);
                Error::new(error.kind(), message).because(error)
            })?;
            self.done(&item, copied);
        }
        if !is_first {
            self.lock_state().others -= 1;
            self.changed.notify_one();
            wire.close().await;
            return Ok(());
        }
        self.run_left_over(wire, writer).await
    }

    /// The first worker goes on until no other can hand it an item any more.
    async fn run_left_over(
        self: Arc<Self>,
        mut wire: WireSession,
        writer: &ChunkWriter,
    ) -> Result<()> {
        loop {
            let (item, others) = {
                let mut state = self.lock_state();
                (state.first_worker.pop_front(), state.others)
            };
            match item {
                Some(item) => {
                    let copied = self.copy(&mut wire, &item, writer).await?;
                    self.done(&item, copied);
                }
                None if others == 0 => {
                    wire.close().await;
                    return Ok(());
                }
                None => self.changed.notified().await,
            }
        }
    }

    async fn copy(
        &self,
        wire: &mut WireSession,
        item: &Item,
        writer: &ChunkWriter,
    ) -> Result<CopiedTable> {
        let mut rows = match &item.statement {
            Statement::Select(sql) => wire.select(sql).await?,
            Statement::Copy(sql) => wire.copy_out(sql).await?,
        };
        let earlier = self.earlier.as_ref();
        let mut part = PartInWork::new(
            writer,
            &self.layouts[item.table],
            self.seals_aside,
            earlier.and_then(|(earlier, data)| Some((earlier, data[item.table].as_ref()?))),
            item.part,
        );
        let mut cutter = Cutter::new(writer.secrets());
        let mut cut = Vec::new();
        while let Some(ends) = rows.next(cutter.buffer()).await? {
            cutter.took(ends, |chunk| cut.push(chunk));
            for chunk in cut.drain(..) {
                part.push(chunk).await?;
            }
        }
        if let Some(chunk) = cutter.finish() {
            part.push(chunk).await?;
        }
        part.finish().await
    }

    fn next(&self, is_first: bool) -> Option<Item> {
        let mut state = self.lock_state();
        let left_over = if is_first { state.first_worker.pop_front() } else { None };
        left_over.or_else(|| state.items.pop_front())
    }

    fn done(&self, item: &Item, copied: CopiedTable) {
        let mut state = self.lock_state();
        state.parts[item.table][item.part] = Some(copied);
        let parts = &state.parts[item.table];
        if parts.iter().all(Option::is_some) {
            let sum = |value: fn(&CopiedTable) -> u64| parts.iter().flatten().map(value).sum();
            let (rows, bytes) = (sum(|part| part.rows), sum(|part| part.bytes));
            let table = self.tables[item.table].clone();
            self.progress.event(Event::TableFinished { table, rows, bytes });
            // The server's size of a table is not that of its rows as text.
            state.bytes[item.table] = bytes;
            self.progress.event(state.plan());
        }
    }

    fn lock_state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn into_tables(self: Arc<Self>) -> Result<Vec<CopiedTable>> {
        let parts = std::mem::take(&mut self.lock_state().parts);
        parts.into_iter().map(join_parts).collect()
    }
}

fn join_parts(parts: Vec<Option<CopiedTable>>) -> Result<CopiedTable> {
    let mut table = CopiedTable::default();
    for part in parts {
        let part =
            part.ok_or_else(|| Error::new(ErrorKind::Internal, "part of a table was not copied"))?;
        table.references.extend(part.references);
        table.rows += part.rows;
        table.bytes += part.bytes;
    }
    Ok(table)
}

/// Whether this worker gets its lock at once. If somebody waits for a stronger lock, this
/// worker would wait behind him, and he behind the coordinator: for ever.
async fn may_read(wire: &mut WireSession, item: &Item) -> Result<bool> {
    let Some(table) = &item.lock else { return Ok(true) };
    // In one round trip: with many small tables it is half of what they cost.
    let lock = format!(
        "SAVEPOINT lock; LOCK TABLE ONLY {table} IN ACCESS SHARE MODE NOWAIT; \
         RELEASE SAVEPOINT lock"
    );
    match wire.execute(&lock).await {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::LockTimeout => {
            wire.execute("ROLLBACK TO SAVEPOINT lock; RELEASE SAVEPOINT lock").await?;
            Ok(false)
        }
        Err(error) => Err(error),
    }
}
