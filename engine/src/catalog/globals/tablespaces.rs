//! Tablespaces: where they are, their owner, options, comment, privileges. Their directories
//! must be there before a restore; nothing here makes directories.

use super::Globals;
use crate::Result;
use crate::catalog::satellites::{acl, roles};
use crate::catalog::source::Source;
use crate::catalog::{Privileges, array};
use crate::postgres::{Row, Session, identifier, literal};
use pgkeep_format::entry::Kind;
use std::collections::HashSet;

/// All tablespaces but the two that `initdb` makes.
pub(super) async fn read(session: &Session, globals: &mut Globals) -> Result<()> {
    let roles = roles(&Source::Server(session)).await?;
    // In place tablespaces (a developers' option) lie below the data directory.
    let rows = session
        .query(
            "SELECT t.spcname, pg_catalog.pg_get_userbyid(t.spcowner) AS owner, \
                    CASE WHEN l.location LIKE 'pg\\_tblspc/%' THEN '' ELSE l.location END AS location, \
                    (SELECT pg_catalog.string_agg(pg_catalog.quote_ident(o.option_name) || '=' \
                            || pg_catalog.quote_literal(o.option_value), ', ') \
                     FROM pg_catalog.pg_options_to_table(t.spcoptions) o) AS options, \
                    t.spcacl, pg_catalog.acldefault('t', t.spcowner) AS standard, \
                    pg_catalog.shobj_description(t.oid, 'pg_tablespace') AS comment \
             FROM pg_catalog.pg_tablespace t, \
                  LATERAL (SELECT pg_catalog.pg_tablespace_location(t.oid) AS location) l \
             WHERE t.spcname !~ '^pg_' ORDER BY t.spcname COLLATE \"C\"",
        )
        .await?;
    for row in &rows {
        tablespace(row, &roles, globals)?;
    }
    Ok(())
}

fn tablespace(row: &Row, roles: &HashSet<String>, globals: &mut Globals) -> Result<()> {
    let (name, owner) = (row.text("spcname")?, row.text("owner")?);
    let quoted = identifier(name);
    // One statement: no other may stand beside it in a transaction.
    let create = format!(
        "CREATE TABLESPACE {quoted} OWNER {} LOCATION {};",
        identifier(owner),
        literal(row.text("location")?)
    );
    let tablespace = globals.add(Kind::Tablespace, name, create, None);
    if let Some(options) = row.optional("options")? {
        let sql = format!("ALTER TABLESPACE {quoted} SET ({options});");
        globals.add(Kind::TablespaceOptions, name, sql, Some(tablespace));
    }
    if let Some(comment) = row.optional("comment")? {
        let sql = format!("COMMENT ON TABLESPACE {quoted} IS {};", literal(comment));
        globals.add(Kind::Comment, &format!("TABLESPACE {name}"), sql, Some(tablespace));
    }
    let privileges = Privileges {
        target: format!("TABLESPACE {quoted}"),
        column: None,
        items: array::optional_elements(row.optional("spcacl")?)?,
        default: array::optional_elements(row.optional("standard")?)?.unwrap_or_default(),
    };
    let sql = acl::statements(&privileges, Some(owner), "", |role| roles.contains(role))?;
    if !sql.is_empty() {
        globals.add(Kind::Acl, &format!("TABLESPACE {name}"), sql, Some(tablespace));
    }
    Ok(())
}
