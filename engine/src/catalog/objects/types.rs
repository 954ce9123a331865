//! Enum, composite and range types, and types that have a name but no definition.
//! Domains are in `domains`, base types in `base_types`.
//!
//! A type stands for what the server makes with it: its array type, a composite's hidden
//! relation, a range's multirange and constructor functions.

use crate::Result;
use crate::catalog::array;
use crate::catalog::context::Context;
use crate::catalog::objects::schemas::USER_SCHEMA;
use crate::catalog::source::Owner;
use crate::catalog::{Address, Draft, Privileges};
use crate::postgres::{Row, identifier, literal, qualified};
use pgkeep_format::entry::{Kind, Section};
use std::collections::{HashMap, HashSet};

/// Every type of these sorts.
pub(in crate::catalog) async fn read(context: &Context<'_>) -> Result<Vec<Draft>> {
    let rows = context
        .ask(
            Owner::object("pg_type", "oid"),
            &format!(
                "SELECT {COLUMNS}, t.typtype, t.typisdefined \
             FROM {FROM} \
             LEFT JOIN pg_catalog.pg_class c ON c.oid = t.typrelid \
             WHERE {USER_SCHEMA} \
             AND (t.typtype IN ('e', 'r') OR t.typtype = 'c' AND c.relkind = 'c' \
                  OR t.typtype = 'p' AND NOT t.typisdefined) \
             ORDER BY n.nspname, t.typname"
            ),
        )
        .await?;
    let mut bodies = Bodies::read(context).await?;
    let mut drafts = Vec::new();
    for row in &rows {
        let oid: u32 = row.parse("oid")?;
        if context.extension_of(Address::new("pg_type", oid)).is_some() {
            continue;
        }
        let mut draft = named(row, Kind::Type, "TYPE")?;
        let name = qualified(row.text("nspname")?, row.text("typname")?);
        draft.body = match row.text("typtype")? {
            "e" => format!("CREATE TYPE {name} AS ENUM ({});", bodies.enums.take(oid)),
            "c" => format!("CREATE TYPE {name} AS ({});", bodies.composites.take(oid)),
            "r" => {
                draft.stands_for.extend(bodies.made_with.remove(&oid).unwrap_or_default());
                if bodies.canonical.contains(&oid) {
                    drafts.push(shell(&mut draft));
                }
                format!("CREATE TYPE {name} AS RANGE ({});", bodies.ranges.take(oid))
            }
            _ => {
                draft.kind = Kind::ShellType;
                format!("CREATE TYPE {name};")
            }
        }
        .into();
        drafts.push(draft);
    }
    Ok(drafts)
}

/// Columns of `pg_type t` that [`named`] needs, from [`FROM`].
pub(in crate::catalog) const COLUMNS: &str = "t.oid, n.oid AS schema, n.nspname, t.typname, t.typarray, t.typrelid, \
    r.rolname AS owner, t.typacl AS acl, pg_catalog.acldefault('T', t.typowner) AS standard";

/// Types with their schemas and owners.
pub(in crate::catalog) const FROM: &str = "pg_catalog.pg_type t \
    JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace \
    LEFT JOIN pg_catalog.pg_roles r ON r.oid = t.typowner";

/// A type's draft but for its body; `word` is what ALTER calls it.
pub(in crate::catalog) fn named(row: &Row, kind: Kind, word: &str) -> Result<Draft> {
    let (schema, name) = (row.text("nspname")?, row.text("typname")?);
    let target = format!("{word} {}", qualified(schema, name));
    let mut draft = Draft::new(kind, Section::PreData, Some(schema), name);
    draft.address = Some(Address::new("pg_type", row.parse("oid")?));
    let array: u32 = row.parse("typarray")?;
    let relation: u32 = row.parse("typrelid")?;
    draft.stands_for.extend((array != 0).then(|| Address::new("pg_type", array)));
    draft.stands_for.extend((relation != 0).then(|| Address::new("pg_class", relation)));
    draft.owner = row.optional("owner")?.map(str::to_owned);
    draft.drop = Some(format!("DROP {target};"));
    draft.privileges.push(Privileges {
        target: format!("TYPE {}", qualified(schema, name)),
        column: None,
        items: array::optional_elements(row.optional("acl")?)?,
        default: array::optional_elements(row.optional("standard")?)?.unwrap_or_default(),
    });
    draft.target = Some(target);
    // pg_depend says so too, but not of a shell.
    draft.depends_on.push(Address::new("pg_namespace", row.parse("schema")?));
    Ok(draft)
}

