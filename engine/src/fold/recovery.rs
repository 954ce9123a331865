//! A backup with the changes that lead from it to a moment.

use super::chain::{Chain, Run, name_of};
use super::definitions::Definitions;
use super::mapping::Missing;
use super::target::{Cut, Moment, Target, outside};
use super::visible::Visible;
use super::window::windows_of;
use crate::catalog::capture::Layout;
use crate::catalog::{Selection, read_from_image};
use crate::repository::{Backup, Repository, Segment};
use crate::seal::series_id;
use crate::{Error, ErrorKind, Result};
use futures_util::{StreamExt, stream};
use pgkeep_format::entry::Entry;
use pgkeep_format::manifest::Database;
use pgkeep_format::segment::{
    self, ClearPart, DEFINITIONS, RelationVersion, SealedPart, SequenceState,
};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// Segments that are read at the same time.
const SEGMENTS_AT_ONCE: usize = 16;

/// What to look for.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Which backup to begin with; absent for the newest before the moment.
    pub backup: Option<Backup>,
    /// Which database; needed only where the repository has streams of several.
    pub database: Option<String>,
    /// The moment.
    pub target: Target,
    /// Bytes that folding one table may take.
    pub memory: usize,
}

/// A backup with the changes that lead from it to a moment.
#[derive(Debug)]
pub struct Recovery {
    pub(super) repository: Repository,
    pub(super) segments: Vec<UsedSegment>,
    pub(super) memory: usize,
    cut: Cut,
    sampled: Sampled,
    definitions: Option<Definitions>,
    encoding: String,
    until: i64,
}

/// A segment, reduced to what a fold needs.
#[derive(Debug)]
pub(super) struct UsedSegment {
    /// Its position in the run.
    pub(super) index: usize,
    pub(super) clear: ClearPart,
    pub(super) runs: Vec<(Arc<RelationVersion>, segment::Run)>,
    pub(super) counts: Counts,
}

/// Which changes of a segment count.
#[derive(Debug)]
pub(crate) enum Counts {
    /// Those of transactions before a position, but for some that the backup has.
    Transactions { before: u32, in_backup: HashSet<u32> },
    /// All but those of some subtransactions.
    AllBut(Vec<u32>),
}

impl Counts {
    /// The changes of the first transactions of a segment, but for those that the backup `has`.
    pub(crate) fn of(
        sealed: &SealedPart,
        before: usize,
        has: impl Fn(&segment::Transaction) -> bool,
    ) -> Self {
        // Positions are u32 in changes; a segment has fewer transactions.
        let position = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        if let Some(mut rolled_back) = sealed.rolled_back.clone() {
            let counts = sealed.transactions.iter().take(before).any(|one| !has(one));
            rolled_back.sort_unstable();
            return match counts {
                true => Self::AllBut(rolled_back),
                false => Self::Transactions { before: 0, in_backup: HashSet::new() },
            };
        }
        let counted = sealed.transactions.iter().enumerate().take(before);
        let in_backup = counted.filter(|(_, one)| has(one)).map(|(at, _)| position(at)).collect();
        Self::Transactions { before: position(before), in_backup }
    }

    pub(super) fn takes(&self, member: u32) -> bool {
        match self {
            Self::Transactions { before, in_backup } => {
                member < *before && !in_backup.contains(&member)
            }
            Self::AllBut(rolled_back) => rolled_back.binary_search(&member).is_err(),
        }
    }
}

/// What a backup saw of its database.
#[derive(Debug)]
pub(super) enum Seen {
    Snapshot(Visible),
    /// All that committed up to here.
    Replayed(u64),
}

impl Seen {
    fn of(database: &Database) -> Result<Self> {
        match database.replayed {
            Some(lsn) => Ok(Self::Replayed(lsn)),
            None => Visible::parse(&database.snapshot).map(Self::Snapshot),
        }
    }

    pub(super) fn has(&self, transaction: &segment::Transaction) -> bool {
        match self {
            Self::Snapshot(visible) => visible.sees(transaction.xid),
            Self::Replayed(lsn) => transaction.end <= *lsn,
        }
    }
}

