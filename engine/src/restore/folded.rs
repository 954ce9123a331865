//! What a restore to a moment changes of a backup's entries, before anything is selected.
//!
//! Where the stream has the definitions of the moment, they take the place of the backup's; its
//! rows, large objects, and what says nothing else of a moment stay. Else the backup's
//! definitions stay, and what does not fit them is refused.

use crate::catalog::Selection;
use crate::fold::Recovery;
use crate::postgres::{literal, qualified};
use crate::repository::{Backup, ChunkReader};
use crate::{Error, ErrorKind, Result};
use pgkeep_format::entry::{Data, Entry, Kind};
use pgkeep_format::manifest::Database;
use pgkeep_format::stream::Stream;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// Tables that an error names at most.
const TABLES_NAMED_MAX: usize = 5;

/// A database at a moment, its rows as the backup has them.
#[derive(Debug, Default)]
pub(super) struct Folded {
    pub(super) entries: Vec<Entry>,
    /// What changes are applied to, by the OID of the table.
    pub(super) bases: HashMap<u32, Base>,
    /// What the user should look at, a sentence each.
    pub(super) warnings: Vec<String>,
}

/// The rows of a table that changes are applied to: the backup's, or those of a later copy.
#[derive(Debug, Clone)]
pub(super) struct Base {
    pub(super) data: Data,
    pub(super) stream: Stream,
    /// The changes.
    pub(super) recovery: Arc<Recovery>,
}

/// Takes the entries of the database in the backup.
///
/// # Errors
/// [`ErrorKind::UnsupportedFormat`] when definitions of the moment are not known, all of a
/// database is restored, and tables were made after the backup.
pub(super) async fn fold(
    reader: &ChunkReader,
    backup: &Backup,
    database: &Database,
    recovery: &Arc<Recovery>,
    selection: &Selection,
) -> Result<Folded> {
    let entries = reader.entries(backup, database.entries_stream).await?;
    let mut bases = bases(&entries, backup, recovery)?;
    for copy in recovery.copies() {
        let of_copy = copy.backup.database(Some(&database.name))?;
        let copied = reader.entries(&copy.backup, of_copy.entries_stream).await?;
        let mut copied = self::bases(&copied, &copy.backup, &copy.recovery)?;
        copied.retain(|table, _| copy.tables.contains(table));
        bases.extend(copied);
    }
    let is_whole = backup.sealed_part()?.selection.is_empty();
    let mut folded = Folded { entries, bases, warnings: recovery.warnings().to_vec() };
    let of_moment = if is_whole { recovery.entries().await? } else { None };
    match of_moment {
        Some(of_moment) => folded.take(of_moment, recovery),
        None => folded.keep(recovery, selection)?,
    }
    if folded.entries.iter().any(|entry| entry.kind == Kind::LargeObjectData) {
        folded.warnings.push("large objects are as the backup has them".to_owned());
    }
    Ok(folded)
}

fn bases(
    entries: &[Entry],
    backup: &Backup,
    recovery: &Arc<Recovery>,
) -> Result<HashMap<u32, Base>> {
    let mut bases = HashMap::new();
    for data in entries.iter().filter_map(|entry| entry.data.as_ref()) {
        let Some(table) = data.table else { continue };
        let stream = backup.stream(data.stream)?.clone();
        bases.insert(table, Base { data: Data::clone(data), stream, recovery: recovery.clone() });
    }
    Ok(bases)
}

impl Folded {
    /// Takes the definitions of the moment.
    fn take(&mut self, of_moment: Vec<Entry>, recovery: &Recovery) {
        let of_backup = std::mem::replace(&mut self.entries, of_moment);
        for entry in &mut self.entries {
            let Some(data) = &mut entry.data else { continue };
            let Some(table) = data.table else { continue };
            let base = self.bases.get(&table);
            (data.rows, data.bytes) = base.map_or((0, 0), |base| (base.data.rows, base.data.bytes));
            if recovery.is_unpublished(table) {
                let title = qualified(entry.schema.as_deref().unwrap_or_default(), &entry.name);
                self.warnings.push(match base {
                    Some(_) => format!(
                        "{title} is as the backup has it: its changes are not in the stream"
                    ),
                    None => format!(
                        "{title} is empty: it was made after the backup, and its changes are \
                         not in the stream"
                    ),
                });
            }
        }
        self.append(&of_backup, |entry| {
            entry.kind == Kind::LargeObject || entry.kind == Kind::LargeObjectData
        });
        if recovery.sequences().is_none() {
            self.append_values(&of_backup);
        }
    }

