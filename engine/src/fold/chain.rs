//! The segments of a stream in their order: runs without a gap, each from a beginning on.

use super::window::short_id;
use crate::repository::{Repository, Segment};
use crate::{Error, ErrorKind, Lsn, Result};
use pgkeep_format::id::SeriesId;
use pgkeep_format::name::SegmentName;
use pgkeep_format::segment::ClearPart;
use std::collections::BTreeMap;

/// A run of segments without a gap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Run {
    /// The segment that it begins with.
    pub(crate) begin: ClearPart,
    /// The segments that follow, in order; each begins where the one before it ends.
    pub(crate) names: Vec<SegmentName>,
    /// Where else the run could begin, in order: what is before one of them can be forgotten.
    pub(crate) join_points: Vec<ClearPart>,
    /// The last of them, or the beginning.
    pub(crate) last: ClearPart,
}

/// What can be restored of a database from its change stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Chain {
    /// The stream.
    pub(crate) stream: SeriesId,
    /// Its runs, oldest first; between them are gaps.
    pub(crate) runs: Vec<Run>,
}

/// Which stream of a repository is meant.
#[derive(Debug, Clone, Default)]
pub struct Named {
    /// The database; needed only where the repository has streams of several.
    pub database: Option<String>,
    /// The first digits of the stream's id; needed only where databases of several servers have
    /// the same name.
    pub stream: Option<String>,
}

impl Chain {
    /// The stream that is meant.
    ///
    /// # Errors
    /// As [`Chain::all_of`]; [`ErrorKind::Usage`] when several are.
    pub(crate) async fn the_one(repository: &Repository, named: &Named) -> Result<Self> {
        let mut chains = Self::all_of(repository, named).await?;
        match (chains.pop(), chains.len()) {
            (Some(chain), 0) => Ok(chain),
            (last, _) => {
                chains.extend(last);
                Err(several(&chains))
            }
        }
    }

    /// The streams of a database, the one that was written last at the end: several where servers
    /// have databases of the same name.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when there is none; [`ErrorKind::Usage`] when there are streams of
    /// several databases and none was named; what reading the store gives.
    pub(crate) async fn all_of(repository: &Repository, named: &Named) -> Result<Vec<Self>> {
        let mut by_name: BTreeMap<String, Vec<Self>> = BTreeMap::new();
        for chain in chains(repository).await? {
            let id = chain.stream.to_string();
            let is_meant = named.stream.as_ref().is_none_or(|digits| id.starts_with(digits));
            let Some(run) = chain.runs.last().filter(|_| is_meant) else { continue };
            let begin = run.read_begin(repository).await?;
            let name = begin.sealed_part()?.begin.as_ref().map(|begin| begin.database.clone());
            by_name.entry(name.unwrap_or_default()).or_default().push(chain);
        }
        let names = by_name.keys().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ");
        let mut chains = match (&named.database, by_name.len()) {
            (_, 0) => {
                let message = "repository has no change stream";
                let error = Error::new(ErrorKind::NotFound, message);
                return Err(match &named.stream {
                    Some(digits) => Error::new(
                        ErrorKind::NotFound,
                        format!("repository has no change stream whose id begins with {digits}"),
                    )
                    .hint("Run: pgkeep list"),
                    None => error.hint("Run: pgkeep setup"),
                });
            }
            (None, 1) => by_name.into_values().next().unwrap_or_default(),
            (None, count) => {
                let message = format!("repository has change streams of {count} databases");
                return Err(Error::new(ErrorKind::Usage, message)
                    .hint("Name one: --database NAME")
                    .hint(format!("It has {names}.")));
            }
            (Some(name), _) => by_name.remove(name).ok_or_else(|| {
                let message = format!("repository has no change stream of database \"{name}\"");
                Error::new(ErrorKind::NotFound, message).hint(format!("It has {names}."))
            })?,
        };
        chains.sort_by_key(|chain| chain.runs.last().map(|run| run.last.written_at));
        Ok(chains)
    }
}

/// The error where one of these streams has to be named.
pub(super) fn several<'a>(chains: impl IntoIterator<Item = &'a Chain>) -> Error {
    let message = "several change streams are of a database of that name, of different servers";
    let error = Error::new(ErrorKind::Usage, message).hint("Name one: --stream ID");
    chains.into_iter().fold(error, |error, chain| {
        let (begins, ends) = match (chain.runs.first(), chain.runs.last()) {
            (Some(first), Some(last)) => (first.begin.last, last.last.last),
            _ => (0, 0),
        };
        let id = short_id(chain.stream);
        error.hint(format!("Stream {id} goes from {} to {}.", Lsn(begins), Lsn(ends)))
    })
}

/// The name of a segment.
pub(crate) fn name_of(clear: &ClearPart) -> SegmentName {
    SegmentName { stream: clear.stream, first: clear.first, last: clear.last, id: clear.id }
}

