//! Which changes are kept: streams are cut before what no kept backup needs.
//!
//! ```text
//! kept backups -> the one that changes are kept from -> newest join point before it -> cut
//! ```
//!
//! A stream can be cut where a run begins and at join points. Positions in the WAL tell which of
//! them a backup joins, not to the last transaction: so between the backup and the cut there is
//! another join point, which a day of WAL separates from it.

use super::Decision;
use crate::Result;
use crate::fold::{Chain, Run, chains, database_of_stream, name_of, short_id};
use crate::repository::{Backup, Repository};
use pgkeep_format::id::SeriesId;
use pgkeep_format::manifest::BackupKind;
use pgkeep_format::name::{ObjectName, SegmentName};
use pgkeep_format::segment::ClearPart;
use std::collections::HashSet;
use std::time::Duration;

/// What was decided of a change stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamDecision {
    /// The stream.
    pub stream: SeriesId,
    /// The database; absent without the identity.
    pub database: Option<String>,
    /// Where the stream begins, before and after.
    pub begins: [u64; 2],
    /// Segments that go.
    pub forgotten: u64,
    /// Segments that stay.
    pub kept: u64,
    /// Those of them that were to go, and that the store does not let go yet.
    pub retained: u64,
    /// Why, a few words.
    pub reason: String,
    /// What goes, in the order in which it goes.
    pub(super) names: Vec<SegmentName>,
}

/// Where a stream is cut.
struct CutAt<'a> {
    point: &'a ClearPart,
    /// The backup that joins there.
    backup: &'a Backup,
}

/// Decides of all streams; none is cut where a manifest cannot be read. Of each, the changes after
/// the oldest kept backup stay, or with `window` those after the newest that is at least so old.
///
/// # Errors
/// What reading the store gives.
pub(super) async fn decide(
    repository: &Repository,
    decisions: &[Decision],
    window: Option<Duration>,
) -> Result<Vec<StreamDecision>> {
    let chains = chains(repository).await?;
    let streams: HashSet<SeriesId> = chains.iter().map(|chain| chain.stream).collect();
    let mut decided = Vec::new();
    for chain in &chains {
        let (Some(first), Some(last)) = (chain.runs.first(), chain.runs.last()) else { continue };
        let mut decision = StreamDecision {
            stream: chain.stream,
            database: database_of(repository, last).await?,
            begins: [first.begin.last; 2],
            forgotten: 0,
            kept: 0,
            retained: 0,
            reason: String::new(),
            names: Vec::new(),
        };
        let names = repository.segment_names(Some(chain.stream)).await?;
        match cut(repository, chain, &streams, decisions, window).await? {
            Ok(cut) => {
                decision.begins[1] = cut.point.last;
                decision.names = before(&names, cut.point);
                decision.reason = match decision.names.is_empty() {
                    true => {
                        format!("is kept: backup {} needs all of it", short_id(cut.backup.clear.id))
                    }
                    false => format!("is kept from backup {} on", short_id(cut.backup.clear.id)),
                };
            }
            Err(reason) => decision.reason = reason.to_owned(),
        }
        decision.forgotten = decision.names.len() as u64;
        decision.kept = names.len() as u64 - decision.forgotten;
        decided.push(decision);
    }
    Ok(decided)
}

/// Forgets what was decided to go. Who stops in between has a stream that begins where it was cut,
/// and left what the next time finds.
///
/// # Errors
/// What the store gives.
pub(super) async fn remove_all(
    repository: &Repository,
    decisions: &mut [StreamDecision],
) -> Result<()> {
    for decision in decisions {
        for name in &decision.names {
            if !repository.remove(&ObjectName::Segment(*name)).await? {
                decision.retained += 1;
                decision.forgotten -= 1;
                decision.kept += 1;
            }
        }
    }
    Ok(())
}

/// What lies before a point; beginnings first, so that nothing seems to go on to a gap.
fn before(names: &[SegmentName], point: &ClearPart) -> Vec<SegmentName> {
    let goes = |name: &&SegmentName| name.last <= point.last && **name != name_of(point);
    let (mut begin, follow): (Vec<SegmentName>, Vec<SegmentName>) =
        names.iter().filter(goes).partition(|name| name.first == name.last);
    begin.extend(follow);
    begin
}

