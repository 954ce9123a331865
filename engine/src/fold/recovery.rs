//! A backup with the changes that lead from it to a moment.

use super::chain::{Chain, Named, Run, several};
use super::definitions::Definitions;
use super::mapping::Missing;
use super::target::{Cut, Moment, Target, outside};
use super::window::windows_of;
use crate::catalog::capture::Layout;
use crate::catalog::{Selection, read_from_image};
use crate::postgres::Visible;
use crate::repository::{Backup, Repository, Segment};
use crate::seal::series_id;
use crate::{Error, ErrorKind, Result};
use futures_util::{StreamExt, stream};
use pgkeep_format::entry::Entry;
use pgkeep_format::id::SeriesId;
use pgkeep_format::manifest::{self, BackupKind, Database};
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
    /// Which stream.
    pub named: Named,
    /// The moment.
    pub target: Target,
    /// Bytes that folding one table may take.
    pub memory: usize,
}

/// A backup with the changes that lead from it to a moment.
#[derive(Debug, Clone)]
pub struct Recovery {
    pub(super) repository: Repository,
    pub(super) segments: Arc<Vec<UsedSegment>>,
    pub(super) memory: usize,
    cut: Cut,
    sampled: Arc<Sampled>,
    definitions: Option<Arc<Definitions>>,
    /// Tables whose rows are not known.
    unknown: HashSet<u32>,
    copies: Vec<TableCopy>,
    encoding: String,
    until: i64,
}

/// Tables whose rows are not known from a backup on, with a copy of them that was taken later.
#[derive(Debug, Clone)]
pub struct TableCopy {
    /// The copy.
    pub backup: Backup,
    /// The tables.
    pub tables: HashSet<u32>,
    /// The changes that lead from it to the moment.
    pub recovery: Arc<Recovery>,
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
    let chains = Chain::all_of(repository, &wanted.named).await?;
    let Found { chain, run, cut } = find(repository, &chains, wanted).await?;
    let bases = bases(repository, chain).await?;
    let begin = run.read_begin(repository).await?;
    let begin_part = begin.sealed_part()?.begin.as_ref().ok_or_else(|| {
        Error::new(ErrorKind::Damaged, "segment that begins a stream does not say how")
    })?;
    let begins = Visible::parse(&begin_part.snapshot)?;
    let leads = |base: &&Base| base.database.lsn <= cut.end && base.joins(run, &begins);
    let named = |base: &&Base| match &wanted.backup {
        Some(backup) => base.is(backup),
        None => base.copied.is_none(),
    };
    // The newest that has nothing which committed after the moment; one of everything, if there is.
    let candidates: Vec<&Base> = bases.iter().rev().filter(leads).collect();
    let chosen = candidates.iter().copied().filter(named);
    if let Some(base) = chosen.clone().find(|base| base.is_whole).or(chosen.clone().next()) {
        let from = first_used(repository, run, base).await?;
        let (segments, sampled) = used(repository, run, &cut, from, &base.seen).await?;
        let definitions = Definitions::at(repository, run, &cut, from).await?.map(Arc::new);
        let unknown = definitions.as_ref().map(|it| it.unknown(&base.seen)).unwrap_or_default();
        let mut recovery = Recovery {
            repository: repository.clone(),
            segments: Arc::new(segments),
            memory: wanted.memory,
            cut,
            sampled: Arc::new(sampled),
            definitions,
            unknown,
            copies: Vec::new(),
            encoding: begin_part.encoding.clone(),
            until: match wanted.target.moment {
                Moment::Time(time) => time,
                _ => cut.last.map_or(run.last.known_until, |last| last.time),
            },
        };
        recovery.copies = recovery.find_copies(run, &candidates).await?;
        return Ok((base.backup.clone(), recovery));
    }
    let message = "no backup leads to that moment: none was taken before it and after the \
                   stream began";
    let windows = windows_of(repository, chain, &bases).await?;
    let error = Error::new(ErrorKind::NotFound, message).hint("Take one now: pgkeep backup");
    Err(windows.iter().fold(error, |error, window| error.hint(window.sentence())))
}

/// Where a moment is.
struct Found<'a> {
    chain: &'a Chain,
    run: &'a Run,
    cut: Cut,
}

