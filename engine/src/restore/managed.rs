//! What is left to the provider of a managed server when a backup is restored there: what he
//! makes himself is there already, and the role may not touch it. What of it is the user's comes
//! back: rows in shared schemas, the triggers and policies that he put on tables there.

use super::RestoreOptions;
use super::names::title;
use super::rename::Rename;
use super::target::Target;
use crate::catalog::Provider;
use crate::postgres::{Session, identifier, qualified};
use crate::{Error, ErrorKind, Result};
use pgkeep_format::entry::{Entry, EntryKind, Kind};
use std::collections::BTreeSet;

/// Tables that an error names at most.
const NAMED_MAX: usize = 5;

/// What is the provider's among the entries of a backup.
pub(super) struct Managed<'a> {
    provider: Provider,
    entries: &'a [Entry],
    target: &'a Target,
    rename: &'a Rename,
    /// Whether the user's triggers and policies there are replaced.
    clean: bool,
}

impl<'a> Managed<'a> {
    /// Absent where the server is nobody's.
    pub(super) fn new(
        entries: &'a [Entry],
        target: &'a Target,
        rename: &'a Rename,
        options: &RestoreOptions,
    ) -> Option<Self> {
        let provider = options.selection.provider?;
        Some(Self { provider, entries, target, rename, clean: options.clean })
    }

    /// Takes out what is left to the provider; returns what the user should know of it.
    pub(super) fn leave(&self, selected: &mut BTreeSet<usize>) -> Vec<String> {
        let mut warnings = Vec::new();
        selected.retain(|at| {
            let entry = &self.entries[*at];
            let whole = entry.belongs_to.map(|whole| whole as usize);
            let homeless = entry.kind == Kind::TableData
                && self.is_shared(entry)
                && whole.is_some_and(|table| !self.is_there(table));
            if homeless {
                warnings.push(format!(
                    "rows of {} are not restored: the provider has no such table there",
                    title(self.entries, *at)
                ));
            }
            !homeless && !self.is_left(*at)
        });
        warnings
    }

    /// SQL that drops what is replaced on the provider's tables, which stay themselves.
    pub(super) fn drops(&self, selected: &BTreeSet<usize>) -> Vec<(usize, String)> {
        let entries = selected.iter().map(|at| (*at, &self.entries[*at]));
        let replaced = entries.filter(|(_, entry)| self.clean && self.is_shared(entry));
        replaced
            .filter_map(|(at, entry)| {
                let class = match entry.kind {
                    EntryKind::Known(Kind::Trigger) => "TRIGGER",
                    EntryKind::Known(Kind::Policy) => "POLICY",
                    _ => return None,
                };
                let table = self.whole(entry)?;
                let table = qualified(table.schema.as_deref().unwrap_or_default(), &table.name);
                let name = identifier(&entry.name);
                Some((at, format!("DROP {class} IF EXISTS {name} ON {table};")))
            })
            .collect()
    }

    /// Rows that go into tables of the provider.
    pub(super) fn shared_rows(&self, selected: &BTreeSet<usize>) -> Vec<&'a Entry> {
        let entries = selected.iter().map(|at| &self.entries[*at]);
        entries.filter(|entry| entry.kind == Kind::TableData && self.is_shared(entry)).collect()
    }

    /// The provider's tables must be empty: rows of two sources would be mixed.
    pub(super) async fn check_empty(session: &Session, rows: &[&Entry]) -> Result<()> {
        let mut full = Vec::new();
        for entry in rows.iter().filter(|entry| entry.data.as_ref().is_some_and(|d| d.rows > 0)) {
            let table = qualified(entry.schema.as_deref().unwrap_or_default(), &entry.name);
            let found = session.query(&format!("SELECT FROM {table} LIMIT 1")).await?;
            if !found.is_empty() {
                full.push(table);
            }
        }
        if full.is_empty() {
            return Ok(());
        }
        let named = full[..full.len().min(NAMED_MAX)].join(", ");
        let message = format!("tables of the provider already have rows: {named}");
        Err(Error::new(ErrorKind::AlreadyExists, message).hint(format!(
            "Leave them out: --exclude-table-data; or empty them first: DELETE FROM {}",
            full[0]
        )))
    }

    fn is_there(&self, at: usize) -> bool {
        self.target.is_there(self.entries, at, self.rename)
    }

    fn is_left(&self, at: usize) -> bool {
        let entry = &self.entries[at];
        let EntryKind::Known(kind) = entry.kind else { return false };
        let is_there = || self.is_there(at);
        match kind {
            Kind::Schema | Kind::Extension | Kind::Publication if is_there() => return true,
            Kind::EventTrigger if is_there() || self.is_owned_by_provider(entry) => return true,
            Kind::DefaultAcl if self.is_default_of_provider(entry) => return true,
            Kind::Owner
                if self.whole(entry).is_some_and(|whole| self.is_owned_by_provider(whole)) =>
            {
                return true;
            }
            _ => {}
        }
        let whole = entry.belongs_to.map(|whole| whole as usize);
        if kind.is_satellite() && whole.is_some_and(|whole| self.is_left(whole)) {
            return true;
        }
        self.is_shared(entry)
            && match kind {
                Kind::TableData | Kind::SequenceSet => false,
                Kind::Trigger | Kind::Policy => {
                    let replaced = self.clean && self.is_of_user(entry);
                    !replaced && is_there()
                }
                // What is said about a trigger or policy goes with it.
                _ if kind.is_satellite() => !self.whole(entry).is_some_and(|whole| {
                    matches!(whole.kind, EntryKind::Known(Kind::Trigger | Kind::Policy))
                }),
                _ => true,
            }
    }

    /// Policies are the user's, and so are triggers that run functions of his.
    fn is_of_user(&self, entry: &Entry) -> bool {
        let mut needed = entry.depends_on.iter().filter_map(|at| self.entries.get(*at as usize));
        entry.kind == Kind::Policy
            || needed.any(|needed| needed.kind == Kind::Function && !self.is_shared(needed))
    }

    fn is_shared(&self, entry: &Entry) -> bool {
        let schema = match entry.kind {
            EntryKind::Known(Kind::Schema) => Some(entry.name.as_str()),
            _ => entry.schema.as_deref().or_else(|| self.whole(entry)?.schema.as_deref()),
        };
        schema.is_some_and(|schema| self.provider.shares_schema(schema))
    }

    fn is_owned_by_provider(&self, entry: &Entry) -> bool {
        entry.owner.as_deref().is_some_and(|owner| self.provider.owns_role(owner))
    }

    /// Default privileges name their role in their own name alone.
    fn is_default_of_provider(&self, entry: &Entry) -> bool {
        let named = entry.name.strip_prefix("DEFAULT PRIVILEGES FOR ROLE ");
        let role = named.and_then(|rest| rest.rsplit_once(" ON ")).map(|(role, _)| role);
        role.is_some_and(|role| self.provider.owns_role(role))
    }

    fn whole(&self, entry: &Entry) -> Option<&'a Entry> {
        entry.belongs_to.and_then(|at| self.entries.get(at as usize))
    }
}

/// Whether it is about who may do what, or a remark: the server is as good without it, and an
/// ordinary role may not always do it.
pub(super) fn can_do_without(entry: &Entry) -> bool {
    matches!(
        entry.kind,
        EntryKind::Known(
            Kind::Owner | Kind::Acl | Kind::DefaultAcl | Kind::Comment | Kind::SecurityLabel
        )
    )
}
