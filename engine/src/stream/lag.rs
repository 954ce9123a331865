//! Whether the slot keeps so much WAL on the server that the user should know.

use super::watch::SlotState;
use std::time::Duration;
use tokio::time::Instant;

/// How often it is said.
const INTERVAL: Duration = Duration::from_secs(60);

/// Says so, once in a while.
#[derive(Debug, Default)]
pub(super) struct LagWarning {
    said: Option<Instant>,
}

impl LagWarning {
    /// What to say of a slot that keeps more than `limit` bytes of WAL, or is about to be lost.
    pub(super) fn look(&mut self, slot: &SlotState, limit: u64, now: Instant) -> Option<String> {
        let told = match slot.wal_status.as_str() {
            "unreserved" => "the server is about to remove WAL that the stream still needs: raise \
                             max_slot_wal_keep_size until the stream has caught up"
                .to_owned(),
            _ if slot.retained_bytes > limit => format!(
                "the replication slot keeps {} bytes of WAL on the server, more than {limit}: if \
                 that grows, look for long transactions there and for a slow repository; pgkeep \
                 teardown frees it",
                slot.retained_bytes
            ),
            _ => return None,
        };
        if self.said.is_some_and(|at| now < at + INTERVAL) {
            return None;
        }
        self.said = Some(now);
        Some(told)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Lsn;

    fn slot(wal_status: &str, retained_bytes: u64) -> SlotState {
        let wal_status = wal_status.to_owned();
        SlotState {
            confirmed: Lsn(1),
            wal_status,
            retained_bytes,
            safe_bytes: None,
            active_pid: None,
        }
    }

    #[test]
    fn a_slot_that_keeps_too_much_is_told_of_once_a_minute() {
        let mut warning = LagWarning::default();
        let now = Instant::now();
        assert_eq!(warning.look(&slot("extended", 10), 10, now), None);
        let told = warning.look(&slot("extended", 11), 10, now).unwrap();
        assert!(told.contains("11 bytes of WAL on the server, more than 10"), "{told}");
        assert_eq!(warning.look(&slot("unreserved", 1), 10, now), None);
        let told = warning.look(&slot("unreserved", 1), 10, now + INTERVAL).unwrap();
        assert!(told.contains("raise max_slot_wal_keep_size"), "{told}");
    }
}
