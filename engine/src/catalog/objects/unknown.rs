//! The safety net: every object that a user made and no draft makes is named in a warning,
//! whatever its kind.

use crate::Result;
use crate::catalog::context::{Context, catalog};
use crate::catalog::objects::foreign_data;
use crate::catalog::{Address, Draft};
use crate::postgres::literal;
use std::collections::HashSet;

/// One warning for each object that is in the database and in no draft.
pub(in crate::catalog) async fn warnings(
    context: &Context<'_>,
    drafts: &[Draft],
) -> Result<Vec<String>> {
    let mut known: HashSet<Address> = HashSet::new();
    for draft in drafts {
        known.extend(draft.address);
        known.extend(&draft.stands_for);
        known.extend(draft.body.parts().filter_map(|part| part.alone.address));
    }
    let mut unknown = Vec::new();
    for row in context.source.server()?.query(&candidates(context.major())).await? {
        let Some(catalog) = catalog(row.text("catalog")?) else { continue };
        let address = Address::new(catalog, row.parse("oid")?);
        if !known.contains(&address) && context.extension_of(address).is_none() {
            unknown.push(address);
        }
    }
    let mut warnings = describe(context, &unknown).await?;
    warnings.extend(foreign_data::warnings(context).await?);
    Ok(warnings)
}

/// Catalogs of objects that users make, with the condition that leaves out what the server
/// makes itself and what is gone with the session.
const CATALOGS: &[(&str, &str)] = &[
    ("pg_am", "true"),
    ("pg_cast", "true"),
    ("pg_class", "o.relpersistence <> 't' AND o.relkind <> 't'"),
    ("pg_collation", "true"),
    ("pg_conversion", "true"),
    ("pg_default_acl", "true"),
    ("pg_event_trigger", "true"),
    ("pg_extension", "true"),
    ("pg_foreign_data_wrapper", "true"),
    ("pg_foreign_server", "true"),
    ("pg_language", "true"),
    ("pg_namespace", "o.nspname !~ '^pg_(toast_)?temp_'"),
    ("pg_opclass", "true"),
    ("pg_operator", "o.oprcode <> 0"),
    ("pg_opfamily", "true"),
    ("pg_policy", "true"),
    ("pg_proc", "true"),
    ("pg_publication", "true"),
    ("pg_publication_namespace", "true"),
    ("pg_publication_rel", "true"),
    ("pg_rewrite", "o.rulename <> '_RETURN'"),
    ("pg_statistic_ext", "true"),
    (
        "pg_subscription",
        "o.subdbid = (SELECT d.oid FROM pg_catalog.pg_database d \
                         WHERE d.datname = pg_catalog.current_database())",
    ),
    ("pg_transform", "true"),
    ("pg_trigger", "NOT o.tgisinternal AND o.tgparentid = 0"),
    ("pg_ts_config", "true"),
    ("pg_ts_dict", "true"),
    ("pg_ts_parser", "true"),
    ("pg_ts_template", "true"),
    ("pg_type", "true"),
];

/// A query of all that could need a warning: made by a user, not by another object
/// (dependency `i`), not in a schema of temporary objects.
fn candidates(major: u32) -> String {
    let schema_columns = [
        ("pg_class", "relnamespace"),
        ("pg_collation", "collnamespace"),
        ("pg_conversion", "connamespace"),
        ("pg_opclass", "opcnamespace"),
        ("pg_operator", "oprnamespace"),
        ("pg_opfamily", "opfnamespace"),
        ("pg_proc", "pronamespace"),
        ("pg_statistic_ext", "stxnamespace"),
        ("pg_ts_config", "cfgnamespace"),
        ("pg_ts_dict", "dictnamespace"),
        ("pg_ts_parser", "prsnamespace"),
        ("pg_ts_template", "tmplnamespace"),
        ("pg_type", "typnamespace"),
    ];
    let mut parts = Vec::new();
    for (catalog, condition) in CATALOGS {
        if *catalog == "pg_publication_namespace" && major < 15 {
            continue;
        }
        let temporary = schema_columns.iter().find(|(of, _)| of == catalog).map(|(_, column)| {
            format!(
                " AND NOT EXISTS (SELECT FROM pg_catalog.pg_namespace n \
                 WHERE n.oid = o.{column} AND n.nspname ~ '^pg_(toast|temp_)')"
            )
        });
        parts.push(format!(
            "SELECT '{catalog}' AS catalog, o.oid FROM pg_catalog.{catalog} o \
             WHERE o.oid >= {} AND {condition}{}",
            crate::catalog::satellites::FIRST_USER_OID,
            temporary.unwrap_or_default()
        ));
    }
    // Ordinary roles may not read pg_user_mapping, but this view of it.
    parts.push("SELECT 'pg_user_mapping', umid FROM pg_catalog.pg_user_mappings".to_owned());
    format!(
        "SELECT c.catalog, c.oid FROM ({}) c \
         WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_depend d \
           WHERE d.classid = ('pg_catalog.' || c.catalog)::pg_catalog.regclass \
           AND d.objid = c.oid AND d.objsubid = 0 AND d.deptype = 'i')",
        parts.join(" UNION ALL ")
    )
}

async fn describe(context: &Context<'_>, objects: &[Address]) -> Result<Vec<String>> {
    let mut warnings = Vec::new();
    // Bounded, so that no statement grows with the database.
    for objects in objects.chunks(1000) {
        let list: Vec<String> = objects
            .iter()
            .map(|object| format!("({}, {})", literal(object.catalog), object.oid))
            .collect();
        let rows = context
            .source
            .server()?
            .query(&format!(
                "SELECT i.type, i.schema, i.identity \
                 FROM (VALUES {}) AS o (catalog, oid) \
                 CROSS JOIN LATERAL pg_catalog.pg_identify_object( \
                   ('pg_catalog.' || o.catalog)::pg_catalog.regclass, o.oid::pg_catalog.oid, 0) i",
                list.join(", ")
            ))
            .await?;
        for row in &rows {
            let kind = row.optional("type")?.unwrap_or("object");
            let identity = row.optional("identity")?.unwrap_or_default();
            let schema = row.optional("schema")?;
            // What captures changes of definitions is the server's, not the database's.
            let is_installed = match kind {
                "schema" => identity == "pgkeep",
                "event trigger" => identity.starts_with("pgkeep_"),
                "trigger" => identity.contains(" on pgkeep."),
                _ => schema == Some("pgkeep"),
            };
            if is_installed {
                continue;
            }
            let reason = match schema {
                Some("pg_catalog" | "information_schema") => "it lies in a schema of the server's",
                _ if kind == "subscription" => "the role may not see how it connects",
                _ => "this version of pgkeep does not know its kind",
            };
            warnings.push(format!("{kind} {identity} is not in the backup: {reason}"));
        }
    }
    warnings.sort();
    Ok(warnings)
}