    /// Appends entries of the backup that refer to none but one another, with what speaks of
    /// them.
    fn append(&mut self, of_backup: &[Entry], is_one: impl Fn(&Entry) -> bool) {
        let mut places: HashMap<u32, u32> = HashMap::new();
        for (at, entry) in of_backup.iter().enumerate() {
            let follows = entry.belongs_to.is_some_and(|whole| places.contains_key(&whole));
            if !is_one(entry) && !follows {
                continue;
            }
            let mut entry = entry.clone();
            let place = |at: &u32| places.get(at).copied();
            entry.depends_on = entry.depends_on.iter().filter_map(place).collect();
            entry.belongs_to = entry.belongs_to.as_ref().and_then(place);
            // A backup has fewer entries than u32 holds.
            let new = u32::try_from(self.entries.len()).unwrap_or(u32::MAX);
            places.insert(u32::try_from(at).unwrap_or(u32::MAX), new);
            self.entries.push(entry);
        }
    }

    /// Appends values of sequences: no later ones are known.
    fn append_values(&mut self, of_backup: &[Entry]) {
        let mut places = HashMap::new();
        for (at, entry) in self.entries.iter().enumerate() {
            if entry.kind == Kind::Sequence {
                let name = (entry.schema.clone(), entry.name.clone());
                places.insert(name, u32::try_from(at).unwrap_or(u32::MAX));
            }
        }
        for entry in of_backup.iter().filter(|entry| entry.kind == Kind::SequenceSet) {
            let name = (entry.schema.clone(), entry.name.clone());
            let Some(sequence) = places.get(&name) else { continue };
            self.entries.push(Entry {
                depends_on: vec![*sequence],
                belongs_to: Some(*sequence),
                ..entry.clone()
            });
        }
    }

    /// Keeps the definitions of the backup.
    fn keep(&mut self, recovery: &Recovery, selection: &Selection) -> Result<()> {
        let states = recovery.sequences().unwrap_or_default();
        let states: HashMap<_, _> =
            states.iter().map(|one| ((one.schema.as_str(), one.name.as_str()), one)).collect();
        let mut known = HashSet::new();
        for entry in &mut self.entries {
            let (Some(schema), name) = (entry.schema.as_deref(), entry.name.as_str()) else {
                continue;
            };
            let title = qualified(schema, name);
            if entry.kind == Kind::SequenceSet
                && let Some(state) = states.get(&(schema, name))
            {
                entry.create = format!(
                    "SELECT pg_catalog.setval({}, {}, {});\n",
                    literal(&title),
                    state.last_value,
                    state.is_called
                );
            }
            if let Some(table) = entry.data.as_ref().and_then(|data| data.table) {
                known.insert(table);
                if recovery.is_unpublished(table) {
                    self.warnings.push(format!(
                        "{title} is as the backup has it: its changes are not in the stream"
                    ));
                }
            }
        }
        let tables = recovery.tables();
        let unknown = tables.values().filter(|version| !known.contains(&version.oid));
        let mut unknown: Vec<String> =
            unknown.map(|version| qualified(&version.schema, &version.name)).collect();
        if unknown.is_empty() || !selection.is_of_whole_databases() {
            return Ok(());
        }
        unknown.sort_unstable();
        let more = if unknown.len() > TABLES_NAMED_MAX { " and more" } else { "" };
        unknown.truncate(TABLES_NAMED_MAX);
        let message =
            format!("the backup does not have {}{more}: made after it", unknown.join(", "));
        Err(Error::new(ErrorKind::UnsupportedFormat, message)
            .hint("Restore single tables or schemas: -t NAME, -n NAME")
            .hint("Take a backup soon after tables are made."))
    }
}
