//! Restoring a schema under another name without touching a single statement.
//!
//! An entry's SQL names its schema, in places that no parser of ours should look for. So
//! the database is made to fit for as long as one transaction lasts: a schema that bears
//! the old name steps aside, the one with the new name takes the old one, the entry is
//! restored, and both get their names back. Nobody else sees any of it.

use crate::postgres::{WireSession, identifier, literal};
use crate::{Error, ErrorKind, Result};
use std::collections::HashSet;
use std::fmt::Write;

/// Schemas to restore under other names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Rename {
    pairs: Vec<(String, String)>,
}

impl Rename {
    pub(super) fn new(pairs: &[(String, String)]) -> Result<Self> {
        let mut names = HashSet::new();
        for name in pairs.iter().flat_map(|(old, new)| [old, new]) {
            if !names.insert(name) {
                let message = format!("schema \"{name}\" is renamed more than once");
                return Err(Error::new(ErrorKind::Usage, message));
            }
        }
        Ok(Self { pairs: pairs.to_vec() })
    }

    pub(super) fn is_none(&self) -> bool {
        self.pairs.is_empty()
    }

    /// The name under which a schema of the backup is restored.
    pub(super) fn new_name<'a>(&'a self, schema: &'a str) -> &'a str {
        let pair = self.pairs.iter().find(|(old, _)| old == schema);
        pair.map_or(schema, |(_, new)| new)
    }

    /// Makes the database fit the entries' SQL; for as long as a transaction lasts.
    fn begin_sql(&self) -> String {
        let mut sql = String::new();
        for (old, new) in &self.pairs {
            rename_if_there(&mut sql, old, &aside(old));
            rename_if_there(&mut sql, new, old);
        }
        sql
    }

    /// Gives all schemas their names back.
    fn end_sql(&self) -> String {
        let mut sql = String::new();
        for (old, new) in &self.pairs {
            rename_if_there(&mut sql, old, new);
            rename_if_there(&mut sql, &aside(old), old);
        }
        sql
    }

    /// Makes the database fit, within a transaction.
    pub(super) async fn begin(&self, wire: &mut WireSession) -> Result<()> {
        if self.is_none() { Ok(()) } else { wire.execute(&self.begin_sql()).await }
    }

    /// Gives all schemas their names back, within the same transaction.
    pub(super) async fn end(&self, wire: &mut WireSession) -> Result<()> {
        if self.is_none() { Ok(()) } else { wire.execute(&self.end_sql()).await }
    }
}

/// The name that a live schema bears while another one has its own.
fn aside(old: &str) -> String {
    // A name has at most 63 bytes; what is cut off makes no difference for so short a time.
    let room = 63 - "pgkeep aside ".len();
    let end = (0..=room.min(old.len())).rev().find(|end| old.is_char_boundary(*end)).unwrap_or(0);
    format!("pgkeep aside {}", &old[..end])
}

fn rename_if_there(sql: &mut String, from: &str, to: &str) {
    let body = format!(
        "BEGIN IF EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = {}) THEN \
         ALTER SCHEMA {} RENAME TO {}; END IF; END",
        literal(from),
        identifier(from),
        identifier(to)
    );
    // Writing into a String cannot fail.
    let _ = write!(sql, "DO {};", literal(&body));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_cannot_be_part_of_two_renames() {
        let pair = |old: &str, new: &str| (old.to_owned(), new.to_owned());
        assert!(Rename::new(&[pair("a", "b"), pair("c", "d")]).is_ok());
        assert!(Rename::new(&[pair("a", "b"), pair("b", "c")]).is_err());
        assert!(Rename::new(&[pair("a", "a")]).is_err());
    }

    #[test]
    fn a_long_name_steps_aside_within_the_limit() {
        assert!(aside(&"é".repeat(31)).len() <= 63);
    }
}
