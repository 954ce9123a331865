//! Text search: parsers, templates, dictionaries and configurations.

use crate::Result;
use crate::catalog::context::Context;
use crate::catalog::objects::schemas::USER_SCHEMA;
use crate::catalog::source::Owner;
use crate::catalog::{Address, Draft};
use crate::postgres::{Row, identifier, qualified};
use pgkeep_format::entry::{Kind, Section};
use std::collections::HashMap;

/// Every text search object.
pub(in crate::catalog) async fn read(context: &Context<'_>) -> Result<Vec<Draft>> {
    let mut drafts = made_of_functions(context, &PARSER).await?;
    drafts.extend(made_of_functions(context, &TEMPLATE).await?);
    drafts.extend(dictionaries(context).await?);
    drafts.extend(configurations(context).await?);
    Ok(drafts)
}

/// An object that is no more than its functions.
struct MadeOfFunctions {
    catalog: &'static str,
    kind: Kind,
    word: &'static str,
    /// Beginning of all column names.
    prefix: &'static str,
    /// Options of CREATE, each the rest of the column's name.
    functions: &'static [(&'static str, &'static str)],
}

const PARSER: MadeOfFunctions = MadeOfFunctions {
    catalog: "pg_ts_parser",
    kind: Kind::TextSearchParser,
    word: "TEXT SEARCH PARSER",
    prefix: "prs",
    functions: &[
        ("START", "start"),
        ("GETTOKEN", "token"),
        ("END", "end"),
        ("HEADLINE", "headline"),
        ("LEXTYPES", "lextype"),
    ],
};

const TEMPLATE: MadeOfFunctions = MadeOfFunctions {
    catalog: "pg_ts_template",
    kind: Kind::TextSearchTemplate,
    word: "TEXT SEARCH TEMPLATE",
    prefix: "tmpl",
    functions: &[("INIT", "init"), ("LEXIZE", "lexize")],
};

async fn made_of_functions(context: &Context<'_>, sort: &MadeOfFunctions) -> Result<Vec<Draft>> {
    let MadeOfFunctions { catalog, prefix, functions, .. } = sort;
    let columns: Vec<String> = functions
        .iter()
        .map(|(_, name)| format!("nullif(o.{prefix}{name}::pg_catalog.text, '-') AS \"{name}\""))
        .collect();
    let rows = context
        .ask(
            Owner::object(catalog, "oid"),
            &format!(
                "SELECT o.oid, n.nspname, o.{prefix}name AS name, NULL AS owner, {} \
             FROM pg_catalog.{catalog} o \
             JOIN pg_catalog.pg_namespace n ON n.oid = o.{prefix}namespace \
             WHERE {USER_SCHEMA} ORDER BY n.nspname, o.{prefix}name",
                columns.join(", ")
            ),
        )
        .await?;
    let mut drafts = Vec::new();
    for row in &rows {
        let address = Address::new(catalog, row.parse("oid")?);
        if context.extension_of(address).is_some() {
            continue;
        }
        let (mut draft, target) = named(address, row, sort.kind, sort.word)?;
        let mut options = Vec::new();
        for (option, column) in *functions {
            if let Some(function) = row.optional(column)? {
                options.push(format!("{option} = {function}"));
            }
        }
        draft.body = format!("CREATE {target} ({});", options.join(", ")).into();
        drafts.push(draft);
    }
    Ok(drafts)
}

async fn dictionaries(context: &Context<'_>) -> Result<Vec<Draft>> {
    let rows = context
        .ask(
            Owner::object("pg_ts_dict", "oid"),
            &format!(
                "SELECT d.oid, n.nspname, d.dictname AS name, r.rolname AS owner, \
                    tn.nspname AS template_schema, t.tmplname, d.dictinitoption \
             FROM pg_catalog.pg_ts_dict d \
             JOIN pg_catalog.pg_namespace n ON n.oid = d.dictnamespace \
             JOIN pg_catalog.pg_ts_template t ON t.oid = d.dicttemplate \
             JOIN pg_catalog.pg_namespace tn ON tn.oid = t.tmplnamespace \
             LEFT JOIN pg_catalog.pg_roles r ON r.oid = d.dictowner \
             WHERE {USER_SCHEMA} ORDER BY n.nspname, d.dictname"
            ),
        )
        .await?;
    let mut drafts = Vec::new();
    for row in &rows {
        let address = Address::new("pg_ts_dict", row.parse("oid")?);
        if context.extension_of(address).is_some() {
            continue;
        }
        let (mut draft, target) =
            named(address, row, Kind::TextSearchDictionary, "TEXT SEARCH DICTIONARY")?;
        let template = qualified(row.text("template_schema")?, row.text("tmplname")?);
        // The catalog keeps the options as SQL already.
        let options = row.optional("dictinitoption")?.filter(|options| !options.is_empty());
        let options = options.map(|options| format!(", {options}")).unwrap_or_default();
        draft.body = format!("CREATE {target} (TEMPLATE = {template}{options});").into();
        drafts.push(draft);
    }
    Ok(drafts)
}

