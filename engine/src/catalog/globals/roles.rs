//! Roles with their attributes, comments and security labels.

use super::Globals;
use crate::Result;
use crate::postgres::{Row, Session, identifier, literal};
use pgkeep_format::entry::Kind;

/// Attributes that every role may get from whoever may alter it, by the column that tells.
const ATTRIBUTES: &[(&str, &str, &str)] = &[
    ("rolinherit", "INHERIT", "NOINHERIT"),
    ("rolcreaterole", "CREATEROLE", "NOCREATEROLE"),
    ("rolcanlogin", "LOGIN", "NOLOGIN"),
];

/// Attributes that are given by those who have them, or by superusers alone. Each is told apart,
/// and only where a role has it, so that somebody who may not can restore the rest.
const PRIVILEGED: &[(&str, &str)] = &[
    ("rolsuper", "SUPERUSER"),
    ("rolcreatedb", "CREATEDB"),
    ("rolreplication", "REPLICATION"),
    ("rolbypassrls", "BYPASSRLS"),
];

/// All roles but those that the server makes itself.
pub(super) async fn read(session: &Session, passwords: bool, globals: &mut Globals) -> Result<()> {
    let readable = super::may_read_passwords(session).await?;
    if passwords && !readable {
        globals.warnings.push(
            "roles are in the backup without their passwords: the role may not read pg_authid"
                .to_owned(),
        );
    }
    let (catalog, password) = match passwords && readable {
        true => ("pg_authid", "r.rolpassword"),
        false => ("pg_roles", "NULL"),
    };
    let rows = session
        .query(&format!(
            "SELECT r.oid, r.rolname, r.rolsuper, r.rolinherit, r.rolcreaterole, r.rolcreatedb, \
                    r.rolcanlogin, r.rolreplication, r.rolbypassrls, r.rolconnlimit, \
                    r.rolvaliduntil, {password} AS password, \
                    pg_catalog.shobj_description(r.oid, 'pg_authid') AS comment \
             FROM pg_catalog.{catalog} r WHERE r.rolname !~ '^pg_' ORDER BY r.rolname COLLATE \"C\""
        ))
        .await?;
    let labels = session
        .query(
            "SELECT l.objoid, l.provider, l.label FROM pg_catalog.pg_shseclabel l \
             WHERE l.classoid = 'pg_catalog.pg_authid'::pg_catalog.regclass ORDER BY l.provider",
        )
        .await?;
    for row in &rows {
        role(row, passwords && readable, &labels, globals)?;
    }
    Ok(())
}

fn role(row: &Row, with_password: bool, labels: &[Row], globals: &mut Globals) -> Result<()> {
    let name = row.text("rolname")?;
    let quoted = identifier(name);
    let role = globals.add(Kind::Role, name, format!("CREATE ROLE {quoted};"), None);
    let mut attributes = Vec::new();
    for (column, with, without) in ATTRIBUTES {
        attributes.push(if row.bool(column)? { (*with).to_owned() } else { (*without).to_owned() });
    }
    attributes.push(format!("CONNECTION LIMIT {}", row.parse::<i32>("rolconnlimit")?));
    if with_password {
        let password = row.optional("password")?.map_or_else(|| "NULL".to_owned(), literal);
        attributes.push(format!("PASSWORD {password}"));
    }
    if let Some(until) = row.optional("rolvaliduntil")? {
        attributes.push(format!("VALID UNTIL {}", literal(until)));
    }
    let alter = format!("ALTER ROLE {quoted} WITH {};", attributes.join(" "));
    globals.add(Kind::RoleAttributes, name, alter, Some(role));
    for (column, attribute) in PRIVILEGED {
        if row.bool(column)? {
            let alter = format!("ALTER ROLE {quoted} WITH {attribute};");
            globals.add(Kind::RoleAttributes, name, alter, Some(role));
        }
    }
    if let Some(comment) = row.optional("comment")? {
        let sql = format!("COMMENT ON ROLE {quoted} IS {};", literal(comment));
        globals.add(Kind::Comment, &format!("ROLE {name}"), sql, Some(role));
    }
    let oid = row.text("oid")?;
    for label in labels {
        if label.text("objoid")? == oid {
            let sql = format!(
                "SECURITY LABEL FOR {} ON ROLE {quoted} IS {};",
                identifier(label.text("provider")?),
                literal(label.text("label")?)
            );
            globals.add(Kind::SecurityLabel, &format!("ROLE {name}"), sql, Some(role));
        }
    }
    Ok(())
}
