//! Settings of roles in all databases, and of all roles. Those of a database, and of a role in
//! one database, belong to the database.

use super::Globals;
use crate::Result;
use crate::catalog::array;
use crate::catalog::objects::properties::assignments;
use crate::postgres::{Session, identifier};
use pgkeep_format::entry::Kind;

/// All settings.
pub(super) async fn read(session: &Session, globals: &mut Globals) -> Result<()> {
    let rows = session
        .query(
            "SELECT r.rolname, s.setrole = 0 AS everybody, s.setconfig \
             FROM pg_catalog.pg_db_role_setting s \
             LEFT JOIN pg_catalog.pg_roles r ON r.oid = s.setrole \
             WHERE s.setdatabase = 0 ORDER BY r.rolname COLLATE \"C\" NULLS FIRST",
        )
        .await?;
    for row in &rows {
        let (whom, name) = match row.optional("rolname")? {
            Some(name) => (format!("ROLE {}", identifier(name)), name.to_owned()),
            None if row.bool("everybody")? => ("ROLE ALL".to_owned(), "ALL".to_owned()),
            None => continue,
        };
        let settings = array::optional_elements(row.optional("setconfig")?)?.unwrap_or_default();
        for sql in assignments(&whom, &settings) {
            globals.add(Kind::RoleSetting, &name, sql, None);
        }
    }
    Ok(())
}