/// The draft that makes a type's name before the functions that its definition needs.
///
/// Its address is the type's with column -1: an edge from a function that the type needs
/// back to the type is meant for the name alone.
pub(in crate::catalog) fn shell(of: &mut Draft) -> Draft {
    let mut shell = Draft::new(Kind::ShellType, Section::PreData, of.schema.as_deref(), &of.name);
    shell.address = of.address.map(|address| Address { column: -1, ..address });
    shell.body =
        format!("CREATE TYPE {};", qualified(of.schema.as_deref().unwrap_or_default(), &of.name))
            .into();
    shell.depends_on.clone_from(&of.depends_on);
    of.depends_on.extend(shell.address);
    shell
}

/// What stands between the parentheses of CREATE TYPE, by the type's OID.
#[derive(Default)]
struct Parts(HashMap<u32, Vec<String>>);

impl Parts {
    fn add(&mut self, oid: u32, part: String) {
        self.0.entry(oid).or_default().push(part);
    }

    fn take(&mut self, oid: u32) -> String {
        self.0.remove(&oid).unwrap_or_default().join(", ")
    }
}

struct Bodies {
    enums: Parts,
    composites: Parts,
    ranges: Parts,
    /// What the server made together with a range type.
    made_with: HashMap<u32, Vec<Address>>,
    /// Range types with a canonical function, which takes the type itself.
    canonical: HashSet<u32>,
}

impl Bodies {
    async fn read(context: &Context<'_>) -> Result<Self> {
        let Ranges { parts: ranges, made_with, canonical } = ranges(context).await?;
        Ok(Self {
            enums: enums(context).await?,
            composites: composites(context).await?,
            ranges,
            made_with,
            canonical,
        })
    }
}

async fn enums(context: &Context<'_>) -> Result<Parts> {
    let sql = "SELECT enumtypid, enumlabel FROM pg_catalog.pg_enum \
               ORDER BY enumtypid, enumsortorder";
    let mut parts = Parts::default();
    for row in context.ask(Owner::object("pg_type", "enumtypid"), sql).await? {
        parts.add(row.parse("enumtypid")?, format!("\n    {}", literal(row.text("enumlabel")?)));
    }
    Ok(parts)
}

async fn composites(context: &Context<'_>) -> Result<Parts> {
    let sql = "SELECT c.oid, c.reltype, a.attname, \
                      pg_catalog.format_type(a.atttypid, a.atttypmod) AS type, \
                      n.nspname AS collation_schema, l.collname \
               FROM pg_catalog.pg_class c \
               JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid \
               JOIN pg_catalog.pg_type t ON t.oid = a.atttypid \
               LEFT JOIN pg_catalog.pg_collation l \
                 ON l.oid = a.attcollation AND a.attcollation <> t.typcollation \
               LEFT JOIN pg_catalog.pg_namespace n ON n.oid = l.collnamespace \
               WHERE c.relkind = 'c' AND a.attnum > 0 AND NOT a.attisdropped \
               ORDER BY c.reltype, a.attnum";
    let mut parts = Parts::default();
    for row in context.ask(Owner::object("pg_class", "oid"), sql).await? {
        let collate = collate(&row)?;
        let name = identifier(row.text("attname")?);
        parts.add(row.parse("reltype")?, format!("\n    {name} {}{collate}", row.text("type")?));
    }
    Ok(parts)
}

/// ` COLLATE …` where the columns `collation_schema` and `collname` hold something.
pub(in crate::catalog) fn collate(row: &Row) -> Result<String> {
    Ok(match (row.optional("collation_schema")?, row.optional("collname")?) {
        (Some(schema), Some(name)) => format!(" COLLATE {}", qualified(schema, name)),
        _ => String::new(),
    })
}

