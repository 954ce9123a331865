//! What a snapshot sees: `pg_current_snapshot()` as text, `xmin:xmax:xip,xip`.
//! <https://www.postgresql.org/docs/current/functions-info.html#FUNCTIONS-PG-SNAPSHOT>

use crate::{Error, ErrorKind, Result};

/// The transactions that a snapshot sees as ended.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Visible {
    /// All before this had ended.
    xmin: u64,
    /// All from this on had not.
    xmax: u64,
    /// Those between that had not, ascending.
    running: Vec<u64>,
}

impl Visible {
    /// Reads the text.
    ///
    /// # Errors
    /// [`ErrorKind::Damaged`] when it is none.
    pub fn parse(text: &str) -> Result<Self> {
        let damaged = || Error::new(ErrorKind::Damaged, format!("\"{text:.100}\" is no snapshot"));
        let mut parts = text.split(':');
        let mut number = || parts.next().and_then(|part| part.parse().ok()).ok_or_else(damaged);
        let (xmin, xmax) = (number()?, number()?);
        let list = parts.next().ok_or_else(damaged)?;
        let running = list.split(',').filter(|part| !part.is_empty());
        let running = running.map(|part| part.parse().map_err(|_| damaged()));
        let mut running = running.collect::<Result<Vec<u64>>>()?;
        running.sort_unstable();
        if parts.next().is_some() || xmin > xmax {
            return Err(damaged());
        }
        Ok(Self { xmin, xmax, running })
    }

    /// Whether a transaction had ended.
    pub fn sees(&self, xid: u64) -> bool {
        xid < self.xmin || (xid < self.xmax && self.running.binary_search(&xid).is_err())
    }

    /// Those that had not, ascending.
    pub fn unseen(&self) -> impl Iterator<Item = u64> + '_ {
        self.running.iter().copied().chain(self.xmax..=u64::MAX)
    }

    /// All transactions before this one had ended.
    pub fn least_running(&self) -> u64 {
        self.xmin
    }

    /// Whether this sees every transaction that `earlier` sees.
    pub fn sees_all_of(&self, earlier: &Self) -> bool {
        let unseen_here = self.running.iter().all(|xid| !earlier.sees(*xid));
        // What this does not see for its number alone, the earlier must not see either.
        let beyond = (self.xmax..earlier.xmax).take(earlier.running.len() + 1);
        unseen_here && beyond.into_iter().all(|xid| !earlier.sees(xid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_snapshot_sees_what_had_ended() {
        let visible = Visible::parse("10:20:12,15").unwrap();
        let seen: Vec<u64> = (8..22).filter(|xid| visible.sees(*xid)).collect();
        assert_eq!(seen, [8, 9, 10, 11, 13, 14, 16, 17, 18, 19]);
        assert_eq!(Visible::parse("7:7:").unwrap().least_running(), 7);
        for text in ["", "1", "1:2", "2:1:", "1:2:x", "1:2:3:4", "-1:2:"] {
            assert!(Visible::parse(text).is_err(), "{text}");
        }
    }

    fn snapshot() -> impl Strategy<Value = Visible> {
        (0u64..20, 0u64..20, prop::collection::btree_set(0u64..40, 0..6)).prop_map(
            |(xmin, more, running)| {
                let xmax = xmin + more;
                let running = running.into_iter().filter(|xid| (xmin..xmax).contains(xid));
                Visible { xmin, xmax, running: running.collect() }
            },
        )
    }

    proptest! {
        #[test]
        fn a_snapshot_sees_all_of_another_exactly_when_it_does(
            one in snapshot(),
            other in snapshot(),
        ) {
            let all = (0..60).all(|xid| one.sees(xid) || !other.sees(xid));
            prop_assert_eq!(one.sees_all_of(&other), all);
        }
    }
}
