//! Foreign data wrappers, servers and user mappings. Options may hold passwords; they are
//! part of the definition, as with `pg_dump`, and the backup seals them.

use crate::Result;
use crate::catalog::array;
use crate::catalog::context::Context;
use crate::catalog::source::Owner;
use crate::catalog::{Address, Draft, Privileges};
use crate::postgres::{Row, identifier, literal};
use pgkeep_format::entry::{Kind, Section};

/// Every foreign data wrapper, server and user mapping.
pub(in crate::catalog) async fn read(context: &Context<'_>) -> Result<Vec<Draft>> {
    let mut drafts = wrappers(context).await?;
    drafts.extend(servers(context).await?);
    drafts.extend(user_mappings(context).await?);
    Ok(drafts)
}

/// An expression for what stands in `OPTIONS (…)`, of a column that holds options; NULL
/// where there are none.
pub(in crate::catalog) fn options(column: &str) -> String {
    format!(
        "(SELECT pg_catalog.string_agg( \
                   '\"' || pg_catalog.replace(o.option_name, '\"', '\"\"') || '\" ' \
                   || pg_catalog.quote_literal(o.option_value), ', ' ORDER BY o.option_name) \
          FROM pg_catalog.pg_options_to_table({column}) o)"
    )
}

fn options_clause(row: &Row) -> Result<String> {
    Ok(row.optional("options")?.map(|list| format!(" OPTIONS ({list})")).unwrap_or_default())
}

async fn wrappers(context: &Context<'_>) -> Result<Vec<Draft>> {
    let rows = context
        .ask(
            Owner::object("pg_foreign_data_wrapper", "oid"),
            &format!(
                "SELECT w.oid, w.fdwname AS name, r.rolname AS owner, w.fdwacl AS acl, \
                    pg_catalog.acldefault('F', w.fdwowner) AS standard, \
                    nullif(w.fdwhandler::pg_catalog.regproc::pg_catalog.text, '-') AS handler, \
                    nullif(w.fdwvalidator::pg_catalog.regproc::pg_catalog.text, '-') AS validator, \
                    {} AS options \
             FROM pg_catalog.pg_foreign_data_wrapper w \
             LEFT JOIN pg_catalog.pg_roles r ON r.oid = w.fdwowner \
             ORDER BY w.fdwname",
                options("w.fdwoptions")
            ),
        )
        .await?;
    let mut drafts = Vec::new();
    for row in &rows {
        let address = Address::new("pg_foreign_data_wrapper", row.parse("oid")?);
        if context.extension_of(address).is_some() {
            continue;
        }
        let word = "FOREIGN DATA WRAPPER";
        let (mut draft, target) = named(address, row, Kind::ForeignDataWrapper, (word, word))?;
        let mut sql = format!("CREATE {target}");
        for option in ["handler", "validator"] {
            if let Some(function) = row.optional(option)? {
                sql.push_str(&format!(" {} {function}", option.to_ascii_uppercase()));
            }
        }
        draft.body = format!("{sql}{};", options_clause(row)?).into();
        drafts.push(draft);
    }
    Ok(drafts)
}

async fn servers(context: &Context<'_>) -> Result<Vec<Draft>> {
    let rows = context
        .ask(
            Owner::object("pg_foreign_server", "oid"),
            &format!(
                "SELECT s.oid, s.srvname AS name, r.rolname AS owner, s.srvacl AS acl, \
                    pg_catalog.acldefault('S', s.srvowner) AS standard, \
                    s.srvtype, s.srvversion, w.fdwname, {} AS options \
             FROM pg_catalog.pg_foreign_server s \
             JOIN pg_catalog.pg_foreign_data_wrapper w ON w.oid = s.srvfdw \
             LEFT JOIN pg_catalog.pg_roles r ON r.oid = s.srvowner \
             ORDER BY s.srvname",
                options("s.srvoptions")
            ),
        )
        .await?;
    let mut drafts = Vec::new();
    for row in &rows {
        let address = Address::new("pg_foreign_server", row.parse("oid")?);
        if context.extension_of(address).is_some() {
            continue;
        }
        let (mut draft, target) = named(address, row, Kind::Server, ("SERVER", "FOREIGN SERVER"))?;
        let mut sql = format!("CREATE {target}");
        for (option, column) in [("TYPE", "srvtype"), ("VERSION", "srvversion")] {
            if let Some(value) = row.optional(column)? {
                sql.push_str(&format!(" {option} {}", literal(value)));
            }
        }
        let wrapper = identifier(row.text("fdwname")?);
        draft.body =
            format!("{sql} FOREIGN DATA WRAPPER {wrapper}{};", options_clause(row)?).into();
        drafts.push(draft);
    }
    Ok(drafts)
}

