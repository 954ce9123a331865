//! What a restore to a moment changes of a backup's entries, before anything is selected.

use crate::catalog::Selection;
use crate::fold::Recovery;
use crate::postgres::{literal, qualified};
use crate::{Error, ErrorKind, Result};
use pgkeep_format::entry::{Entry, Kind};
use std::collections::HashSet;

/// Tables that an error names at most.
const TABLES_NAMED_MAX: usize = 5;

/// Gives sequences the values of the moment; says which tables are not as they were then.
///
/// # Errors
/// [`ErrorKind::UnsupportedFormat`] when all of a database is restored and tables were made
/// after the backup.
pub(super) fn prepare(
    entries: &mut [Entry],
    recovery: &Recovery,
    selection: &Selection,
) -> Result<Vec<String>> {
    let mut known = HashSet::new();
    let mut warnings = Vec::new();
    for entry in entries.iter_mut() {
        if entry.kind == Kind::LargeObjectData {
            warnings.push("large objects are as the backup has them".to_owned());
        }
        let (Some(schema), name) = (entry.schema.as_deref(), entry.name.as_str()) else { continue };
        let title = qualified(schema, name);
        if entry.kind == Kind::SequenceSet
            && let Some(state) = recovery.sequence(schema, name)
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
                warnings.push(format!(
                    "{title} is as the backup has it: its changes are not in the stream"
                ));
            }
        }
    }
    let tables = recovery.tables();
    let mut unknown: Vec<String> = tables
        .values()
        .filter(|version| !known.contains(&version.oid))
        .map(|version| qualified(&version.schema, &version.name))
        .collect();
    if unknown.is_empty() || !selection.is_of_whole_databases() {
        return Ok(warnings);
    }
    unknown.sort_unstable();
    let more = if unknown.len() > TABLES_NAMED_MAX { " and more" } else { "" };
    unknown.truncate(TABLES_NAMED_MAX);
    let message = format!("the backup does not have {}{more}: made after it", unknown.join(", "));
    Err(Error::new(ErrorKind::UnsupportedFormat, message)
        .hint("Restore single tables or schemas: -t NAME, -n NAME")
        .hint("Take a backup soon after tables are made."))
}