/// Finds the moment in the only stream that has it; the end of all of them is that of the one
/// which was written last.
async fn find<'a>(
    repository: &Repository,
    chains: &'a [Chain],
    wanted: &Wanted,
) -> Result<Found<'a>> {
    let mut found: Vec<Found<'a>> = Vec::new();
    for chain in chains.iter().rev() {
        if let Some(backup) = &wanted.backup
            && !bases(repository, chain).await?.iter().any(|base| base.is(backup))
        {
            continue;
        }
        for run in chain.runs.iter().rev() {
            if let Some(cut) = wanted.target.find(repository, run).await? {
                found.push(Found { chain, run, cut });
                break;
            }
        }
        if wanted.target.moment == Moment::Latest && !found.is_empty() {
            break;
        }
    }
    if found.len() > 1 {
        return Err(several(found.iter().map(|found| found.chain)));
    }
    if let Some(found) = found.pop() {
        return Ok(found);
    }
    let mut error = outside(&wanted.target);
    for chain in chains {
        let bases = bases(repository, chain).await?;
        for window in windows_of(repository, chain, &bases).await? {
            error = error.hint(window.sentence());
        }
    }
    Err(error)
}

/// A backup of the stream's database.
#[derive(Debug)]
pub(super) struct Base {
    pub(super) backup: Backup,
    pub(super) database: Database,
    pub(super) seen: Seen,
    /// Whether it has all of the database.
    is_whole: bool,
    /// The tables that it is a copy of; it is no base for others.
    pub(super) copied: Option<HashSet<u32>>,
}

/// Backups of the stream's database, by their consistent points.
pub(super) async fn bases(repository: &Repository, chain: &Chain) -> Result<Vec<Base>> {
    let mut bases = Vec::new();
    for backup in repository.backups().await?.good {
        let sealed = backup.sealed_part()?;
        let database = database_of_stream(repository, sealed, chain.stream)?;
        let Some(database) = database.cloned() else { continue };
        let is_whole = sealed.selection.is_empty();
        let copied = (backup.clear.kind == BackupKind::Copy)
            .then(|| sealed.copied_tables.iter().flatten().copied().collect());
        let seen = Seen::of(&database)?;
        bases.push(Base { database, seen, is_whole, copied, backup });
    }
    bases.sort_by_key(|base| base.database.lsn);
    Ok(bases)
}

/// The database of a backup that a stream is of; absent when it has none.
///
/// # Errors
/// As [`Repository::secrets`].
pub(crate) fn database_of_stream<'a>(
    repository: &Repository,
    sealed: &'a manifest::SealedPart,
    stream: SeriesId,
) -> Result<Option<&'a Database>> {
    let secrets = repository.secrets()?;
    let is_it = |database: &&Database| {
        series_id(secrets, sealed.system_identifier, &database.name) == stream
    };
    Ok(sealed.databases.iter().find(is_it))
}

impl Base {
    fn is(&self, backup: &Backup) -> bool {
        self.backup.clear.id == backup.clear.id
    }

    /// Whether every transaction that it lacks is in the run, which `begins` so.
    pub(super) fn joins(&self, run: &Run, begins: &Visible) -> bool {
        let lsn = self.database.lsn;
        let joins_from = run.begin.joins_from.unwrap_or(run.begin.last);
        let within = lsn >= joins_from && lsn <= run.last.last;
        within
            && match &self.seen {
                Seen::Snapshot(visible) => visible.sees_all_of(begins),
                Seen::Replayed(lsn) => *lsn >= run.begin.last,
            }
    }
}

/// What was sampled beside the changes, as it stood last.
#[derive(Debug, Default)]
struct Sampled {
    /// All of them.
    sequences: Option<Vec<SequenceState>>,
    unpublished: Option<HashSet<u32>>,
}

/// The first segment that may have something which the base does not.
async fn first_used(repository: &Repository, run: &Run, base: &Base) -> Result<usize> {
    let mut from = run.names.partition_point(|name| name.last <= base.database.lsn);
    if let Seen::Snapshot(visible) = &base.seen {
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
    /// The newest copies that know the rows of tables which this does not; `candidates` are the
    /// newest first.
    async fn find_copies(&self, run: &Run, candidates: &[&Base]) -> Result<Vec<TableCopy>> {
        let mut copies = Vec::new();
        let Some(definitions) = &self.definitions else { return Ok(copies) };
        let mut lacking = self.unknown.clone();
        for base in candidates {
            let Some(copied) = &base.copied else { continue };
            let unknown = definitions.unknown(&base.seen);
            let knows = |table: &&u32| copied.contains(table) && !unknown.contains(table);
            let tables: HashSet<u32> = lacking.iter().filter(knows).copied().collect();
            if tables.is_empty() {
                continue;
            }
            lacking.retain(|table| !tables.contains(table));
            let from = first_used(&self.repository, run, base).await?;
            let (segments, _) = used(&self.repository, run, &self.cut, from, &base.seen).await?;
            let segments = Arc::new(segments);
            let recovery = Arc::new(Self { segments, unknown, ..self.clone() });
            copies.push(TableCopy { backup: base.backup.clone(), tables, recovery });
        }
        Ok(copies)
    }

    /// Copies that know the rows of tables which the backup does not.
    #[must_use]
    pub fn copies(&self) -> &[TableCopy] {
        &self.copies
    }

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
        self.unknown.contains(&table)
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
