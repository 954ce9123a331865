//! What there is to copy, which workers take item by item, and what came of it.

use super::BackupOptions;
use super::earlier::Earlier;
use super::part::PartInWork;
use super::plan::{self, Item};
use super::worker::{Worker, Workers};
use crate::catalog::Catalog;
use crate::postgres::Snapshot;
use crate::progress::{Event, Progress};
use crate::repository::ChunkWriter;
use crate::seal::Layout;
use crate::{Error, ErrorKind, Result};
use pgkeep_format::entry::Data;
use pgkeep_format::stream::ChunkReference;
use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Notify;

/// What was copied of one table.
#[derive(Debug, Default)]
pub(super) struct CopiedTable {
    pub(super) references: Vec<ChunkReference>,
    pub(super) rows: u64,
    pub(super) bytes: u64,
}

/// What is left to do, and what is done.
pub(super) struct Work {
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
    let mut workers = Workers::default();
    for number in 0..jobs {
        let mut wire = snapshot.join().await?;
        if number == 0 {
            snapshot.lock_on(&mut wire, &locks, options.lock_timeout).await?;
        }
        workers.start(Worker::new(work.clone(), writer, number == 0), wire)?;
    }
    workers.end().await?;
    work.take_tables()
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
    pub(super) fn progress(&self) -> &dyn Progress {
        &*self.progress
    }

    /// The name of an item's table.
    pub(super) fn table(&self, item: &Item) -> &str {
        &self.tables[item.table]
    }

    /// An item that is about to be copied.
    pub(super) fn part<'a>(&'a self, item: &Item, writer: &'a ChunkWriter) -> PartInWork<'a> {
        let earlier = self.earlier.as_ref();
        PartInWork::new(
            writer,
            &self.layouts[item.table],
            self.seals_aside,
            earlier.and_then(|(earlier, data)| Some((earlier, data[item.table].as_ref()?))),
            item.part,
        )
    }

    /// Takes an item to copy.
    pub(super) fn next(&self, is_first: bool) -> Option<Item> {
        let mut state = self.lock_state();
        let left_over = if is_first { state.first_worker.pop_front() } else { None };
        left_over.or_else(|| state.items.pop_front())
    }

    /// Hands an item that another worker may not read to the first one.
    pub(super) fn hand_to_first(&self, item: Item) {
        self.lock_state().first_worker.push_back(item);
        self.changed.notify_one();
    }

    /// Another worker than the first has nothing left to do.
    pub(super) fn one_less(&self) {
        self.lock_state().others -= 1;
        self.changed.notify_one();
    }

    /// Waits for an item that is handed to the first worker; absent when none can come any more.
    pub(super) async fn left_over(&self) -> Option<Item> {
        loop {
            {
                let mut state = self.lock_state();
                if let Some(item) = state.first_worker.pop_front() {
                    return Some(item);
                }
                if state.others == 0 {
                    return None;
                }
            }
            self.changed.notified().await;
        }
    }

    /// Notes what was copied.
    pub(super) fn done(&self, item: &Item, copied: CopiedTable) {
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

    fn take_tables(&self) -> Result<Vec<CopiedTable>> {
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
