//! From messages of pgoutput to segments: which transaction a change belongs to, which
//! segment a transaction goes into, and what was there before and is passed over.

use super::builder::{SegmentBuilder, Storage};
use super::definitions::{Captured, Definitions, Into};
use super::relations::{COMMITTED, Relations};
use crate::catalog::capture;
use crate::postgres::pgoutput::{Action, Change, Commit, Logical, Message, decode};
use crate::{Error, ErrorKind, Lsn, Result};
use pgkeep_format::segment::{ClearPart, Mark, Transaction};
use std::collections::HashMap;

/// The prefix of messages that name a position.
pub const MARK_PREFIX: &str = "pgkeep.mark";

/// Bytes of changes that wait in memory for their chunks, of all tables and transactions.
const WAITING_BYTES_MAX: usize = 48 << 20;

/// Longest name of a mark, in bytes.
const MARK_BYTES_MAX: usize = 1024;

/// Transactions of one segment; their list is sealed as one frame.
const TRANSACTIONS_MAX: usize = 100_000;

/// Tables of one segment, for the same reason.
const TABLES_MAX: usize = 2_000;

/// Receives what a slot sends.
pub(super) struct Receiver {
    storage: Storage,
    relations: Relations,
    /// The segment that transactions go into as they end.
    pub(super) open: SegmentBuilder,
    current: Option<Current>,
    /// Transactions that still run.
    running: HashMap<u32, Running>,
    /// The running transaction whose changes are coming.
    in_stream: Option<u32>,
    /// All that committed up to here was received before.
    received: Lsn,
    xids: Xids,
    pub(super) definitions: Definitions,
    /// The prefix of what is captured of changes of definitions; absent where nothing is.
    captures: Option<String>,
}

/// The transaction whose changes are coming.
struct Current {
    xid: u32,
    /// Whether it was received before, and is passed over.
    known: bool,
    marks: Vec<String>,
    captured: Captured,
}

/// A transaction that still runs.
struct Running {
    builder: SegmentBuilder,
    relations: Relations,
    rolled_back: Vec<u32>,
    marks: Vec<(u32, String)>,
    captured: Captured,
}

/// What became of a message.
pub(super) enum Received {
    /// Nothing to do.
    Nothing,
    /// A transaction ended; the open segment may be stored.
    Committed,
    /// A transaction ended that has a segment of its own, which comes after the open one.
    Large(Box<LargeTransaction>),
}

/// A transaction with a segment of its own.
pub(super) struct LargeTransaction {
    pub(super) builder: SegmentBuilder,
    pub(super) rolled_back: Vec<u32>,
    pub(super) end: Lsn,
    pub(super) time: i64,
}

impl Receiver {
    /// After the segment `last`. `token` is that of what [`capture`] installed, if it did.
    pub(super) fn new(
        storage: &Storage,
        last: &ClearPart,
        xids: Xids,
        token: Option<&str>,
    ) -> Self {
        Self {
            storage: storage.clone(),
            relations: Relations::default(),
            open: SegmentBuilder::new(storage),
            current: None,
            running: HashMap::new(),
            in_stream: None,
            received: Lsn(last.last),
            xids,
            definitions: Definitions::after(last.greatest_xid),
            captures: token.map(|token| format!("{}{token}", capture::PREFIX)),
        }
    }

    /// Whether a segment can end here: no transaction is half received into it.
    pub(super) fn is_between_transactions(&self) -> bool {
        self.current.is_none()
    }

    /// Takes the open segment and begins another.
    pub(super) fn take_open(&mut self) -> SegmentBuilder {
        std::mem::replace(&mut self.open, SegmentBuilder::new(&self.storage))
    }

    /// Builds the segments that are begun from now on with another storage.
    pub(super) fn renew(&mut self, storage: Storage) {
        self.storage = storage;
    }

    /// Whether the open segment is as large as the format lets it be.
    pub(super) fn is_full(&self) -> bool {
        self.open.transactions.len() >= TRANSACTIONS_MAX || self.open.tables() >= TABLES_MAX
    }

