//! The moment to restore to, and where in the stream it is: behind a commit, exactly.

use super::chain::Run;
use crate::repository::{Repository, Segment};
use crate::{Error, ErrorKind, Lsn, Result};

/// A moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Moment {
    /// The last commit before a time, microseconds since 1970 UTC. As in PostgreSQL's own
    /// recovery, the first commit in the WAL that is later ends it.
    Time(i64),
    /// A position in the WAL.
    Lsn(u64),
    /// A transaction: 64 bits, or the lower 32 of them.
    Xid(u64),
    /// The newest mark of a name.
    Mark(String),
    /// The end of the stream.
    Latest,
}

/// Where to restore to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The moment.
    pub moment: Moment,
    /// Whether what committed at the moment itself is left out.
    pub exclusive: bool,
}

/// Where a run of the stream is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// Segments before it count as a whole.
    pub segments: usize,
    /// And so many transactions of the one after them.
    pub transactions: usize,
    /// The last transaction that counts, where it is in the segment that is cut or is known.
    pub last: Option<LastCommit>,
    /// No transaction counts whose commit begins here or later.
    pub end: u64,
}

/// The last transaction that counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastCommit {
    /// Its id.
    pub xid: u64,
    /// Where its commit record begins.
    pub lsn: u64,
    /// When it committed, microseconds since 1970 UTC.
    pub time: i64,
}

impl Target {
    /// Where this is in a run; absent when the run does not have it.
    ///
    /// # Errors
    /// What reading segments gives.
    pub(crate) async fn find(&self, repository: &Repository, run: &Run) -> Result<Option<Cut>> {
        match &self.moment {
            Moment::Latest => Ok(Some(whole(run))),
            Moment::Lsn(lsn) => self.find_lsn(repository, run, *lsn).await,
            Moment::Time(time) => self.find_time(repository, run, *time).await,
            Moment::Xid(xid) => self.find_xid(repository, run, *xid).await,
            Moment::Mark(name) => self.find_mark(repository, run, name).await,
        }
    }

    async fn find_lsn(&self, repository: &Repository, run: &Run, lsn: u64) -> Result<Option<Cut>> {
        if lsn < run.begin.last || lsn > run.last.last {
            return Ok(None);
        }
        let at = run.names.partition_point(|name| name.last <= lsn);
        if at == run.names.len() {
            return Ok(Some(whole(run)));
        }
        let segment = run.read(repository, at).await?;
        let counts = |begins: u64| if self.exclusive { begins < lsn } else { begins <= lsn };
        cut_where(&segment, at, |transaction| !counts(transaction.lsn))
            .map(|cut| Some(cut.unwrap_or_else(|| behind(&segment, at))))
    }

    async fn find_time(
        &self,
        repository: &Repository,
        run: &Run,
        time: i64,
    ) -> Result<Option<Cut>> {
        if time < run.begin.known_until || time > run.last.known_until {
            return Ok(None);
        }
        let is_later = |commit: i64| if self.exclusive { commit >= time } else { commit > time };
        let mut at = run.first_where(repository, |clear| is_later(clear.known_until)).await?;
        while at < run.names.len() {
            let segment = run.read(repository, at).await?;
            if let Some(cut) = cut_where(&segment, at, |transaction| is_later(transaction.time))? {
                return Ok(Some(cut));
            }
            at += 1;
        }
        Ok(Some(whole(run)))
    }

    async fn find_xid(&self, repository: &Repository, run: &Run, xid: u64) -> Result<Option<Cut>> {
        const LOWER: u64 = u32::MAX as u64;
        let is_it = |found: u64| found == xid || (xid <= LOWER && found & LOWER == xid);
        // A short id may be of any epoch: only a whole one tells where to begin.
        let mut at = match xid > LOWER {
            true => run.first_where(repository, |clear| clear.greatest_xid >= xid).await?,
            false => 0,
        };
        let mut found = None;
        while at < run.names.len() {
            let segment = run.read(repository, at).await?;
            let transactions = &segment.sealed_part()?.transactions;
            if let Some(number) = transactions.iter().rposition(|one| is_it(one.xid)) {
                let counted = if self.exclusive { number } else { number + 1 };
                found = Some(cut_behind(&segment, at, counted)?);
                if xid > LOWER {
                    break;
                }
            }
            at += 1;
        }
        Ok(found)
    }

    async fn find_mark(
        &self,
        repository: &Repository,
        run: &Run,
        name: &str,
    ) -> Result<Option<Cut>> {
        for at in (0..run.names.len()).rev() {
            let segment = run.read(repository, at).await?;
            let marks = &segment.sealed_part()?.marks;
            if let Some(mark) = marks.iter().rev().find(|mark| mark.name == name) {
                let after = usize::try_from(mark.after).unwrap_or(usize::MAX);
                // The mark's own transaction is the last before it.
                let counted = if self.exclusive { after.saturating_sub(1) } else { after };
                return cut_behind(&segment, at, counted).map(Some);
            }
        }
        Ok(None)
    }
}

/// All of a run.
fn whole(run: &Run) -> Cut {
    let end = run.last.last.saturating_add(1);
    Cut { segments: run.names.len(), transactions: 0, last: None, end }
}

/// All of a segment and what comes before it.
fn behind(segment: &Segment, at: usize) -> Cut {
    let last = segment.sealed.iter().flat_map(|sealed| &sealed.transactions).next_back();
    let last = last.map(|last| LastCommit { xid: last.xid, lsn: last.lsn, time: last.time });
    Cut { segments: at + 1, transactions: 0, last, end: segment.clear.last }
}

/// Before the first transaction that `ends` it; absent when none does.
fn cut_where(
    segment: &Segment,
    at: usize,
    ends: impl Fn(&pgkeep_format::segment::Transaction) -> bool,
) -> Result<Option<Cut>> {
    let transactions = &segment.sealed_part()?.transactions;
    match transactions.iter().position(ends) {
        Some(number) => cut_behind(segment, at, number).map(Some),
        None => Ok(None),
    }
}

/// Behind so many transactions of a segment.
fn cut_behind(segment: &Segment, at: usize, counted: usize) -> Result<Cut> {
    let transactions = &segment.sealed_part()?.transactions;
    let last = counted.checked_sub(1).and_then(|last| transactions.get(last));
    let last = last.map(|last| LastCommit { xid: last.xid, lsn: last.lsn, time: last.time });
    Ok(match transactions.get(counted) {
        Some(next) => Cut { segments: at, transactions: counted, last, end: next.lsn },
        None => Cut { last, ..behind(segment, at) },
    })
}

/// The error for a moment that no run has.
pub(super) fn outside(target: &Target) -> Error {
    let what = match &target.moment {
        Moment::Time(_) => "that time".to_owned(),
        Moment::Lsn(lsn) => Lsn(*lsn).to_string(),
        Moment::Xid(xid) => format!("transaction {xid}"),
        Moment::Mark(name) => format!("mark \"{name}\""),
        Moment::Latest => "the end of the stream".to_owned(),
    };
    let message = format!("the change stream does not have {what}");
    Error::new(ErrorKind::NotFound, message).hint("Run: pgkeep list")
}
