//! Aggregates: plain, ordered-set and hypothetical-set, with moving-aggregate and partial
//! modes.

use crate::Result;
use crate::catalog::context::Context;
use crate::catalog::objects::functions::{self, privileges, routine};
use crate::catalog::objects::schemas::USER_SCHEMA;
use crate::catalog::source::Owner;
use crate::catalog::{Address, Draft};
use crate::postgres::{Row, literal, qualified};
use pgkeep_format::entry::Kind;

/// Every aggregate.
pub(in crate::catalog) async fn read(context: &Context<'_>) -> Result<Vec<Draft>> {
    let regproc: Vec<String> = FUNCTIONS
        .iter()
        .map(|(_, column)| {
            format!("nullif(a.{column}::pg_catalog.regproc::pg_catalog.text, '-') AS {column}")
        })
        .collect();
    let rows = context
        .ask(
            Owner::object("pg_proc", "oid"),
            &format!(
                "SELECT {}, {}, a.aggkind, p.proparallel, \
                    pg_catalog.pg_get_function_arguments(p.oid) AS full_arguments, \
                    pg_catalog.format_type(a.aggtranstype, NULL) AS state_type, a.aggtransspace, \
                    CASE WHEN a.aggmtranstype <> 0 \
                      THEN pg_catalog.format_type(a.aggmtranstype, NULL) END AS moving_type, \
                    a.aggmtransspace, a.aggfinalextra, a.aggmfinalextra, a.aggfinalmodify, \
                    a.aggmfinalmodify, a.agginitval, a.aggminitval, \
                    sn.nspname AS operator_schema, o.oprname \
             FROM {} \
             JOIN pg_catalog.pg_aggregate a ON a.aggfnoid = p.oid \
             LEFT JOIN pg_catalog.pg_operator o ON o.oid = a.aggsortop \
             LEFT JOIN pg_catalog.pg_namespace sn ON sn.oid = o.oprnamespace \
             WHERE p.prokind = 'a' AND {USER_SCHEMA} \
             ORDER BY n.nspname, p.proname, types",
                functions::COLUMNS,
                regproc.join(", "),
                functions::FROM
            ),
        )
        .await?;
    let mut drafts = Vec::new();
    for row in &rows {
        let address = Address::new("pg_proc", row.parse("oid")?);
        if context.extension_of(address).is_none() {
            drafts.push(aggregate(address, row)?);
        }
    }
    Ok(drafts)
}

/// Options of CREATE AGGREGATE that name a function, and the columns that hold it.
const FUNCTIONS: &[(&str, &str)] = &[
    ("SFUNC", "aggtransfn"),
    ("FINALFUNC", "aggfinalfn"),
    ("COMBINEFUNC", "aggcombinefn"),
    ("SERIALFUNC", "aggserialfn"),
    ("DESERIALFUNC", "aggdeserialfn"),
    ("MSFUNC", "aggmtransfn"),
    ("MINVFUNC", "aggminvtransfn"),
    ("MFINALFUNC", "aggmfinalfn"),
];

fn aggregate(address: Address, row: &Row) -> Result<Draft> {
    let mut draft = routine(address, row, Kind::Aggregate)?;
    let name = qualified(row.text("nspname")?, row.text("proname")?);
    let signature = |arguments: &str| match arguments {
        "" => format!("{name}(*)"),
        some => format!("{name}({some})"),
    };
    let target = format!("AGGREGATE {}", signature(row.text("arguments")?));
    draft.body = format!(
        "CREATE AGGREGATE {} (\n    {}\n);",
        signature(row.text("full_arguments")?),
        options(row)?.join(",\n    ")
    )
    .into();
    // GRANT knows aggregates only as functions.
    let function = format!("FUNCTION {name}({})", row.text("types")?);
    draft.privileges.push(privileges(row, function)?);
    draft.drop = Some(format!("DROP {target};"));
    draft.target = Some(target);
    Ok(draft)
}

fn options(row: &Row) -> Result<Vec<String>> {
    let mut options = vec![format!("STYPE = {}", row.text("state_type")?)];
    for (option, column) in FUNCTIONS {
        if let Some(function) = row.optional(column)? {
            options.push(format!("{option} = {function}"));
        }
    }
    if let Some(moving) = row.optional("moving_type")? {
        options.push(format!("MSTYPE = {moving}"));
    }
    for (option, column) in [("SSPACE", "aggtransspace"), ("MSSPACE", "aggmtransspace")] {
        let space: i64 = row.parse(column)?;
        if space != 0 {
            options.push(format!("{option} = {space}"));
        }
    }
    for (option, column) in [("INITCOND", "agginitval"), ("MINITCOND", "aggminitval")] {
        if let Some(value) = row.optional(column)? {
            options.push(format!("{option} = {}", literal(value)));
        }
    }
    final_functions(row, &mut options)?;
    if let (Some(schema), Some(name)) = (row.optional("operator_schema")?, row.optional("oprname")?)
    {
        options.push(format!("SORTOP = OPERATOR({}.{name})", crate::postgres::identifier(schema)));
    }
    match row.text("proparallel")? {
        "s" => options.push("PARALLEL = SAFE".to_owned()),
        "r" => options.push("PARALLEL = RESTRICTED".to_owned()),
        _ => {}
    }
    if row.text("aggkind")? == "h" {
        options.push("HYPOTHETICAL".to_owned());
    }
    Ok(options)
}

/// How the final functions are called; the default differs by the aggregate's kind, so it
/// is always told.
fn final_functions(row: &Row, options: &mut Vec<String>) -> Result<()> {
    let functions = [
        ("FINALFUNC", "aggfinalfn", "aggfinalextra", "aggfinalmodify"),
        ("MFINALFUNC", "aggmfinalfn", "aggmfinalextra", "aggmfinalmodify"),
    ];
    for (option, function, extra, modify) in functions {
        if row.optional(function)?.is_none() {
            continue;
        }
        if row.bool(extra)? {
            options.push(format!("{option}_EXTRA"));
        }
        let modify = match row.text(modify)? {
            "s" => "SHAREABLE",
            "w" => "READ_WRITE",
            _ => "READ_ONLY",
        };
        options.push(format!("{option}_MODIFY = {modify}"));
    }
    Ok(())
}
