//! Privileges on parameters (GRANT … ON PARAMETER), since 15.

use super::Globals;
use crate::Result;
use crate::catalog::satellites::{acl, roles};
use crate::catalog::source::Source;
use crate::catalog::{Privileges, array};
use crate::postgres::{Session, identifier};
use pgkeep_format::entry::Kind;

/// All privileges on parameters.
pub(super) async fn read(session: &Session, globals: &mut Globals) -> Result<()> {
    if session.major() < 15 {
        return Ok(());
    }
    let roles = roles(&Source::Server(session)).await?;
    let rows = session
        .query(
            "SELECT p.parname, p.paracl, pg_catalog.acldefault('p', 10) AS standard, \
                    pg_catalog.pg_get_userbyid(10) AS owner \
             FROM pg_catalog.pg_parameter_acl p ORDER BY p.parname COLLATE \"C\"",
        )
        .await?;
    for row in &rows {
        let name = row.text("parname")?;
        let privileges = Privileges {
            target: format!("PARAMETER {}", identifier(name)),
            column: None,
            items: array::optional_elements(row.optional("paracl")?)?,
            default: array::optional_elements(row.optional("standard")?)?.unwrap_or_default(),
        };
        let exists = |role: &str| roles.contains(role);
        let sql = acl::statements(&privileges, Some(row.text("owner")?), "", exists)?;
        if !sql.is_empty() {
            globals.add(Kind::Acl, &format!("PARAMETER {name}"), sql, None);
        }
    }
    Ok(())
}
