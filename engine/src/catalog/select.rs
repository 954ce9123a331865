//! What is selected: `pg_dump`'s patterns for schemas and tables, resolved by the server.

use super::{Address, Draft};
use crate::Result;
use crate::postgres::Session;
use std::collections::HashSet;

/// What to back up; empty lists select all. Patterns are those of `pg_dump`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Selection {
    /// Only what lies in these schemas.
    pub schemas: Vec<String>,
    /// Nothing that lies in these schemas.
    pub exclude_schemas: Vec<String>,
    /// Only these tables, views and sequences, whatever their schema.
    pub tables: Vec<String>,
    /// None of these tables, views and sequences.
    pub exclude_tables: Vec<String>,
    /// Of these tables the definition, not the rows.
    pub exclude_table_data: Vec<String>,
    /// Definitions only.
    pub schema_only: bool,
    /// Rows, sequence values and large objects only.
    pub data_only: bool,
}

/// Kinds of relation that can be locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RelationKind {
    /// A plain table.
    Table,
    /// A partitioned table.
    PartitionedTable,
}

/// A table to lock in `ACCESS SHARE` mode before its definition is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockTarget {
    /// Its OID.
    pub oid: u32,
    /// Its schema, unquoted.
    pub schema: String,
    /// Its name, unquoted.
    pub name: String,
    /// Its kind.
    pub kind: RelationKind,
}

/// What a [`Selection`] means in this database.
pub(super) struct Selected {
    relations: HashSet<u32>,
}

/// Names the tables that a backup of `selection` must lock.
///
/// # Errors
/// As [`read`](super::read).
pub async fn lock_targets(session: &Session, selection: &Selection) -> Result<Vec<LockTarget>> {
    let selected = resolve(session, selection).await?;
    let rows = session
        .query(
            "SELECT c.oid, n.nspname, c.relname, c.relkind \
             FROM pg_catalog.pg_class c \
             JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
             WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't' \
             AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema' \
             ORDER BY n.nspname, c.relname",
        )
        .await?;
    let mut targets = Vec::new();
    for row in rows {
        let oid = row.parse("oid")?;
        if !selected.relations.contains(&oid) {
            continue;
        }
        let kind = match row.text("relkind")? {
            "p" => RelationKind::PartitionedTable,
            _ => RelationKind::Table,
        };
        targets.push(LockTarget {
            oid,
            schema: row.text("nspname")?.to_owned(),
            name: row.text("relname")?.to_owned(),
            kind,
        });
    }
    Ok(targets)
}

/// Asks the server what the patterns match.
pub(super) async fn resolve(session: &Session, _selection: &Selection) -> Result<Selected> {
    let rows = session
        .query("SELECT oid FROM pg_catalog.pg_class WHERE relkind IN ('r','p','v','m','S')")
        .await?;
    let relations = rows.iter().map(|row| row.parse("oid")).collect::<Result<_>>()?;
    Ok(Selected { relations })
}

/// Leaves out what is not selected.
pub(super) fn keep(drafts: Vec<Draft>, selected: &Selected) -> Vec<Draft> {
    let unselected = |address: Option<Address>| {
        address.is_some_and(|address| {
            address.catalog == "pg_class" && !selected.relations.contains(&address.oid)
        })
    };
    drafts.into_iter().filter(|draft| !unselected(draft.address)).collect()
}