    /// Takes one message.
    pub(super) async fn take(&mut self, bytes: &[u8]) -> Result<Received> {
        match decode(bytes, self.in_stream.is_some())? {
            Message::Begin { lsn, xid } => {
                // Commit records are compared by where they begin: the end of one may be
                // the beginning of the next.
                let known = lsn < self.received;
                self.current =
                    Some(Current { xid, known, marks: Vec::new(), captured: Captured::default() });
            }
            Message::Commit(commit) => return self.commit(commit),
            Message::Relation(relation) => match self.in_stream {
                Some(xid) => self.running(xid)?.relations.learn(&relation),
                None => self.relations.learn(&relation),
            },
            Message::Change(change) => self.change(&change).await?,
            Message::Logical(logical) => self.logical(logical).await?,
            Message::StreamStart { xid } => {
                self.in_stream = Some(xid);
                let (storage, relations) = (&self.storage, &self.relations);
                self.running.entry(xid).or_insert_with(|| Running {
                    builder: SegmentBuilder::new(storage),
                    relations: relations.of_running(),
                    rolled_back: Vec::new(),
                    marks: Vec::new(),
                    captured: Captured::default(),
                });
            }
            Message::StreamStop => self.in_stream = None,
            Message::StreamAbort { xid, subxid } => {
                if xid == subxid {
                    self.running.remove(&xid);
                } else if let Some(running) = self.running.get_mut(&xid) {
                    running.rolled_back.push(subxid);
                    running.relations.roll_back(subxid);
                }
            }
            Message::StreamCommit { xid, commit } => return self.stream_commit(xid, commit),
            Message::Origin(_) | Message::Type => {}
        }
        Ok(Received::Nothing)
    }

    async fn change(&mut self, change: &Change<'_>) -> Result<()> {
        let oids = match &change.action {
            Action::Insert { relation, .. }
            | Action::Update { relation, .. }
            | Action::Delete { relation, .. } => std::slice::from_ref(relation),
            Action::Truncate { relations } => relations.as_slice(),
        };
        match (self.in_stream, &self.current) {
            (Some(xid), _) => {
                let running = self.running.get_mut(&xid).ok_or_else(out_of_step)?;
                let member = change.xid.unwrap_or(xid);
                for oid in oids {
                    let relation = running.relations.get(*oid)?;
                    running.builder.push(relation, member, &change.action).await?;
                }
            }
            (None, Some(current)) if !current.known => {
                // TRANSACTIONS_MAX keeps positions within u32.
                let member = u32::try_from(self.open.transactions.len()).unwrap_or(u32::MAX);
                for oid in oids {
                    let relation = self.relations.get(*oid)?;
                    self.open.push(relation, member, &change.action).await?;
                }
            }
            (None, Some(_)) => {}
            (None, None) => return Err(out_of_step()),
        }
        self.free_memory().await
    }

    /// Makes chunks of what waits where too much does, the most first.
    async fn free_memory(&mut self) -> Result<()> {
        let running = self.running.values().map(|running| running.builder.waiting);
        if self.open.waiting + running.sum::<usize>() <= WAITING_BYTES_MAX {
            return Ok(());
        }
        let running = self.running.values_mut().map(|running| &mut running.builder);
        let builders = running.chain([&mut self.open]);
        match builders.max_by_key(|builder| builder.waiting) {
            Some(builder) => builder.cut_all().await,
            None => Ok(()),
        }
    }

    async fn logical(&mut self, logical: Logical<'_>) -> Result<()> {
        let captures = self.captures.as_ref().is_some_and(|it| it.as_bytes() == logical.prefix);
        if captures && logical.transactional {
            return self.captured(logical).await;
        }
        if logical.prefix != MARK_PREFIX.as_bytes() || !logical.transactional {
            return Ok(());
        }
        let name = std::str::from_utf8(logical.content).unwrap_or_default();
        if name.is_empty() || name.len() > MARK_BYTES_MAX {
            tracing::warn!("a mark has a name that is empty, too long or not UTF-8");
            return Ok(());
        }
        match self.in_stream {
            Some(xid) => {
                let member = logical.xid.unwrap_or(xid);
                self.running(xid)?.marks.push((member, name.to_owned()));
            }
            None => {
                let current = self.current.as_mut().ok_or_else(out_of_step)?;
                current.marks.push(name.to_owned());
            }
        }
        Ok(())
    }

