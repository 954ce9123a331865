//! Operator families and classes: what an index of some access method needs to know of a
//! type. Members belong to the class or, where they were added later, to the family.

use crate::Result;
use crate::catalog::context::Context;
use crate::catalog::objects::schemas::USER_SCHEMA;
use crate::catalog::source::Owner;
use crate::catalog::{Address, Draft};
use crate::postgres::{Row, identifier, qualified};
use pgkeep_format::entry::{Kind, Section};
use std::collections::HashMap;

/// Every operator family and class.
pub(in crate::catalog) async fn read(context: &Context<'_>) -> Result<Vec<Draft>> {
    let mut members = members(context).await?;
    let mut drafts = families(context, &mut members).await?;
    drafts.extend(classes(context, &mut members).await?);
    Ok(drafts)
}

type Members = HashMap<Address, Vec<Member>>;

/// An operator or function of a family or class.
struct Member {
    address: Address,
    sql: String,
    /// Its strategy or support number, and the types that it is for.
    place: (i16, String, String),
}

/// Members by what they are part of.
async fn members(context: &Context<'_>) -> Result<Members> {
    let sql = "\
        SELECT o.catalog, o.refobjid AS owner, o.member, o.oid, o.sql, o.number, o.left_type, \
               o.right_type \
        FROM ( \
          SELECT 'pg_amop' AS member, m.oid, CASE d.refclassid \
                   WHEN 'pg_catalog.pg_opclass'::pg_catalog.regclass THEN 'pg_opclass' \
                   ELSE 'pg_opfamily' END AS catalog, \
                 'OPERATOR ' || m.amopstrategy || ' ' \
                   || m.amopopr::pg_catalog.regoperator::pg_catalog.text \
                   || coalesce(' FOR ORDER BY \"' || pg_catalog.replace(n.nspname, '\"', '\"\"') \
                     || '\".\"' || pg_catalog.replace(f.opfname, '\"', '\"\"') || '\"', '') AS sql, \
                 m.amopstrategy AS number, \
                 pg_catalog.format_type(m.amoplefttype, NULL) AS left_type, \
                 pg_catalog.format_type(m.amoprighttype, NULL) AS right_type, d.refobjid \
          FROM pg_catalog.pg_amop m \
          JOIN pg_catalog.pg_depend d \
            ON d.classid = 'pg_catalog.pg_amop'::pg_catalog.regclass AND d.objid = m.oid \
            AND d.refclassid IN ('pg_catalog.pg_opclass'::pg_catalog.regclass, \
                                 'pg_catalog.pg_opfamily'::pg_catalog.regclass) \
            AND d.refobjid <> m.amopsortfamily \
          LEFT JOIN pg_catalog.pg_opfamily f ON f.oid = m.amopsortfamily \
          LEFT JOIN pg_catalog.pg_namespace n ON n.oid = f.opfnamespace \
          UNION ALL \
          SELECT 'pg_amproc', m.oid, CASE d.refclassid \
                   WHEN 'pg_catalog.pg_opclass'::pg_catalog.regclass THEN 'pg_opclass' \
                   ELSE 'pg_opfamily' END, \
                 'FUNCTION ' || m.amprocnum || ' (' \
                   || pg_catalog.format_type(m.amproclefttype, NULL) || ', ' \
                   || pg_catalog.format_type(m.amprocrighttype, NULL) || ') ' \
                   || m.amproc::pg_catalog.regprocedure::pg_catalog.text, \
                 m.amprocnum, pg_catalog.format_type(m.amproclefttype, NULL), \
                 pg_catalog.format_type(m.amprocrighttype, NULL), d.refobjid \
          FROM pg_catalog.pg_amproc m \
          JOIN pg_catalog.pg_depend d \
            ON d.classid = 'pg_catalog.pg_amproc'::pg_catalog.regclass AND d.objid = m.oid \
            AND d.refclassid IN ('pg_catalog.pg_opclass'::pg_catalog.regclass, \
                                 'pg_catalog.pg_opfamily'::pg_catalog.regclass) \
        ) o \
        ORDER BY o.member, o.oid";
    let mut members = Members::new();
    for row in context.ask(Owner::address("member", "oid"), sql).await? {
        let part_of =
            if row.text("catalog")? == "pg_opclass" { "pg_opclass" } else { "pg_opfamily" };
        let catalog = if row.text("member")? == "pg_amop" { "pg_amop" } else { "pg_amproc" };
        members.entry(Address::new(part_of, row.parse("owner")?)).or_default().push(Member {
            address: Address::new(catalog, row.parse("oid")?),
            sql: row.text("sql")?.to_owned(),
            place: (
                row.parse("number")?,
                row.text("left_type")?.to_owned(),
                row.text("right_type")?.to_owned(),
            ),
        });
    }
    for members in members.values_mut() {
        members.sort_by(|a, b| (a.address.catalog, &a.place).cmp(&(b.address.catalog, &b.place)));
    }
    Ok(members)
}

