//! Base types: those that functions of their own read and write. These functions name the
//! type before it is made; the shell that this needs is made where the circle is found.

use crate::Result;
use crate::catalog::context::Context;
use crate::catalog::objects::schemas::USER_SCHEMA;
use crate::catalog::objects::types;
use crate::catalog::source::Owner;
use crate::catalog::{Address, Draft};
use crate::postgres::{Row, literal, qualified};
use pgkeep_format::entry::Kind;

/// Every base type that is no other's array type.
pub(in crate::catalog) async fn read(context: &Context<'_>) -> Result<Vec<Draft>> {
    let functions: Vec<String> = FUNCTIONS
        .iter()
        .map(|(_, column)| format!("nullif(t.{column}::pg_catalog.text, '-') AS {column}"))
        .collect();
    let rows = context
        .ask(
            Owner::object("pg_type", "oid"),
            &format!(
                "SELECT {}, {}, t.typlen, t.typbyval, t.typalign, t.typstorage, t.typcategory, \
                    t.typispreferred, t.typdelim, t.typdefault, t.typcollation <> 0 AS collatable, \
                    pg_catalog.pg_get_expr(t.typdefaultbin, 0) AS default_expression, \
                    CASE WHEN t.typelem <> 0 \
                      THEN pg_catalog.format_type(t.typelem, NULL) END AS element \
             FROM {} \
             WHERE t.typtype = 'b' AND {USER_SCHEMA} AND NOT EXISTS ( \
               SELECT FROM pg_catalog.pg_type e WHERE e.typarray = t.oid) \
             ORDER BY n.nspname, t.typname",
                types::COLUMNS,
                functions.join(", "),
                types::FROM
            ),
        )
        .await?;
    let mut drafts = Vec::new();
    for row in &rows {
        if context.extension_of(Address::new("pg_type", row.parse("oid")?)).is_none() {
            let mut draft = types::named(row, Kind::Type, "TYPE")?;
            let name = qualified(row.text("nspname")?, row.text("typname")?);
            let options = options(row)?.join(",\n    ");
            draft.body = format!("CREATE TYPE {name} (\n    {options}\n);").into();
            drafts.push(draft);
        }
    }
    Ok(drafts)
}

/// Options of CREATE TYPE that name a function, and the columns that hold it.
const FUNCTIONS: &[(&str, &str)] = &[
    ("INPUT", "typinput"),
    ("OUTPUT", "typoutput"),
    ("RECEIVE", "typreceive"),
    ("SEND", "typsend"),
    ("TYPMOD_IN", "typmodin"),
    ("TYPMOD_OUT", "typmodout"),
    ("ANALYZE", "typanalyze"),
    ("SUBSCRIPT", "typsubscript"),
];

fn options(row: &Row) -> Result<Vec<String>> {
    let mut options = vec![match row.text("typlen")? {
        "-1" => "INTERNALLENGTH = VARIABLE".to_owned(),
        length => format!("INTERNALLENGTH = {length}"),
    }];
    for (option, column) in FUNCTIONS {
        if let Some(function) = row.optional(column)? {
            options.push(format!("{option} = {function}"));
        }
    }
    if let Some(expression) = row.optional("default_expression")? {
        options.push(format!("DEFAULT = {expression}"));
    } else if let Some(value) = row.optional("typdefault")? {
        options.push(format!("DEFAULT = {}", literal(value)));
    }
    if let Some(element) = row.optional("element")? {
        options.push(format!("ELEMENT = {element}"));
    }
    options.push(format!("CATEGORY = {}", literal(row.text("typcategory")?)));
    options.push(format!("DELIMITER = {}", literal(row.text("typdelim")?)));
    let alignment = match row.text("typalign")? {
        "c" => "char",
        "s" => "int2",
        "d" => "double",
        _ => "int4",
    };
    options.push(format!("ALIGNMENT = {alignment}"));
    let storage = match row.text("typstorage")? {
        "e" => "external",
        "x" => "extended",
        "m" => "main",
        _ => "plain",
    };
    options.push(format!("STORAGE = {storage}"));
    for (option, column) in [("PREFERRED", "typispreferred"), ("COLLATABLE", "collatable")] {
        if row.bool(column)? {
            options.push(format!("{option} = true"));
        }
    }
    if row.bool("typbyval")? {
        options.push("PASSEDBYVALUE".to_owned());
    }
    Ok(options)
}
