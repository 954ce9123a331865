//! Operators. A commutator or negator that is not there yet is made by the server as a
//! name alone, and filled in when its own entry comes.

use crate::Result;
use crate::catalog::context::Context;
use crate::catalog::objects::schemas::USER_SCHEMA;
use crate::catalog::source::Owner;
use crate::catalog::{Address, Draft};
use crate::postgres::{Row, identifier};
use pgkeep_format::entry::{Kind, Section};

/// Every operator that has a function; one without is only a name that another operator
/// mentions.
pub(in crate::catalog) async fn read(context: &Context<'_>) -> Result<Vec<Draft>> {
    let rows = context
        .ask(
            Owner::object("pg_operator", "oid"),
            &format!(
                "SELECT o.oid, n.nspname, o.oprname, r.rolname AS owner, \
                    CASE WHEN o.oprleft <> 0 \
                      THEN pg_catalog.format_type(o.oprleft, NULL) END AS left_type, \
                    CASE WHEN o.oprright <> 0 \
                      THEN pg_catalog.format_type(o.oprright, NULL) END AS right_type, \
                    o.oprcode::pg_catalog.regproc AS function, \
                    nullif(o.oprrest::pg_catalog.text, '-') AS restrict_function, \
                    nullif(o.oprjoin::pg_catalog.text, '-') AS join_function, \
                    o.oprcanmerge, o.oprcanhash, \
                    cn.nspname AS commutator_schema, c.oprname AS commutator, \
                    gn.nspname AS negator_schema, g.oprname AS negator \
             FROM pg_catalog.pg_operator o \
             JOIN pg_catalog.pg_namespace n ON n.oid = o.oprnamespace \
             LEFT JOIN pg_catalog.pg_roles r ON r.oid = o.oprowner \
             LEFT JOIN pg_catalog.pg_operator c ON c.oid = o.oprcom \
             LEFT JOIN pg_catalog.pg_namespace cn ON cn.oid = c.oprnamespace \
             LEFT JOIN pg_catalog.pg_operator g ON g.oid = o.oprnegate \
             LEFT JOIN pg_catalog.pg_namespace gn ON gn.oid = g.oprnamespace \
             WHERE o.oprcode <> 0 AND {USER_SCHEMA} \
             ORDER BY n.nspname, o.oprname, left_type, right_type"
            ),
        )
        .await?;
    let mut drafts = Vec::new();
    for row in &rows {
        let address = Address::new("pg_operator", row.parse("oid")?);
        if context.extension_of(address).is_none() {
            drafts.push(operator(address, row)?);
        }
    }
    Ok(drafts)
}

fn operator(address: Address, row: &Row) -> Result<Draft> {
    let (schema, symbol) = (row.text("nspname")?, row.text("oprname")?);
    let (left, right) = (row.optional("left_type")?, row.optional("right_type")?);
    let operands = format!("({}, {})", left.unwrap_or("NONE"), right.unwrap_or("NONE"));
    // An operator's symbol is never quoted.
    let name = format!("{}.{symbol}", identifier(schema));
    let mut options = vec![format!("FUNCTION = {}", row.text("function")?)];
    options.extend(left.map(|left| format!("LEFTARG = {left}")));
    options.extend(right.map(|right| format!("RIGHTARG = {right}")));
    for (option, symbol, schema) in [
        ("COMMUTATOR", "commutator", "commutator_schema"),
        ("NEGATOR", "negator", "negator_schema"),
    ] {
        if let (Some(symbol), Some(schema)) = (row.optional(symbol)?, row.optional(schema)?) {
            options.push(format!("{option} = OPERATOR({}.{symbol})", identifier(schema)));
        }
    }
    for (option, column) in [("RESTRICT", "restrict_function"), ("JOIN", "join_function")] {
        if let Some(function) = row.optional(column)? {
            options.push(format!("{option} = {function}"));
        }
    }
    for (option, column) in [("MERGES", "oprcanmerge"), ("HASHES", "oprcanhash")] {
        if row.bool(column)? {
            options.push(option.to_owned());
        }
    }
    let entry_name = format!("{symbol} {operands}");
    let target = format!("OPERATOR {name} {operands}");
    let mut draft = Draft::new(Kind::Operator, Section::PreData, Some(schema), &entry_name);
    draft.address = Some(address);
    draft.owner = row.optional("owner")?.map(str::to_owned);
    draft.body = format!("CREATE OPERATOR {name} (\n    {}\n);", options.join(",\n    ")).into();
    draft.drop = Some(format!("DROP {target};"));
    draft.target = Some(target);
    Ok(draft)
}