/// Finds the backup and the changes that lead to a moment.
///
/// # Errors
/// [`ErrorKind::NotFound`] when the repository has no such moment, naming those that it has;
/// [`ErrorKind::Usage`] when it has several databases and none was named; what reading gives.
pub async fn recover(repository: &Repository, wanted: &Wanted) -> Result<(Backup, Recovery)> {
    let chain = Chain::choose(repository, wanted.database.as_deref()).await?;
    let mut found = None;
    for run in chain.runs.iter().rev() {
        if let Some(cut) = wanted.target.find(repository, run).await? {
            found = Some((run, cut));
            break;
        }
    }
    let bases = bases(repository, &chain, wanted.backup.as_ref()).await?;
    let Some((run, cut)) = found else {
        let windows = windows_of(repository, &chain, &bases).await?;
        return Err(windows
            .iter()
            .fold(outside(&wanted.target), |error, window| error.hint(window.sentence())));
    };
    let begin = repository.segment(name_of(&run.begin)).await?;
    let begin_part = begin.sealed_part()?.begin.as_ref().ok_or_else(|| {
        Error::new(ErrorKind::Damaged, "segment that begins a stream does not say how")
    })?;
    let begins = Visible::parse(&begin_part.snapshot)?;
    // The newest backup that has nothing which committed after the moment.
    for (backup, database) in bases.iter().rev() {
        if database.lsn > cut.end || !joins(database, run, &begins)? {
            continue;
        }
        let seen = Seen::of(database)?;
        let from = first_used(repository, run, database.lsn, &seen).await?;
        let definitions = Definitions::at(repository, run, &cut, &seen, from).await?;
        let (segments, sampled) = used(repository, run, &cut, from, &seen).await?;
        let recovery = Recovery {
            repository: repository.clone(),
            segments,
            memory: wanted.memory,
            cut,
            sampled,
            definitions,
            encoding: begin_part.encoding.clone(),
            until: match wanted.target.moment {
                Moment::Time(time) => time,
                _ => cut.last.map_or(run.last.known_until, |last| last.time),
            },
        };
        return Ok((backup.clone(), recovery));
    }
    let message = "no backup leads to that moment: none was taken before it and after the \
                   stream began";
    let windows = windows_of(repository, &chain, &bases).await?;
    let error = Error::new(ErrorKind::NotFound, message).hint("Take one now: pgkeep backup");
    Err(windows.iter().fold(error, |error, window| error.hint(window.sentence())))
}

/// Backups of the stream's database, by their consistent points.
pub(super) async fn bases(
    repository: &Repository,
    chain: &Chain,
    only: Option<&Backup>,
) -> Result<Vec<(Backup, Database)>> {
    let backups = match only {
        Some(backup) => vec![backup.clone()],
        None => repository.backups().await?.good,
    };
    let secrets = repository.secrets()?;
    let mut bases = Vec::new();
    for backup in backups {
        let sealed = backup.sealed_part()?;
        let database = sealed.databases.iter().find(|database| {
            series_id(secrets, sealed.system_identifier, &database.name) == chain.stream
        });
        if let Some(database) = database.cloned() {
            bases.push((backup, database));
        }
    }
    bases.sort_by_key(|(_, database)| database.lsn);
    Ok(bases)
}

/// Whether every transaction that the backup lacks is in the run.
pub(super) fn joins(database: &Database, run: &Run, begins: &Visible) -> Result<bool> {
    let within = database.lsn >= run.begin.last && database.lsn <= run.last.last;
    Ok(within
        && match Seen::of(database)? {
            Seen::Snapshot(visible) => visible.sees_all_of(begins),
            Seen::Replayed(lsn) => lsn >= run.begin.last,
        })
}

/// What was sampled beside the changes, as it stood last.
#[derive(Debug, Default)]
struct Sampled {
    /// All of them.
    sequences: Option<Vec<SequenceState>>,
    unpublished: Option<HashSet<u32>>,
}

/// The first segment that may have something which was not `seen`.
async fn first_used(repository: &Repository, run: &Run, lsn: u64, seen: &Seen) -> Result<usize> {
    let mut from = run.names.partition_point(|name| name.last <= lsn);
    if let Seen::Snapshot(visible) = seen {
        // A commit may be in the WAL a while before others see it.
        while from > 0
            && run.read(repository, from - 1).await?.clear.greatest_xid >= visible.least_running()
        {
            from -= 1;
        }
    }
    Ok(from)
}

/// The segments that lead from what was `seen` to the cut.
async fn used(
    repository: &Repository,
    run: &Run,
    cut: &Cut,
    from: usize,
    seen: &Seen,
) -> Result<(Vec<UsedSegment>, Sampled)> {
    let to = cut.segments + usize::from(cut.transactions > 0);
    let reads: Vec<_> = (from..to.max(from)).map(|at| run.read(repository, at)).collect();
    let mut reads = stream::iter(reads).buffered(SEGMENTS_AT_ONCE).enumerate();
    let (mut segments, mut sampled) = (Vec::new(), Sampled::default());
    let mut versions = Versions::default();
    while let Some((number, segment)) = reads.next().await {
        let segment = segment?;
        let before = if from + number == cut.segments { cut.transactions } else { usize::MAX };
        segments.extend(reduce(segment, from + number, before, seen, &mut sampled, &mut versions)?);
    }
    // What is not told is what was told before, and that may be before what the backup lacks.
    let mut at = if to > from { from } else { 0 };
    while at > 0 && (sampled.sequences.is_none() || sampled.unpublished.is_none()) {
        at -= 1;
        let segment = run.read(repository, at).await?;
        let sealed = segment.sealed_part()?;
        sampled.sequences = sampled.sequences.or_else(|| sealed.sequences.clone());
        sampled.unpublished = sampled.unpublished.or_else(|| unpublished(sealed));
    }
    Ok((segments, sampled))
}

