//! Functions and procedures of any language. The server writes their definition
//! (`pg_get_functiondef`); aggregates are in `aggregates`.

use crate::catalog::array;
use crate::catalog::context::Context;
use crate::catalog::objects::schemas::USER_SCHEMA;
use crate::catalog::source::Owner;
use crate::catalog::{Address, Draft, Privileges};
use crate::postgres::{Row, qualified};
use crate::{Error, ErrorKind, Result};
use pgkeep_format::entry::{Kind, Section};

/// Every function and procedure that is not made together with a type.
pub(in crate::catalog) async fn read(context: &Context<'_>) -> Result<Vec<Draft>> {
    let rows = context
        .ask(
            Owner::object("pg_proc", "oid"),
            &format!(
                "SELECT {COLUMNS}, pg_catalog.pg_get_functiondef(p.oid) AS definition \
             FROM {FROM} \
             WHERE p.prokind <> 'a' AND {USER_SCHEMA} \
             AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d \
               WHERE d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass \
               AND d.objid = p.oid AND d.deptype = 'i') \
             ORDER BY n.nspname, p.proname, types"
            ),
        )
        .await?;
    let mut drafts = Vec::new();
    for row in &rows {
        let address = Address::new("pg_proc", row.parse("oid")?);
        if context.extension_of(address).is_none() {
            drafts.push(function(context, address, row)?);
        }
    }
    Ok(drafts)
}

/// Columns of `pg_proc p` that all kinds of routine share, from [`FROM`].
pub(in crate::catalog) const COLUMNS: &str = "p.oid, n.nspname, p.proname, p.prokind, r.rolname AS owner, \
    p.proacl AS acl, pg_catalog.acldefault('f', p.proowner) AS standard, \
    pg_catalog.pg_get_function_identity_arguments(p.oid) AS arguments, \
    (SELECT coalesce(pg_catalog.string_agg(pg_catalog.format_type(t.type, NULL), ', ' \
            ORDER BY t.position), '') \
     FROM pg_catalog.unnest(p.proargtypes::oid[]) WITH ORDINALITY AS t (type, position) \
    ) AS types";

/// Routines with their schemas and owners.
pub(in crate::catalog) const FROM: &str = "pg_catalog.pg_proc p \
    JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace \
    LEFT JOIN pg_catalog.pg_roles r ON r.oid = p.proowner";

fn function(context: &Context<'_>, address: Address, row: &Row) -> Result<Draft> {
    let procedure = row.text("prokind")? == "p";
    let (kind, word) =
        if procedure { (Kind::Procedure, "PROCEDURE") } else { (Kind::Function, "FUNCTION") };
    // A procedure is found by all its arguments, those that are only returned included.
    let arguments = if procedure { "arguments" } else { "types" };
    let mut draft = routine(address, row, kind)?;
    let name = qualified(row.text("nspname")?, row.text("proname")?);
    let target = format!("{word} {name}({})", row.text(arguments)?);
    let followers = context.depends_on_extension(address, &target);
    draft.body =
        format!("{}\n{followers}", create(row.text("definition")?)?).trim_end().to_owned().into();
    draft.privileges.push(privileges(row, target.clone())?);
    draft.drop = Some(format!("DROP {target};"));
    draft.target = Some(target);
    Ok(draft)
}

/// A routine's draft but for its body, privileges and target.
pub(in crate::catalog) fn routine(address: Address, row: &Row, kind: Kind) -> Result<Draft> {
    let name = format!("{}({})", row.text("proname")?, row.text("types")?);
    let mut draft = Draft::new(kind, Section::PreData, Some(row.text("nspname")?), &name);
    draft.address = Some(address);
    draft.owner = row.optional("owner")?.map(str::to_owned);
    Ok(draft)
}

/// A routine's privileges.
pub(in crate::catalog) fn privileges(row: &Row, target: String) -> Result<Privileges> {
    Ok(Privileges {
        target,
        column: None,
        items: array::optional_elements(row.optional("acl")?)?,
        default: array::optional_elements(row.optional("standard")?)?.unwrap_or_default(),
    })
}

/// The server's definition, made to refuse a function that is there already: replacing one
/// is not what a restore is asked for.
fn create(definition: &str) -> Result<String> {
    let rest = definition.strip_prefix("CREATE OR REPLACE ").ok_or_else(|| {
        Error::new(ErrorKind::Server, "server returned a malformed function definition")
    })?;
    Ok(format!("CREATE {};", rest.trim_end_matches('\n')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_is_created_and_never_replaced() {
        let definition = "CREATE OR REPLACE FUNCTION s.f()\n AS $$OR REPLACE$$\n";
        assert_eq!(create(definition).unwrap(), "CREATE FUNCTION s.f()\n AS $$OR REPLACE$$;");
        assert!(create("DROP FUNCTION s.f()").is_err());
    }
}