    async fn captured(&mut self, logical: Logical<'_>) -> Result<()> {
        let into = match (self.in_stream, &mut self.current) {
            (Some(xid), _) => {
                let running = self.running.get_mut(&xid).ok_or_else(out_of_step)?;
                let member = logical.xid.unwrap_or(xid);
                Into {
                    builder: &mut running.builder,
                    relations: &mut running.relations,
                    captured: &mut running.captured,
                    member,
                    subtransaction: member,
                }
            }
            (None, Some(current)) if current.known => return Ok(()),
            (None, Some(current)) => Into {
                // TRANSACTIONS_MAX keeps positions within u32.
                member: u32::try_from(self.open.transactions.len()).unwrap_or(u32::MAX),
                builder: &mut self.open,
                relations: &mut self.relations,
                captured: &mut current.captured,
                subtransaction: COMMITTED,
            },
            (None, None) => return Err(out_of_step()),
        };
        into.take(logical.content).await?;
        self.free_memory().await
    }

    fn commit(&mut self, commit: Commit) -> Result<Received> {
        let current = self.current.take().ok_or_else(out_of_step)?;
        if current.known {
            return Ok(Received::Nothing);
        }
        self.received = commit.end;
        let transaction = self.transaction(current.xid, commit);
        self.definitions.committed(current.captured);
        self.open.transactions.push(transaction);
        let after = self.open.transactions.len() as u64;
        let marks = current.marks.into_iter().map(|name| mark(name, after, commit));
        self.open.marks.extend(marks);
        Ok(Received::Committed)
    }

    fn stream_commit(&mut self, xid: u32, commit: Commit) -> Result<Received> {
        let mut running = self.running.remove(&xid).ok_or_else(out_of_step)?;
        if commit.lsn < self.received {
            return Ok(Received::Nothing);
        }
        self.received = commit.end;
        self.relations.merge(running.relations);
        running.rolled_back.sort_unstable();
        let marks = running
            .marks
            .into_iter()
            .filter(|(member, _)| running.rolled_back.binary_search(member).is_err());
        running.builder.marks = marks.map(|(_, name)| mark(name, 1, commit)).collect();
        let transaction = self.transaction(xid, commit);
        self.definitions.committed(running.captured);
        running.builder.transactions.push(transaction);
        Ok(Received::Large(Box::new(LargeTransaction {
            builder: running.builder,
            rolled_back: running.rolled_back,
            end: commit.end,
            time: commit.time,
        })))
    }

    fn transaction(&mut self, xid: u32, commit: Commit) -> Transaction {
        let xid = self.xids.extend(xid);
        Transaction { xid, lsn: commit.lsn.0, end: commit.end.0, time: commit.time }
    }

    fn running(&mut self, xid: u32) -> Result<&mut Running> {
        self.running.get_mut(&xid).ok_or_else(out_of_step)
    }
}

fn mark(name: String, after: u64, commit: Commit) -> Mark {
    Mark { name, after, lsn: commit.end.0, time: commit.time }
}

fn out_of_step() -> Error {
    Error::new(
        ErrorKind::Connection,
        "server sent replication messages in an order that makes no sense",
    )
}

/// Transaction ids with their epoch, which pgoutput leaves out.
#[derive(Debug, Clone, Copy)]
pub(super) struct Xids {
    /// One that is near those that come.
    near: u64,
}

impl Xids {
    pub(super) fn new(near: u64) -> Self {
        Self { near }
    }

    /// The 64-bit id with these lower 32 bits that is nearest to the greatest seen so far.
    fn extend(&mut self, xid: u32) -> u64 {
        const EPOCH: u64 = 1 << 32;
        let same = (self.near & !(EPOCH - 1)) | u64::from(xid);
        let candidates = [Some(same), same.checked_sub(EPOCH), same.checked_add(EPOCH)];
        let nearest = candidates.into_iter().flatten().min_by_key(|id| id.abs_diff(self.near));
        let xid = nearest.unwrap_or(same);
        self.near = self.near.max(xid);
        xid
    }
}

#[cfg(test)]
mod tests {
    use super::Xids;

    #[test]
    fn a_transaction_id_gets_the_epoch_that_is_nearest() {
        let mut xids = Xids::new(3 << 32 | 5);
        assert_eq!(xids.extend(7), 3 << 32 | 7);
        assert_eq!(xids.extend(u32::MAX), 2 << 32 | u64::from(u32::MAX));
        let mut xids = Xids::new(u64::from(u32::MAX) - 1);
        assert_eq!(xids.extend(3), 1 << 32 | 3);
        assert_eq!(xids.extend(u32::MAX), u64::from(u32::MAX));
    }
}