async fn configurations(context: &Context<'_>) -> Result<Vec<Draft>> {
    let rows = context
        .ask(
            Owner::object("pg_ts_config", "oid"),
            &format!(
                "SELECT c.oid, n.nspname, c.cfgname AS name, r.rolname AS owner, \
                    pn.nspname AS parser_schema, p.prsname \
             FROM pg_catalog.pg_ts_config c \
             JOIN pg_catalog.pg_namespace n ON n.oid = c.cfgnamespace \
             JOIN pg_catalog.pg_ts_parser p ON p.oid = c.cfgparser \
             JOIN pg_catalog.pg_namespace pn ON pn.oid = p.prsnamespace \
             LEFT JOIN pg_catalog.pg_roles r ON r.oid = c.cfgowner \
             WHERE {USER_SCHEMA} ORDER BY n.nspname, c.cfgname"
            ),
        )
        .await?;
    let mut mappings = mappings(context).await?;
    let mut drafts = Vec::new();
    for row in &rows {
        let address = Address::new("pg_ts_config", row.parse("oid")?);
        if context.extension_of(address).is_some() {
            continue;
        }
        let (mut draft, target) =
            named(address, row, Kind::TextSearchConfiguration, "TEXT SEARCH CONFIGURATION")?;
        let parser = qualified(row.text("parser_schema")?, row.text("prsname")?);
        let mut sql = format!("CREATE {target} (PARSER = {parser});");
        for (token, dictionaries) in mappings.remove(&address.oid).unwrap_or_default() {
            let token = identifier(&token);
            sql.push_str(&format!("\nALTER {target} ADD MAPPING FOR {token} WITH {dictionaries};"));
        }
        draft.body = sql.into();
        drafts.push(draft);
    }
    Ok(drafts)
}

/// Which dictionaries see which sort of token, by configuration.
async fn mappings(context: &Context<'_>) -> Result<HashMap<u32, Vec<(String, String)>>> {
    let rows = context
        .ask(
            Owner::object("pg_ts_config", "oid"),
            &format!(
                "SELECT c.oid, t.alias, pg_catalog.string_agg( \
                      '\"' || pg_catalog.replace(dn.nspname, '\"', '\"\"') || '\".\"' \
                      || pg_catalog.replace(d.dictname, '\"', '\"\"') || '\"', ', ' \
                      ORDER BY m.mapseqno) AS dictionaries \
             FROM pg_catalog.pg_ts_config c \
             JOIN pg_catalog.pg_namespace n ON n.oid = c.cfgnamespace \
             JOIN pg_catalog.pg_ts_config_map m ON m.mapcfg = c.oid \
             JOIN pg_catalog.pg_ts_dict d ON d.oid = m.mapdict \
             JOIN pg_catalog.pg_namespace dn ON dn.oid = d.dictnamespace \
             JOIN LATERAL pg_catalog.ts_token_type(c.cfgparser) AS t (tokid, alias, description) \
               ON t.tokid = m.maptokentype \
             WHERE {USER_SCHEMA} \
             GROUP BY c.oid, m.maptokentype, t.alias ORDER BY c.oid, m.maptokentype"
            ),
        )
        .await?;
    let mut mappings: HashMap<u32, Vec<(String, String)>> = HashMap::new();
    for row in &rows {
        let mapping = (row.text("alias")?.to_owned(), row.text("dictionaries")?.to_owned());
        mappings.entry(row.parse("oid")?).or_default().push(mapping);
    }
    Ok(mappings)
}

/// A draft but for its body, and what ALTER calls it.
fn named(address: Address, row: &Row, kind: Kind, word: &str) -> Result<(Draft, String)> {
    let (schema, name) = (row.text("nspname")?, row.text("name")?);
    let target = format!("{word} {}", qualified(schema, name));
    let mut draft = Draft::new(kind, Section::PreData, Some(schema), name);
    draft.address = Some(address);
    draft.owner = row.optional("owner")?.map(str::to_owned);
    draft.drop = Some(format!("DROP {target};"));
    draft.target = Some(target.clone());
    Ok((draft, target))
}
