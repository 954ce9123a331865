//! Collations, and conversions between encodings.

use crate::Result;
use crate::catalog::context::Context;
use crate::catalog::objects::schemas::USER_SCHEMA;
use crate::catalog::source::Owner;
use crate::catalog::{Address, Draft};
use crate::postgres::{Row, literal, qualified};
use pgkeep_format::entry::{Kind, Section};

/// Every collation and conversion.
pub(in crate::catalog) async fn read(context: &Context<'_>) -> Result<Vec<Draft>> {
    let mut drafts = collations(context).await?;
    drafts.extend(conversions(context).await?);
    Ok(drafts)
}

async fn collations(context: &Context<'_>) -> Result<Vec<Draft>> {
    // Before 15 the locale of an ICU collation was where that of a libc one is.
    let locale = match context.major() {
        ..=14 => "CASE c.collprovider WHEN 'i' THEN c.collcollate END AS locale, NULL AS rules",
        15 => "c.colliculocale AS locale, NULL AS rules",
        16 => "c.colliculocale AS locale, c.collicurules AS rules",
        _ => "c.colllocale AS locale, c.collicurules AS rules",
    };
    // Rows for other encodings than the database's cannot be used in it.
    let rows = context
        .ask(
            Owner::object("pg_collation", "oid"),
            &format!(
                "SELECT c.oid, n.nspname, c.collname, r.rolname AS owner, c.collprovider, \
                    c.collisdeterministic, c.collcollate, c.collctype, {locale} \
             FROM pg_catalog.pg_collation c \
             JOIN pg_catalog.pg_namespace n ON n.oid = c.collnamespace \
             LEFT JOIN pg_catalog.pg_roles r ON r.oid = c.collowner \
             WHERE {USER_SCHEMA} AND c.collencoding IN (-1, ( \
               SELECT d.encoding FROM pg_catalog.pg_database d \
               WHERE d.datname = pg_catalog.current_database())) \
             ORDER BY n.nspname, c.collname"
            ),
        )
        .await?;
    let mut drafts = Vec::new();
    for row in &rows {
        let address = Address::new("pg_collation", row.parse("oid")?);
        if context.extension_of(address).is_none() {
            drafts.push(collation(address, row)?);
        }
    }
    Ok(drafts)
}

fn collation(address: Address, row: &Row) -> Result<Draft> {
    let (schema, name) = (row.text("nspname")?, row.text("collname")?);
    let mut options = Vec::new();
    let provider = match row.text("collprovider")? {
        "i" => "icu",
        "b" => "builtin",
        "d" => "default",
        _ => "libc",
    };
    options.push(format!("PROVIDER = {provider}"));
    if !row.bool("collisdeterministic")? {
        options.push("DETERMINISTIC = false".to_owned());
    }
    if let Some(locale) = row.optional("locale")? {
        options.push(format!("LOCALE = {}", literal(locale)));
    } else {
        for (option, column) in [("LC_COLLATE", "collcollate"), ("LC_CTYPE", "collctype")] {
            if let Some(locale) = row.optional(column)? {
                options.push(format!("{option} = {}", literal(locale)));
            }
        }
    }
    if let Some(rules) = row.optional("rules")? {
        options.push(format!("RULES = {}", literal(rules)));
    }
    let target = format!("COLLATION {}", qualified(schema, name));
    let mut draft = Draft::new(Kind::Collation, Section::PreData, Some(schema), name);
    draft.address = Some(address);
    draft.owner = row.optional("owner")?.map(str::to_owned);
    draft.body = format!("CREATE {target} ({});", options.join(", ")).into();
    draft.drop = Some(format!("DROP {target};"));
    draft.target = Some(target);
    Ok(draft)
}

async fn conversions(context: &Context<'_>) -> Result<Vec<Draft>> {
    let rows = context
        .ask(
            Owner::object("pg_conversion", "oid"),
            &format!(
                "SELECT c.oid, n.nspname, c.conname, r.rolname AS owner, c.condefault, \
                    pg_catalog.pg_encoding_to_char(c.conforencoding) AS source, \
                    pg_catalog.pg_encoding_to_char(c.contoencoding) AS target, \
                    c.conproc::pg_catalog.regproc AS function \
             FROM pg_catalog.pg_conversion c \
             JOIN pg_catalog.pg_namespace n ON n.oid = c.connamespace \
             LEFT JOIN pg_catalog.pg_roles r ON r.oid = c.conowner \
             WHERE {USER_SCHEMA} ORDER BY n.nspname, c.conname"
            ),
        )
        .await?;
    let mut drafts = Vec::new();
    for row in &rows {
        let address = Address::new("pg_conversion", row.parse("oid")?);
        if context.extension_of(address).is_some() {
            continue;
        }
        let (schema, name) = (row.text("nspname")?, row.text("conname")?);
        let target = format!("CONVERSION {}", qualified(schema, name));
        let mut draft = Draft::new(Kind::Conversion, Section::PreData, Some(schema), name);
        draft.address = Some(address);
        draft.owner = row.optional("owner")?.map(str::to_owned);
        draft.body = format!(
            "CREATE {}{target} FOR {} TO {} FROM {};",
            if row.bool("condefault")? { "DEFAULT " } else { "" },
            literal(row.text("source")?),
            literal(row.text("target")?),
            row.text("function")?
        )
        .into();
        draft.drop = Some(format!("DROP {target};"));
        draft.target = Some(target);
        drafts.push(draft);
    }
    Ok(drafts)
}