async fn user_mappings(context: &Context<'_>) -> Result<Vec<Draft>> {
    // The view hides the options of mappings that the role may not see.
    let rows = context
        .ask(
            Owner::object("pg_user_mapping", "oid"),
            &format!(
                "SELECT m.umid AS oid, m.srvname, m.umuser = 0 AS everybody, m.usename, \
                    {} AS options \
             FROM pg_catalog.pg_user_mappings m ORDER BY m.srvname, m.usename",
                options("m.umoptions")
            ),
        )
        .await?;
    let mut drafts = Vec::new();
    for row in &rows {
        let address = Address::new("pg_user_mapping", row.parse("oid")?);
        let Some(user) = row.optional("usename")? else { continue };
        if context.extension_of(address).is_some() {
            continue;
        }
        let server = row.text("srvname")?;
        let role = if row.bool("everybody")? { "PUBLIC".to_owned() } else { identifier(user) };
        let target = format!("USER MAPPING FOR {role} SERVER {}", identifier(server));
        let name = format!("{user} SERVER {server}");
        let mut draft = Draft::new(Kind::UserMapping, Section::PreData, None, &name);
        draft.address = Some(address);
        draft.body = format!("CREATE {target}{};", options_clause(row)?).into();
        draft.drop = Some(format!("DROP {target};"));
        drafts.push(draft);
    }
    Ok(drafts)
}

/// A warning for each user mapping whose options, if it has any, the role may not see; the
/// conditions are those of the view.
pub(in crate::catalog) async fn warnings(context: &Context<'_>) -> Result<Vec<String>> {
    let rows = context
        .source
        .server()?
        .query(
            "SELECT m.srvname, m.usename \
             FROM pg_catalog.pg_user_mappings m \
             JOIN pg_catalog.pg_foreign_server s ON s.oid = m.srvid \
             WHERE m.umoptions IS NULL \
             AND NOT (m.umuser <> 0 AND m.usename = current_user \
                      AND (pg_catalog.pg_has_role(s.srvowner, 'USAGE') \
                           OR pg_catalog.has_server_privilege(s.oid, 'USAGE'))) \
             AND NOT (m.umuser = 0 AND pg_catalog.pg_has_role(s.srvowner, 'USAGE')) \
             AND NOT (SELECT r.rolsuper FROM pg_catalog.pg_roles r \
                      WHERE r.rolname = current_user) \
             ORDER BY m.srvname, m.usename",
        )
        .await?;
    let warn = |row: &Row| {
        Ok(format!(
            "user mapping for \"{}\" on server \"{}\" is in the backup without options: \
             the role may not see them",
            row.optional("usename")?.unwrap_or_default(),
            row.text("srvname")?
        ))
    };
    rows.iter().map(warn).collect()
}

/// A draft but for its body, and what ALTER calls it; `words` are those of ALTER and GRANT.
fn named(address: Address, row: &Row, kind: Kind, words: (&str, &str)) -> Result<(Draft, String)> {
    let name = row.text("name")?;
    let target = format!("{} {}", words.0, identifier(name));
    let mut draft = Draft::new(kind, Section::PreData, None, name);
    draft.address = Some(address);
    draft.owner = row.optional("owner")?.map(str::to_owned);
    draft.privileges.push(Privileges {
        target: format!("{} {}", words.1, identifier(name)),
        column: None,
        items: array::optional_elements(row.optional("acl")?)?,
        default: array::optional_elements(row.optional("standard")?)?.unwrap_or_default(),
    });
    draft.drop = Some(format!("DROP {target};"));
    draft.target = Some(target.clone());
    Ok((draft, target))
}
