//! What is meant: `pg_dump`'s patterns, resolved by the server when a backup is taken, and by
//! names when a stored backup is read.

mod entry_selection;
mod name_matcher;
mod pattern;
mod select;

pub use entry_selection::{EntrySelection, Turn, select_entries, turn};
pub use name_matcher::NameMatcher;
pub use select::{LockTarget, RelationKind, Selection, lock_targets};
pub(in crate::catalog) use select::{Selected, keep, resolve};
