//! What is meant: one [`Selection`], with the meaning of `pg_dump`'s options. The server
//! resolves its patterns when a backup is taken (`on_server`); names do when a stored backup is
//! read (`on_entries`). What is left out by its kind is left out by the same rule in both.

mod aspect;
mod name_matcher;
mod on_entries;
mod on_server;
mod pattern;
mod provider;
mod server_names;
mod turn;

pub use aspect::{Aspect, Subject};
pub use name_matcher::NameMatcher;
pub use on_entries::{is_about_database, select_database, select_entries};
pub use on_server::{LockTarget, RelationKind, lock_targets};
pub(in crate::catalog) use on_server::{Selected, keep, resolve};
pub use provider::Provider;
pub use turn::{Turn, turn};

use pgkeep_format::entry::{Kind, Section};
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
    /// As `tables`, with all that inherits from them or is a partition of them.
    pub tables_and_children: Vec<String>,
    /// None of these tables, views and sequences.
    pub exclude_tables: Vec<String>,
    /// As `exclude_tables`, with their children.
    pub exclude_tables_and_children: Vec<String>,
    /// Of these tables the definition, not the rows.
    pub exclude_table_data: Vec<String>,
    /// As `exclude_table_data`, with their children.
    pub exclude_table_data_and_children: Vec<String>,
    /// Of the extensions only these; without any, all if no schema or table is named.
    pub extensions: Vec<String>,
    /// None of these extensions.
    pub exclude_extensions: Vec<String>,
    /// Large objects, also where schemas or tables are named; or none.
    pub large_objects: Option<bool>,
    /// Only what is restored in these parts of a restore; without any, in all.
    pub sections: Vec<Section>,
    /// Values of sequences, also without rows.
    pub sequence_values: bool,
    /// Of a stored backup, only these indexes, triggers and functions, and `tables`.
    pub parts: Vec<(Kind, String)>,
    /// Of a stored backup, only entries at these positions, and nothing that they need.
    pub listed: Option<BTreeSet<usize>>,
    /// Rows of the foreign tables of these servers; when a backup is taken.
    pub foreign_data: Vec<String>,
    /// Of these tables only the rows that meet a condition, in SQL; when a backup is taken.
    pub row_filters: Vec<(String, String)>,
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
        self.schemas.is_empty()
            && !self.selects_by_table()
            && self.extensions.is_empty()
            && self.sections.is_empty()
            && !self.is_without(Aspect::Definitions)
    }

    /// Whether it names relations to take.
    #[must_use]
    pub fn selects_by_table(&self) -> bool {
        !self.tables.is_empty() || !self.tables_and_children.is_empty()
    }

    /// Whether any of its patterns is of relations.
    fn names_relations(&self) -> bool {
        self.selects_by_table()
            || !self.row_filters.is_empty()
            || [
                &self.exclude_tables,
                &self.exclude_tables_and_children,
                &self.exclude_table_data,
                &self.exclude_table_data_and_children,
            ]
            .iter()
            .any(|patterns| !patterns.is_empty())
    }

    /// The same for objects of any name: what may come with what was asked for. What is excluded
    /// stays so.
    #[must_use]
    pub fn of_any_name(&self) -> Self {
        Self {
            schemas: Vec::new(),
            tables: Vec::new(),
            tables_and_children: Vec::new(),
            extensions: Vec::new(),
            parts: Vec::new(),
            ..self.clone()
        }
    }

    /// Whether it leaves something out of every object.
    #[must_use]
    pub fn is_without(&self, aspect: Aspect) -> bool {
        self.without.contains(&aspect)
    }
}
