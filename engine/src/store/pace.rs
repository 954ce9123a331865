//! How fast bytes may go: a bucket of tokens that all who share it draw from.

use std::num::NonZeroU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// What was not used is kept for so long: more would be a burst that others feel.
const BURST: Duration = Duration::from_millis(250);

/// Pieces are this large at the most, and no larger than what goes in a quarter of a second.
const PIECE_MAX: u64 = 256 << 10;

/// The least rate, in bytes a second: with less, calls would look as if they were stuck.
pub const RATE_MIN: u64 = 1 << 10;

/// Bytes a second, each way; absent for no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rates {
    /// What is written.
    pub upload: Option<NonZeroU64>,
    /// What is read.
    pub download: Option<NonZeroU64>,
}

/// A rate that is kept; all clones keep it together.
#[derive(Debug, Clone)]
pub(super) struct Pace {
    rate: NonZeroU64,
    /// When all that was let through so far has been paid for.
    paid: Arc<Mutex<Instant>>,
}

impl Pace {
    pub(super) fn new(rate: NonZeroU64) -> Self {
        Self { rate, paid: Arc::new(Mutex::new(Instant::now())) }
    }

    /// How many bytes go at once.
    pub(super) fn piece(&self) -> usize {
        let piece = (self.rate.get() / 4).clamp(1, PIECE_MAX);
        usize::try_from(piece).unwrap_or(usize::MAX)
    }

    /// How long so many bytes take.
    pub(super) fn time(&self, bytes: u64) -> Duration {
        let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(self.rate.get());
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// When so many bytes may go. They are paid for by this: whoever asks next waits behind them.
    pub(super) fn reserve(&self, bytes: u64) -> Instant {
        let now = Instant::now();
        let mut paid = self.paid.lock().unwrap_or_else(PoisonError::into_inner);
        let begin = now.checked_sub(BURST).map_or(*paid, |earliest| earliest.max(*paid));
        *paid = begin + self.time(bytes);
        *paid
    }

    /// Waits until so many bytes may go.
    pub(super) async fn wait(&self, bytes: u64) {
        sleep_until(self.reserve(bytes)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace(rate: u64) -> Pace {
        Pace::new(NonZeroU64::new(rate).unwrap())
    }

    #[tokio::test]
    async fn what_many_draw_together_is_no_more_than_the_rate() {
        let pace = pace(1_000_000);
        let begun = Instant::now();
        let draws = (0..8).map(|_| {
            let pace = pace.clone();
            async move {
                for _ in 0..10 {
                    pace.wait(10_000).await;
                }
            }
        });
        futures_util::future::join_all(draws).await;
        // All at once, and each one alone, would take a tenth of a second.
        let took = begun.elapsed();
        assert!(took >= Duration::from_millis(800), "{took:?}");
    }

    #[tokio::test]
    async fn what_was_not_used_for_long_saves_up_a_quarter_of_a_second() {
        let pace = pace(1_000_000);
        let hour = Duration::from_secs(3600);
        let Some(then) = Instant::now().checked_sub(hour) else { return };
        *pace.paid.lock().unwrap() = then;
        let begun = Instant::now();
        let may_go = pace.reserve(1_000_000);
        assert!(may_go.duration_since(begun) >= Duration::from_millis(750));
        assert!(pace.reserve(1_000_000).duration_since(may_go) == Duration::from_secs(1));
    }

    #[test]
    fn a_piece_is_small_beside_the_rate() {
        assert_eq!(pace(RATE_MIN).piece(), 256);
        assert_eq!(pace(100 << 20).piece(), 256 << 10);
    }
}