/// All streams of a repository.
///
/// # Errors
/// What reading the store gives.
pub(crate) async fn chains(repository: &Repository) -> Result<Vec<Chain>> {
    let names = repository.segment_names(None).await?;
    let mut chains = Vec::new();
    for of_stream in names.chunk_by(|one, next| one.stream == next.stream) {
        chains.push(chain(repository, of_stream[0].stream, of_stream).await?);
    }
    Ok(chains)
}

/// The runs of one stream.
///
/// # Errors
/// What reading the store gives.
pub(super) async fn chain(
    repository: &Repository,
    stream: SeriesId,
    names: &[SegmentName],
) -> Result<Chain> {
    let mut begins = Vec::new();
    for name in names.iter().filter(|name| name.first == name.last) {
        let clear = repository.segment(*name).await?.clear;
        if clear.begins {
            begins.push(clear);
        }
    }
    // A join point where a run begins is of that run, whichever of their ids is the smaller.
    begins.sort_by_key(|begin| (begin.last, begin.joins_from.is_some()));
    let mut runs: Vec<Run> = Vec::new();
    for begin in begins {
        if begin.joins_from.is_some()
            && let Some(run) = runs.iter_mut().find(|run| run.spans(begin.last))
        {
            // One that the run does not pass through is of a writer that was cut off.
            if run.passes(begin.last) {
                run.join_points.push(begin);
            }
            continue;
        }
        let followers = follow(names, begin.last);
        let last = match followers.last() {
            Some(last) => repository.segment(*last).await?.clear,
            None => begin.clone(),
        };
        runs.push(Run { begin, names: followers, join_points: Vec::new(), last });
    }
    Ok(Chain { stream, runs })
}

/// Segments that follow one another from a position on. Names are sorted by where they begin,
/// then where they end; of two that begin together, the one that ends first is taken, if
/// another begins where it ends or there is none longer that goes on.
fn follow(names: &[SegmentName], from: u64) -> Vec<SegmentName> {
    let mut followers: Vec<SegmentName> = Vec::new();
    let mut at = from;
    loop {
        let first = names.partition_point(|name| name.first < at);
        let begin_here = names[first..].iter().take_while(|name| name.first == at);
        let next = begin_here.filter(|name| name.last > at);
        // A writer that was cut off may have left a segment that another one repeats in part.
        let goes_on = |name: &&SegmentName| {
            names.binary_search_by(|other| other.first.cmp(&name.last)).is_ok()
        };
        let candidates: Vec<&SegmentName> = next.collect();
        let taken = candidates.iter().copied().find(goes_on).or(candidates.last().copied());
        let Some(taken) = taken else { return followers };
        followers.push(*taken);
        at = taken.last;
    }
}

impl Run {
    /// Whether a position is not outside of it.
    fn spans(&self, position: u64) -> bool {
        (self.begin.last..=self.last.last).contains(&position)
    }

    /// Whether one of its segments ends at a position.
    fn passes(&self, position: u64) -> bool {
        position == self.begin.last
            || self.names.binary_search_by_key(&position, |name| name.last).is_ok()
    }

    /// Reads the segment that it begins with.
    ///
    /// # Errors
    /// As [`Repository::segment`].
    pub(crate) async fn read_begin(&self, repository: &Repository) -> Result<Segment> {
        repository.segment(name_of(&self.begin)).await
    }

    /// Reads one of its segments.
    ///
    /// # Errors
    /// As [`Repository::segment`].
    pub(crate) async fn read(&self, repository: &Repository, at: usize) -> Result<Segment> {
        let name = self
            .names
            .get(at)
            .ok_or_else(|| Error::new(ErrorKind::Internal, "run has no such segment"))?;
        repository.segment(*name).await
    }

    /// The first segment of which `holds` says yes, where it says yes of all that follow too.
    pub(crate) async fn first_where(
        &self,
        repository: &Repository,
        holds: impl Fn(&ClearPart) -> bool,
    ) -> Result<usize> {
        let (mut low, mut high) = (0, self.names.len());
        while low < high {
            let middle = low + (high - low) / 2;
            if holds(&self.read(repository, middle).await?.clear) {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        Ok(low)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pgkeep_format::id::ObjectId;

    #[test]
    fn segments_follow_one_another_up_to_a_gap() {
        let name = |first, last, id| SegmentName {
            stream: SeriesId([1; 16]),
            first,
            last,
            id: ObjectId([id; 16]),
        };
        let names = [
            name(1, 1, 0),
            name(1, 5, 1),
            name(1, 7, 2),
            name(5, 9, 3),
            name(9, 12, 4),
            name(13, 15, 5),
        ];
        assert_eq!(follow(&names, 1), [names[1], names[3], names[4]]);
        assert_eq!(follow(&names[..3], 1), [names[2]]);
        assert_eq!(follow(&names, 12), []);
    }
}