/// Where to cut, or why not.
async fn cut<'a>(
    repository: &Repository,
    chain: &'a Chain,
    streams: &HashSet<SeriesId>,
    decisions: &'a [Decision],
    window: Option<Duration>,
) -> Result<std::result::Result<CutAt<'a>, &'static str>> {
    let mut bases: Vec<&Backup> = Vec::new();
    for decision in decisions.iter().filter(|decision| decision.keep) {
        let Some(backup) = &decision.backup else {
            return Ok(Err("is kept: a backup cannot be read"));
        };
        if may_join(repository, backup, chain, streams)? {
            bases.push(backup);
        }
    }
    bases.sort_by_key(|backup| backup.clear.lsn);
    let Some(oldest) = bases.first() else {
        return Ok(Err("is kept: no backup joins it"));
    };
    let base = match window {
        None => oldest,
        Some(window) => {
            let Some(from) = position_before(repository, chain, window).await? else {
                return Ok(Err("is kept: it is not older"));
            };
            bases.iter().rev().find(|backup| backup.clear.lsn <= from).unwrap_or(oldest)
        }
    };
    let point = newest_point(chain, base.clear.lsn);
    Ok(point.map(|point| CutAt { point, backup: base }).ok_or("is kept: no backup joins it"))
}

/// Whether a backup may be one that restores to moments of a stream begin with. Without the
/// identity nobody can tell of which databases one of several is.
fn may_join(
    repository: &Repository,
    backup: &Backup,
    chain: &Chain,
    streams: &HashSet<SeriesId>,
) -> Result<bool> {
    let joins = chain
        .runs
        .iter()
        .any(|run| (joins_from(&run.begin)..=run.last.last).contains(&backup.clear.lsn));
    if backup.clear.kind != BackupKind::Logical || !joins {
        return Ok(false);
    }
    if backup.clear.series == chain.stream {
        return Ok(true);
    }
    let Some(sealed) = &backup.sealed else {
        return Ok(!streams.contains(&backup.clear.series));
    };
    Ok(database_of_stream(repository, sealed, chain.stream)?.is_some())
}

/// From which position on backups join.
fn joins_from(point: &ClearPart) -> u64 {
    point.joins_from.unwrap_or(point.last)
}

/// The newest point which a backup of this position joins for sure.
fn newest_point(chain: &Chain, lsn: u64) -> Option<&ClearPart> {
    let run = chain.runs.iter().rev().find(|run| joins_from(&run.begin) <= lsn)?;
    let mut points: Vec<&ClearPart> = std::iter::once(&run.begin)
        .chain(&run.join_points)
        .filter(|point| joins_from(point) <= lsn)
        .collect();
    // A stream that begins again where it ended writes a second one there: no WAL is between them.
    points.dedup_by_key(|point| point.last);
    match points.as_slice() {
        [.., before, _] => Some(before),
        only => only.last().copied(),
    }
}

/// The end of the last segment that is older than a time before the end of the stream.
async fn position_before(
    repository: &Repository,
    chain: &Chain,
    window: Duration,
) -> Result<Option<u64>> {
    let window = i64::try_from(window.as_micros()).unwrap_or(i64::MAX);
    let newest = chain.runs.last().map_or(i64::MIN, |run| run.last.known_until);
    let time = newest.saturating_sub(window);
    let Some(run) = chain.runs.iter().rev().find(|run| run.begin.known_until <= time) else {
        return Ok(None);
    };
    let later = run.first_where(repository, |clear| clear.known_until > time).await?;
    let last = later.checked_sub(1).and_then(|at| run.names.get(at));
    Ok(Some(last.map_or(run.begin.last, |name| name.last)))
}

async fn database_of(repository: &Repository, run: &Run) -> Result<Option<String>> {
    let begin = run.read_begin(repository).await?;
    Ok(begin.sealed.and_then(|sealed| sealed.begin).map(|begin| begin.database))
}
