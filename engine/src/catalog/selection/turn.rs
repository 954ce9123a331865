//! When in a restore or an export the turn of an entry comes.

use pgkeep_format::entry::{Entry, EntryKind, Kind, Section};

/// When in a restore an entry's turn comes; the order is that of the variants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Turn {
    /// Definitions.
    Before,
    /// Rows, and what comes after them.
    Beside,
    /// Privileges: rows are loaded by a role that a revoked one might stop.
    Privileges,
    /// Refreshes of materialized views, which run with their owners' privileges.
    Refresh,
    /// Optimizer statistics: the server changes them as rows come and indexes are built.
    Statistics,
    /// Event triggers, which would fire for all that is restored after them.
    EventTriggers,
}

/// The turn of an entry.
#[must_use]
pub fn turn(entries: &[Entry], entry: &Entry) -> Turn {
    let whole = entry.belongs_to.and_then(|whole| entries.get(whole as usize));
    let is_satellite = matches!(&entry.kind, EntryKind::Known(kind) if kind.is_satellite());
    match &entry.kind {
        EntryKind::Known(Kind::Acl | Kind::DefaultAcl) => Turn::Privileges,
        EntryKind::Known(Kind::MaterializedViewData) => Turn::Refresh,
        EntryKind::Known(Kind::StatisticsData) => Turn::Statistics,
        EntryKind::Known(Kind::EventTrigger) => Turn::EventTriggers,
        _ if is_satellite && whole.is_some_and(|whole| whole.kind == Kind::EventTrigger) => {
            Turn::EventTriggers
        }
        _ if entry.section == Section::PreData => Turn::Before,
        _ => Turn::Beside,
    }
}
