//! Tables whose rows a snapshot cannot see any more: a command that rewrites or truncates a
//! table puts new storage in its place, in which every row is younger than older snapshots.

use crate::postgres::{Session, qualified};
use crate::{Error, ErrorKind, Result};
use std::collections::HashSet;

/// Refuses where one of these locked tables was rewritten after the snapshot was taken. The
/// rows of `pg_class` are read in the snapshot; `pg_relation_filenode` tells what is now.
pub(super) async fn check(session: &Session, tables: &[(String, String)]) -> Result<()> {
    if tables.is_empty() {
        return Ok(());
    }
    let sql = "SELECT n.nspname, c.relname FROM pg_catalog.pg_class c \
               JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
               WHERE c.relkind = 'r' AND c.relfilenode <> 0 \
               AND pg_catalog.pg_relation_filenode(c.oid) <> c.relfilenode \
               ORDER BY n.nspname, c.relname";
    let locked: HashSet<(&str, &str)> =
        tables.iter().map(|(schema, name)| (schema.as_str(), name.as_str())).collect();
    let rows = session.query(sql).await?;
    let names = rows.iter().map(|row| Ok((row.text("nspname")?, row.text("relname")?)));
    let names = names.collect::<Result<Vec<_>>>()?;
    match names.into_iter().find(|name| locked.contains(name)) {
        Some((schema, name)) => {
            let table = qualified(schema, name);
            let message = format!("table {table} was rewritten after the snapshot was taken");
            Err(Error::new(ErrorKind::Changed, message)
                .hint("Export a new snapshot: this one does not see the table's rows any more."))
        }
        None => Ok(()),
    }
}