#[derive(Default)]
struct Ranges {
    parts: Parts,
    made_with: HashMap<u32, Vec<Address>>,
    canonical: HashSet<u32>,
}

async fn ranges(context: &Context<'_>) -> Result<Ranges> {
    let sql = "SELECT g.rngtypid, pg_catalog.format_type(g.rngsubtype, NULL) AS subtype, \
                      g.rngmultitypid, m.typarray, mn.nspname AS multirange_schema, \
                      m.typname AS multirange, \
                      CASE WHEN NOT o.opcdefault THEN onn.nspname END AS class_schema, \
                      o.opcname, cn.nspname AS collation_schema, l.collname, \
                      nullif(g.rngcanonical::pg_catalog.text, '-') AS canonical, \
                      nullif(g.rngsubdiff::pg_catalog.text, '-') AS difference \
               FROM pg_catalog.pg_range g \
               JOIN pg_catalog.pg_type s ON s.oid = g.rngsubtype \
               JOIN pg_catalog.pg_type m ON m.oid = g.rngmultitypid \
               JOIN pg_catalog.pg_namespace mn ON mn.oid = m.typnamespace \
               JOIN pg_catalog.pg_opclass o ON o.oid = g.rngsubopc \
               JOIN pg_catalog.pg_namespace onn ON onn.oid = o.opcnamespace \
               LEFT JOIN pg_catalog.pg_collation l \
                 ON l.oid = g.rngcollation AND g.rngcollation <> s.typcollation \
               LEFT JOIN pg_catalog.pg_namespace cn ON cn.oid = l.collnamespace \
               ORDER BY g.rngtypid";
    let mut ranges = Ranges::default();
    let mut range_of_multirange = HashMap::new();
    for row in context.ask(Owner::object("pg_type", "rngtypid"), sql).await? {
        let oid: u32 = row.parse("rngtypid")?;
        let mut part =
            |name: &str, value: &str| ranges.parts.add(oid, format!("\n    {name} = {value}"));
        part("SUBTYPE", row.text("subtype")?);
        let multirange = qualified(row.text("multirange_schema")?, row.text("multirange")?);
        part("MULTIRANGE_TYPE_NAME", &multirange);
        if let Some(schema) = row.optional("class_schema")? {
            part("SUBTYPE_OPCLASS", &qualified(schema, row.text("opcname")?));
        }
        if let Some(schema) = row.optional("collation_schema")? {
            part("COLLATION", &qualified(schema, row.text("collname")?));
        }
        for (name, column) in [("CANONICAL", "canonical"), ("SUBTYPE_DIFF", "difference")] {
            if let Some(function) = row.optional(column)? {
                part(name, function);
            }
        }
        if row.optional("canonical")?.is_some() {
            ranges.canonical.insert(oid);
        }
        let multirange: u32 = row.parse("rngmultitypid")?;
        range_of_multirange.insert(multirange, oid);
        let addresses =
            [multirange, row.parse("typarray")?].map(|oid| Address::new("pg_type", oid));
        ranges.made_with.entry(oid).or_default().extend(addresses);
    }
    for (type_oid, function) in constructors(context).await? {
        let range = range_of_multirange.get(&type_oid).copied().unwrap_or(type_oid);
        ranges.made_with.entry(range).or_default().push(Address::new("pg_proc", function));
    }
    Ok(ranges)
}

/// Functions that the server made with a type, such as a range's constructors.
async fn constructors(context: &Context<'_>) -> Result<Vec<(u32, u32)>> {
    let sql = "SELECT refobjid, objid FROM pg_catalog.pg_depend \
               WHERE classid = 'pg_catalog.pg_proc'::pg_catalog.regclass \
               AND refclassid = 'pg_catalog.pg_type'::pg_catalog.regclass AND deptype = 'i' \
               ORDER BY 1, 2";
    let rows = context.ask(Owner::object("pg_type", "refobjid"), sql).await?;
    rows.iter().map(|row| Ok((row.parse("refobjid")?, row.parse("objid")?))).collect()
}