fn unpublished(sealed: &SealedPart) -> Option<HashSet<u32>> {
    sealed.unpublished.as_ref().map(|tables| tables.iter().copied().collect())
}

/// Keeps one of the many equal versions that segments repeat.
#[derive(Default)]
struct Versions(HashMap<u32, Arc<RelationVersion>>);

impl Versions {
    fn shared(&mut self, version: RelationVersion) -> Arc<RelationVersion> {
        match self.0.get(&version.oid) {
            Some(known) if **known == version => known.clone(),
            _ => {
                let version = Arc::new(version);
                self.0.insert(version.oid, version.clone());
                version
            }
        }
    }
}

/// What a fold needs of a segment; absent when none of its changes counts.
fn reduce(
    segment: Segment,
    index: usize,
    before: usize,
    seen: &Seen,
    sampled: &mut Sampled,
    versions: &mut Versions,
) -> Result<Option<UsedSegment>> {
    segment.sealed_part()?;
    let (clear, Some(sealed)) = (segment.clear, segment.sealed) else { return Ok(None) };
    if let Some(sequences) = &sealed.sequences {
        sampled.sequences = Some(sequences.clone());
    }
    if let Some(tables) = unpublished(&sealed) {
        sampled.unpublished = Some(tables);
    }
    if sealed.transactions.iter().take(before).all(|transaction| seen.has(transaction)) {
        return Ok(None);
    }
    let counts = Counts::of(&sealed, before, |transaction| seen.has(transaction));
    let shared: Vec<_> =
        sealed.relations.into_iter().map(|version| versions.shared(version)).collect();
    // The format's rules keep positions of relations within the list.
    let runs = sealed
        .runs
        .into_iter()
        .filter_map(|run| Some((shared.get(run.relation as usize)?.clone(), run)));
    Ok(Some(UsedSegment { index, clear, runs: runs.collect(), counts }))
}

impl Recovery {
    /// Segments that have changes which count.
    #[must_use]
    pub fn segments(&self) -> usize {
        self.segments.len()
    }

    /// The last transaction that counts, where it is known.
    #[must_use]
    pub fn last(&self) -> Option<super::LastCommit> {
        self.cut.last
    }

    /// The moment that is restored, microseconds since 1970 UTC.
    #[must_use]
    pub fn until(&self) -> i64 {
        self.until
    }

    /// The encoding of all values.
    #[must_use]
    pub fn encoding(&self) -> &str {
        &self.encoding
    }

    /// Where sequences stand at the moment or soon after; absent where the backup's own values
    /// are the best that is known.
    #[must_use]
    pub fn sequences(&self) -> Option<&[SequenceState]> {
        self.sampled.sequences.as_deref()
    }

    /// The definitions of the moment, as entries of a backup; absent where the stream does not
    /// have them.
    ///
    /// # Errors
    /// As [`read_from_image`].
    pub async fn entries(&self) -> Result<Option<Vec<Entry>>> {
        let Some(definitions) = &self.definitions else { return Ok(None) };
        let states = self.sampled.sequences.iter().flatten();
        let states = states.map(|state| (state.oid, (state.last_value, state.is_called)));
        let selection = Selection::default();
        let catalog = read_from_image(&definitions.image, &selection, states.collect()).await?;
        Ok(Some(catalog.entries))
    }

    /// What the user should look at of the definitions, a sentence each.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        self.definitions.as_ref().map_or(&[], |definitions| &definitions.warnings)
    }

    /// Whether a command rewrote or filled a table after the backup, and the rows that it then
    /// had were too many for the stream.
    #[must_use]
    pub fn is_unknown(&self, table: u32) -> bool {
        self.definitions.as_ref().is_some_and(|definitions| definitions.is_unknown(table))
    }

    /// The columns that a table had when a segment began, where something changed them before.
    pub(super) fn layout(&self, table: u32, segment: usize) -> Option<&Layout> {
        self.definitions.as_ref().and_then(|definitions| definitions.layout(table, segment))
    }

    /// Values of columns that came after a table's oldest rows.
    pub(super) fn missing(&self, table: u32) -> Option<&Missing> {
        self.definitions.as_ref().and_then(|definitions| definitions.missing(table))
    }

    /// Whether the changes of a table were not in the stream: it is as the backup has it.
    #[must_use]
    pub fn is_unpublished(&self, table: u32) -> bool {
        self.sampled.unpublished.as_ref().is_some_and(|tables| tables.contains(&table))
    }

    /// Tables with changes that count: OID and what they were last called.
    #[must_use]
    pub fn tables(&self) -> HashMap<u32, Arc<RelationVersion>> {
        let runs = self.segments.iter().flat_map(|segment| &segment.runs);
        let runs = runs.filter(|(version, _)| version.oid != DEFINITIONS);
        runs.map(|(version, _)| (version.oid, version.clone())).collect()
    }
}