async fn families(context: &Context<'_>, members: &mut Members) -> Result<Vec<Draft>> {
    let rows = context
        .ask(
            Owner::object("pg_opfamily", "oid"),
            &format!(
                "SELECT f.oid, n.nspname, f.opfname AS name, a.amname, r.rolname AS owner \
             FROM pg_catalog.pg_opfamily f \
             JOIN pg_catalog.pg_am a ON a.oid = f.opfmethod \
             JOIN pg_catalog.pg_namespace n ON n.oid = f.opfnamespace \
             LEFT JOIN pg_catalog.pg_roles r ON r.oid = f.opfowner \
             WHERE {USER_SCHEMA} ORDER BY n.nspname, f.opfname, a.amname"
            ),
        )
        .await?;
    let mut drafts = Vec::new();
    for row in &rows {
        let address = Address::new("pg_opfamily", row.parse("oid")?);
        if context.extension_of(address).is_some() {
            continue;
        }
        let (mut draft, target) = named(address, row, Kind::OperatorFamily, "OPERATOR FAMILY")?;
        let mut sql = format!("CREATE {target};");
        let members = members.remove(&address).unwrap_or_default();
        if !members.is_empty() {
            let list: Vec<&str> = members.iter().map(|member| member.sql.as_str()).collect();
            sql.push_str(&format!("\nALTER {target} ADD\n    {};", list.join(",\n    ")));
        }
        draft.stands_for = members.iter().map(|member| member.address).collect();
        draft.body = sql.into();
        drafts.push(draft);
    }
    Ok(drafts)
}

async fn classes(context: &Context<'_>, members: &mut Members) -> Result<Vec<Draft>> {
    let rows = context
        .ask(
            Owner::object("pg_opclass", "oid"),
            &format!(
                "SELECT c.oid, n.nspname, c.opcname AS name, a.amname, r.rolname AS owner, \
                    c.opcdefault, pg_catalog.format_type(c.opcintype, NULL) AS type, \
                    CASE WHEN c.opckeytype <> 0 \
                      THEN pg_catalog.format_type(c.opckeytype, NULL) END AS storage, \
                    fn.nspname AS family_schema, f.opfname AS family \
             FROM pg_catalog.pg_opclass c \
             JOIN pg_catalog.pg_am a ON a.oid = c.opcmethod \
             JOIN pg_catalog.pg_opfamily f ON f.oid = c.opcfamily \
             JOIN pg_catalog.pg_namespace fn ON fn.oid = f.opfnamespace \
             JOIN pg_catalog.pg_namespace n ON n.oid = c.opcnamespace \
             LEFT JOIN pg_catalog.pg_roles r ON r.oid = c.opcowner \
             WHERE {USER_SCHEMA} ORDER BY n.nspname, c.opcname, a.amname"
            ),
        )
        .await?;
    let mut drafts = Vec::new();
    for row in &rows {
        let address = Address::new("pg_opclass", row.parse("oid")?);
        if context.extension_of(address).is_some() {
            continue;
        }
        let (mut draft, _) = named(address, row, Kind::OperatorClass, "OPERATOR CLASS")?;
        let members = members.remove(&address).unwrap_or_default();
        let data_type = row.text("type")?;
        let mut list: Vec<String> = members.iter().map(|member| member.sql.clone()).collect();
        list.extend(row.optional("storage")?.map(|storage| format!("STORAGE {storage}")));
        if list.is_empty() {
            // The list must not be empty; to store the type itself is what goes unsaid.
            list.push(format!("STORAGE {data_type}"));
        }
        draft.stands_for = members.iter().map(|member| member.address).collect();
        draft.body = format!(
            "CREATE OPERATOR CLASS {}\n    {}FOR TYPE {data_type} USING {} FAMILY {} AS\n    {};",
            qualified(row.text("nspname")?, row.text("name")?),
            if row.bool("opcdefault")? { "DEFAULT " } else { "" },
            identifier(row.text("amname")?),
            qualified(row.text("family_schema")?, row.text("family")?),
            list.join(",\n    ")
        )
        .into();
        drafts.push(draft);
    }
    Ok(drafts)
}

/// A draft but for its body, and what ALTER calls it.
fn named(address: Address, row: &Row, kind: Kind, word: &str) -> Result<(Draft, String)> {
    let (schema, name) = (row.text("nspname")?, row.text("name")?);
    let method = row.text("amname")?;
    let target = format!("{word} {} USING {}", qualified(schema, name), identifier(method));
    let entry_name = format!("{name} USING {method}");
    let mut draft = Draft::new(kind, Section::PreData, Some(schema), &entry_name);
    draft.address = Some(address);
    draft.owner = row.optional("owner")?.map(str::to_owned);
    draft.drop = Some(format!("DROP {target};"));
    draft.target = Some(target.clone());
    Ok((draft, target))
}
