//! The time, as the format writes it.

use std::time::{SystemTime, UNIX_EPOCH};

/// Microseconds since 1970 UTC by this machine's clock.
#[must_use]
pub fn now_micros() -> i64 {
    // A clock before 1970 is as wrong as can be; backups are still worth taking.
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(elapsed.as_micros()).unwrap_or(i64::MAX)
}
