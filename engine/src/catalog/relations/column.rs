//! Facts of every column of every relation.

use crate::Result;
use crate::catalog::array;
use crate::catalog::context::Context;
use crate::catalog::objects::foreign_data;
use crate::catalog::objects::schemas::USER_SCHEMA;
use crate::catalog::source::Owner;
use crate::postgres::Row;

/// One column that is not dropped.
#[derive(Debug, Clone)]
pub(in crate::catalog) struct ColumnFacts {
    /// `attnum`, from 1.
    pub(in crate::catalog) number: i16,
    pub(in crate::catalog) name: String,
    /// Its type as SQL, qualified, with modifiers.
    pub(in crate::catalog) type_name: String,
    /// OID of the type whose binary form its values have: of a domain the base type's, of an enum
    /// text's, as labels are what is sent.
    pub(in crate::catalog) sent_as: u32,
    pub(in crate::catalog) not_null: bool,
    /// Empty, `s` (stored) or `v` (virtual).
    pub(in crate::catalog) generated: String,
    /// Empty, `a` (always) or `d` (by default).
    pub(in crate::catalog) identity: String,
    /// Whether it was defined here, inherited or not.
    pub(in crate::catalog) is_local: bool,
    /// Number of parents that it comes from.
    pub(in crate::catalog) inherited: u32,
    /// Qualified name of its collation, where not its type's.
    pub(in crate::catalog) collation: Option<String>,
    /// Its `STORAGE`, where not its type's.
    pub(in crate::catalog) storage: Option<&'static str>,
    /// Its `COMPRESSION`, where set.
    pub(in crate::catalog) compression: Option<&'static str>,
    /// `name='value', …`.
    pub(in crate::catalog) options: Option<String>,
    /// Options of a foreign table's column: `"name" 'value', …`.
    pub(in crate::catalog) foreign_options: Option<String>,
    /// Its statistics target, where set.
    pub(in crate::catalog) statistics: Option<i32>,
    pub(in crate::catalog) acl: Option<Vec<String>>,
    /// Its default or generation expression.
    pub(in crate::catalog) default: Option<DefaultFacts>,
}

/// A column's default or generation expression.
#[derive(Debug, Clone)]
pub(in crate::catalog) struct DefaultFacts {
    /// OID in `pg_attrdef`.
    pub(in crate::catalog) oid: u32,
    pub(in crate::catalog) expression: String,
}

/// SQL of the type whose binary form the values of a column have. A domain may be of a domain.
const SENT_AS: &str = "\
    CASE t.typtype WHEN 'e' THEN 25 WHEN 'd' THEN ( \
      WITH RECURSIVE base AS ( \
        SELECT b.oid, b.typtype, b.typbasetype FROM pg_catalog.pg_type b \
        WHERE b.oid = t.typbasetype \
        UNION ALL SELECT b.oid, b.typtype, b.typbasetype \
        FROM base JOIN pg_catalog.pg_type b ON b.oid = base.typbasetype \
        WHERE base.typtype = 'd') \
      SELECT CASE typtype WHEN 'e' THEN 25 ELSE oid END FROM base WHERE typtype <> 'd') \
    ELSE a.atttypid END";

/// Reads all columns as (relation's OID, column), in order within each relation.
pub(in crate::catalog) async fn read(context: &Context<'_>) -> Result<Vec<(u32, ColumnFacts)>> {
    // The server keeps pg_attver among a column's options for itself: it is nobody's to set.
    let sql = format!(
        "SELECT a.attrelid, a.attnum, a.attname, \
                pg_catalog.format_type(a.atttypid, a.atttypmod) AS type_name, \
                {SENT_AS} AS sent_as, \
                a.attnotnull, a.attgenerated, a.attidentity, a.attislocal, a.attinhcount, \
                CASE WHEN a.attcollation <> t.typcollation AND a.attcollation <> 0 \
                     THEN pg_catalog.quote_ident(cn.nspname) || '.' \
                          || pg_catalog.quote_ident(co.collname) END AS collation, \
                CASE WHEN a.attstorage <> t.typstorage THEN a.attstorage END AS storage, \
                a.attcompression, \
                CASE WHEN a.attoptions IS NOT NULL THEN \
                (SELECT pg_catalog.string_agg(pg_catalog.quote_ident(o.option_name) || '=' \
                        || pg_catalog.quote_literal(o.option_value), ', ' ORDER BY n) \
                 FROM pg_catalog.unnest(a.attoptions) WITH ORDINALITY AS u(option, n), \
                      pg_catalog.pg_options_to_table(ARRAY[u.option]) AS o \
                 WHERE o.option_name <> 'pg_attver') END AS options, \
                {} AS foreign_options, \
                NULLIF(a.attstattarget, -1) AS statistics, a.attacl, \
                d.oid AS default_oid, pg_catalog.pg_get_expr(d.adbin, d.adrelid) AS expression \
         FROM pg_catalog.pg_attribute a \
         JOIN pg_catalog.pg_class c ON c.oid = a.attrelid \
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         LEFT JOIN pg_catalog.pg_type t ON t.oid = a.atttypid \
         LEFT JOIN pg_catalog.pg_collation co ON co.oid = a.attcollation \
         LEFT JOIN pg_catalog.pg_namespace cn ON cn.oid = co.collnamespace \
         LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum \
         WHERE a.attnum > 0 AND NOT a.attisdropped \
         AND c.relkind IN ('r', 'p', 'v', 'm', 'f') AND c.relpersistence <> 't' \
         AND {USER_SCHEMA} \
         ORDER BY a.attrelid, a.attnum",
        foreign_data::options("a.attfdwoptions"),
    );
    let rows = context.ask(Owner::object("pg_class", "attrelid"), &sql).await?;
    rows.iter().map(|row| Ok((row.parse("attrelid")?, facts(row)?))).collect()
}

fn facts(row: &Row) -> Result<ColumnFacts> {
    let owned = |column: &str| Ok(row.optional(column)?.map(str::to_owned));
    let default = match row.optional("expression")? {
        Some(expression) => {
            Some(DefaultFacts { oid: row.parse("default_oid")?, expression: expression.to_owned() })
        }
        None => None,
    };
    Ok(ColumnFacts {
        number: row.parse("attnum")?,
        name: row.text("attname")?.to_owned(),
        type_name: row.text("type_name")?.to_owned(),
        sent_as: row.parse("sent_as")?,
        not_null: row.bool("attnotnull")?,
        generated: row.text("attgenerated")?.to_owned(),
        identity: row.text("attidentity")?.to_owned(),
        is_local: row.bool("attislocal")?,
        inherited: row.parse("attinhcount")?,
        collation: owned("collation")?,
        storage: row.optional("storage")?.and_then(storage),
        compression: compression(row.text("attcompression")?),
        options: owned("options")?,
        foreign_options: owned("foreign_options")?,
        statistics: match row.optional("statistics")? {
            Some(_) => Some(row.parse("statistics")?),
            None => None,
        },
        acl: array::optional_elements(row.optional("attacl")?)?,
        default,
    })
}

fn storage(code: &str) -> Option<&'static str> {
    match code {
        "p" => Some("PLAIN"),
        "e" => Some("EXTERNAL"),
        "m" => Some("MAIN"),
        "x" => Some("EXTENDED"),
        _ => None,
    }
}

fn compression(code: &str) -> Option<&'static str> {
    match code {
        "p" => Some("pglz"),
        "l" => Some("lz4"),
        _ => None,
    }
}
