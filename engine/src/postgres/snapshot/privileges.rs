//! Whether the role may read what is to be locked: `LOCK TABLE` would name only the first table
//! that it may not, this names all of them.

use crate::postgres::{Session, identifier, literal};
use crate::{Error, ErrorKind, Result};

/// Tables asked about by one query.
const TABLES_PER_QUERY: usize = 500;

/// A table that cannot be read is found before anything is copied, and all of them at
/// once.
pub(super) async fn check(session: &Session, tables: &[(String, String)]) -> Result<()> {
    let mut denied = Vec::new();
    for batch in tables.chunks(TABLES_PER_QUERY) {
        let names =
            batch.iter().map(|(schema, name)| format!("({}, {})", literal(schema), literal(name)));
        let sql = format!(
            "SELECT n.nspname, c.relname FROM pg_catalog.pg_class c \
             JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
             WHERE (n.nspname, c.relname) IN (VALUES {}) \
             AND NOT (pg_catalog.has_schema_privilege(n.oid, 'USAGE') \
                      AND pg_catalog.has_table_privilege(c.oid, 'SELECT')) \
             ORDER BY 1, 2",
            names.collect::<Vec<_>>().join(", ")
        );
        for row in session.query(&sql).await? {
            denied.push(format!("\"{}.{}\"", row.text("nspname")?, row.text("relname")?));
        }
    }
    if denied.is_empty() {
        return Ok(());
    }
    let user = session.settings().user().to_owned();
    let message = format!("role \"{user}\" may not read {}", denied.join(", "));
    Err(Error::new(ErrorKind::Privilege, message).hint(format!(
        "Grant it: GRANT pg_read_all_data TO {}; or leave the tables out with -T.",
        identifier(&user)
    )))
}
