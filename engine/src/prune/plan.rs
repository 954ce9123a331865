//! Which packs go, and which are written again without what nobody needs.

use super::live::Live;
use super::packs::{Pack, Packs};
use pgkeep_format::id::PackId;

/// Of what is needed, so many hundredths may lie beside it unused: writing packs again for less
/// costs more than it saves.
const UNUSED_PERCENT: u64 = 5;

/// What a prune does.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// Packs of chunks that nothing needs.
    pub(super) remove: Vec<PackId>,
    /// Packs whose needed chunks go into new ones.
    pub(super) repack: Vec<PackId>,
    /// Packs of changes that no segment needs.
    pub(super) remove_changes: Vec<PackId>,
    /// Bytes that something needs.
    pub(super) live_bytes: u64,
    /// Bytes of what is to be copied.
    pub(super) repack_bytes: u64,
    /// Bytes in packs that stay, which nothing needs.
    pub(super) unused_bytes: u64,
}

impl Plan {
    /// Decides; copies at most `max_repack` bytes.
    pub(super) fn make(packs: &Packs, live: &Live, max_repack: Option<u64>) -> Self {
        let mut plan = Self::default();
        let mut partly: Vec<(PackId, u64, u64)> = Vec::new();
        for (id, pack) in &packs.chunks {
            let used = pack.live_bytes(live);
            let unused = pack.frame_bytes() - used;
            plan.live_bytes += used;
            if used == 0 {
                plan.remove.push(*id);
            } else if unused > 0 {
                plan.unused_bytes += unused;
                if may_be_copied(pack) {
                    partly.push((*id, used, unused));
                }
            }
        }
        let changes = packs.changes.keys().filter(|pack| !live.needs_changes(pack));
        plan.remove_changes.extend(changes);
        // Most gained for what is copied first.
        partly.sort_unstable_by_key(|(id, used, unused)| {
            (std::cmp::Reverse(unused * 1000 / (used + unused)), *id)
        });
        let allowed = plan.live_bytes / 100 * UNUSED_PERCENT;
        for (id, used, unused) in partly {
            let fits = max_repack.is_none_or(|max| plan.repack_bytes + used <= max);
            if plan.unused_bytes <= allowed {
                break;
            }
            if fits {
                plan.repack.push(id);
                plan.repack_bytes += used;
                plan.unused_bytes -= unused;
            }
        }
        plan.remove.sort_unstable();
        plan.remove_changes.sort_unstable();
        plan
    }
}

/// What is copied is signed for: only what was signed for before.
fn may_be_copied(pack: &Pack) -> bool {
    pack.is_signed
}
