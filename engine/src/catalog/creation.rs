//! The SQL that creates an entry where and how it was kept. An entry's own SQL names neither
//! tablespace nor access method: both are data, so that a restore can leave them out, or go on
//! where the target lacks one, without reading any SQL.

use super::{Aspect, Selection};
use crate::postgres::{identifier, literal, qualified};
use pgkeep_format::entry::{ByIndex, Entry, Storage};
use std::borrow::Cow;

/// Forgets of the entries' storage what `selection` is without.
pub fn forget_storage(entries: &mut [Entry], selection: &Selection) {
    for entry in entries.iter_mut() {
        let Some(storage) = &mut entry.storage else { continue };
        if selection.is_without(Aspect::Tablespaces) {
            storage.tablespace = None;
        }
        if selection.is_without(Aspect::AccessMethods) {
            storage.access_method = None;
        }
        if **storage == Storage::default() {
            entry.storage = None;
        }
    }
}

/// The SQL that creates `entry` with its storage.
///
/// The settings that it changes are as before when it is done, and, being one command string,
/// also when it fails.
#[must_use]
pub fn creation(entry: &Entry) -> Cow<'_, str> {
    with_storage(entry, &entry.create)
}

/// The SQL that builds the index of a constraint with the storage of `entry`; see [`creation`].
#[must_use]
pub fn creation_of_index<'a>(entry: &Entry, by_index: &'a ByIndex) -> Cow<'a, str> {
    with_storage(entry, &by_index.index)
}

fn with_storage<'a>(entry: &Entry, create: &'a str) -> Cow<'a, str> {
    let Some(storage) = &entry.storage else { return Cow::Borrowed(create) };
    let (mut before, mut after) = (String::new(), String::new());
    if let Some(name) = &storage.tablespace {
        before += &format!("SET default_tablespace = {};\n", literal(name));
        after += "RESET default_tablespace;\n";
    }
    match &storage.access_method {
        None => {}
        // It has no storage itself, so that no default applies to it.
        Some(name) if entry.relation.as_ref().is_some_and(|table| table.partitioned) => {
            let table = qualified(entry.schema.as_deref().unwrap_or_default(), &entry.name);
            after += &format!("ALTER TABLE ONLY {table} SET ACCESS METHOD {};\n", identifier(name));
        }
        Some(name) => {
            before += &format!("SET default_table_access_method = {};\n", literal(name));
            after += "SET default_table_access_method = heap;\n";
        }
    }
    Cow::Owned(format!("{before}{}\n{after}", create.trim_end()))
}
