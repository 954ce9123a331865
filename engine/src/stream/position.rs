//! Where a stream stands in the repository: its last segment, found by following segments
//! from the newest beginning.

use crate::repository::Repository;
use crate::{Error, ErrorKind, Result};
use pgkeep_format::id::SeriesId;
use pgkeep_format::name::SegmentName;
use pgkeep_format::segment::ClearPart;

/// The last segment of a stream; absent when the repository has none of it.
///
/// # Errors
/// What reading the store gives; [`ErrorKind::Damaged`] when the newest segments do not lead
/// back to a beginning.
pub(super) async fn last(repository: &Repository, stream: SeriesId) -> Result<Option<ClearPart>> {
    let names = repository.segment_names(Some(stream)).await?;
    // Beginnings have no length; the newest is the one whose position is greatest.
    for name in names.iter().rev().filter(|name| name.first == name.last) {
        let segment = repository.segment(*name).await?;
        if segment.clear.begins {
            let last = follow(&names, *name);
            return Ok(Some(match last == *name {
                true => segment.clear,
                false => repository.segment(last).await?.clear,
            }));
        }
    }
    if names.is_empty() {
        return Ok(None);
    }
    Err(Error::new(ErrorKind::Damaged, "change stream has segments and no beginning")
        .hint("Run: pgkeep verify"))
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
