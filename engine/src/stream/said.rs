//! What segments say only where it has changed: where sequences stand, and which tables are not
//! published.

use super::watch::Sample;
use pgkeep_format::segment::{SealedPart, SequenceState};

/// Of so many segments one says it even if it has not changed: who looks for it reads no more.
const SEGMENTS: u32 = 64;

/// What the segments so far have said.
#[derive(Debug, Default)]
pub(super) struct Said {
    sequences: Option<Vec<SequenceState>>,
    unpublished: Option<Vec<u32>>,
    /// Segments since all was said.
    since: u32,
}

impl Said {
    /// Has the next segment say what a sample has that was not said.
    pub(super) fn say(&mut self, sample: &Sample, sealed: &mut SealedPart) {
        self.since += 1;
        if self.since >= SEGMENTS {
            self.forget();
        }
        if self.sequences.as_ref() != Some(&sample.sequences) {
            sealed.sequences = Some(sample.sequences.clone());
            self.sequences.clone_from(&sealed.sequences);
        }
        if self.unpublished.as_ref() != Some(&sample.unpublished) {
            sealed.unpublished = Some(sample.unpublished.clone());
            self.unpublished.clone_from(&sealed.unpublished);
        }
    }

    /// Has the next segment say all.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Lsn;

    #[test]
    fn segments_say_what_has_changed_and_once_in_a_while_all() {
        let mut sample = Sample {
            written: Lsn(1),
            time: 1,
            sequences: Vec::new(),
            unpublished: vec![7],
            rewritten: Vec::new(),
            slot: None,
        };
        let mut said = Said::default();
        let mut say = |sample: &Sample| {
            let mut sealed = SealedPart::default();
            said.say(sample, &mut sealed);
            (sealed.sequences.is_some(), sealed.unpublished)
        };
        assert_eq!(say(&sample), (true, Some(vec![7])));
        assert_eq!(say(&sample), (false, None));
        sample.unpublished = Vec::new();
        assert_eq!(say(&sample), (false, Some(Vec::new())));
        let next = (4..).find(|_| say(&sample).0);
        assert_eq!(next, Some(u64::from(SEGMENTS)));
    }
}
