//! What is meant: one [`Selection`], with the meaning of `pg_dump`'s options. The server
//! resolves its patterns when a backup is taken (`on_server`); names do when a stored backup is
//! read (`on_entries`). What is left out by its kind is left out by the same rule in both.

mod aspect;
mod name_matcher;
mod on_entries;
mod on_server;
mod pattern;
mod provider;
mod turn;

pub use aspect::{Aspect, Subject};
pub use name_matcher::NameMatcher;
pub use on_entries::{select_database, select_entries};
pub use on_server::{LockTarget, RelationKind, lock_targets};
pub(in crate::catalog) use on_server::{Selected, keep, resolve};
pub use provider::Provider;
pub use turn::{Turn, turn};

use std::collections::BTreeSet;

/// What to back up, restore, export or list; an empty one selects all. Patterns are those of
/// `pg_dump`. One without a schema means what `search_path` shows when a backup is taken, and
/// matches in every schema of a stored backup.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Selection {
    /// Only what lies in these schemas.
    pub schemas: Vec<String>,
    /// Nothing that lies in these schemas.
    pub exclude_schemas: Vec<String>,
    /// Only these tables, views and sequences.
    pub tables: Vec<String>,
    /// None of these tables, views and sequences.
    pub exclude_tables: Vec<String>,
    /// Of these tables the definition, not the rows.
    pub exclude_table_data: Vec<String>,
    /// What is left out of everything that is selected.
    pub without: BTreeSet<Aspect>,
    /// Whose server it is, if not one's own: what is his alone is left out.
    pub provider: Option<Provider>,
}

impl Selection {
    /// Whether it means databases as they are, but for what is taken out of them; not where
    /// it names what to take.
    #[must_use]
    pub fn is_of_whole_databases(&self) -> bool {
        self.schemas.is_empty() && self.tables.is_empty() && !self.is_without(Aspect::Definitions)
    }

    /// Whether it leaves something out of every object.
    #[must_use]
    pub fn is_without(&self, aspect: Aspect) -> bool {
        self.without.contains(&aspect)
    }
}
