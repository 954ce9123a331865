//! Where a stream stands in the repository: its last segment, found by following segments
//! from the newest beginning.

use crate::repository::Repository;
use crate::{Error, ErrorKind, Result};
use pgkeep_format::id::SeriesId;
use pgkeep_format::name::SegmentName;
use pgkeep_format::segment::ClearPart;

/// Where a stream stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Position {
    /// When the newest beginning or join point was written: microseconds since 1970 UTC by the
    /// server's clock.
    pub(super) begun_at: i64,
    /// The last segment.
    pub(super) last: ClearPart,
}

/// Where a stream stands; absent when the repository has none of it.
///
/// # Errors
/// What reading the store gives; [`ErrorKind::Damaged`] when the newest segments do not lead
/// back to a beginning.
pub(super) async fn last(repository: &Repository, stream: SeriesId) -> Result<Option<Position>> {
    let names = repository.segment_names(Some(stream)).await?;
    let mut found: Option<(SegmentName, ClearPart)> = None;
    // Beginnings have no length; the newest is the one whose position is greatest.
    for name in names.iter().rev().filter(|name| name.first == name.last) {
        let begin = repository.segment(*name).await?.clear;
        if !begin.begins {
            continue;
        }
        let last = follow(&names, *name);
        let is_join_point = begin.joins_from.is_some();
        if found.as_ref().is_none_or(|(before, _)| before.last < last.last) {
            found = Some((last, begin));
        }
        // Of a join point that nothing follows nobody knows whether the stream went through it.
        if !is_join_point || last != *name {
            break;
        }
    }
    let Some((last, begin)) = found else {
        if names.is_empty() {
            return Ok(None);
        }
        return Err(Error::new(ErrorKind::Damaged, "change stream has segments and no beginning")
            .hint("Run: pgkeep verify"));
    };
    let begun_at = begin.known_until;
    let last = match last.first == last.last {
        true => begin,
        false => repository.segment(last).await?.clear,
    };
    Ok(Some(Position { begun_at, last }))
}

/// The last of the segments that follow `from` without a gap.
fn follow(names: &[SegmentName], from: SegmentName) -> SegmentName {
    let mut last = from;
    // Names are sorted by where they begin, then where they end.
    for name in names {
        if name.first == last.last && name.last > last.last {
            last = *name;
        }
    }
    last
}

#[cfg(test)]
mod tests {
    use super::*;
    use pgkeep_format::id::ObjectId;

    #[test]
    fn the_last_segment_is_the_one_before_a_gap() {
        let name = |first, last| SegmentName {
            stream: SeriesId([1; 16]),
            first,
            last,
            id: ObjectId([2; 16]),
        };
        let names = [name(1, 1), name(1, 5), name(1, 7), name(5, 9), name(10, 12)];
        assert_eq!(follow(&names, names[0]), name(5, 9));
        assert_eq!(follow(&names[..1], names[0]), names[0]);
    }
}
