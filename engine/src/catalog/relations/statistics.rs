//! Extended statistics objects.

use crate::Result;
use crate::catalog::context::Context;
use crate::catalog::objects::schemas::USER_SCHEMA;
use crate::catalog::relations::relation::Relations;
use crate::catalog::source::Owner;
use crate::catalog::{Address, Draft};
use crate::postgres::qualified;
use pgkeep_format::entry::{Kind, Section};

/// Reads drafts of extended statistics.
pub(in crate::catalog) async fn read(
    context: &Context<'_>,
    relations: &Relations,
) -> Result<Vec<Draft>> {
    let sql = format!(
        "SELECT s.oid, s.stxrelid, n.nspname, s.stxname, \
                pg_catalog.pg_get_userbyid(s.stxowner) AS owner, \
                NULLIF(s.stxstattarget, -1) AS target, \
                pg_catalog.pg_get_statisticsobjdef(s.oid) AS definition \
         FROM pg_catalog.pg_statistic_ext s \
         JOIN pg_catalog.pg_namespace n ON n.oid = s.stxnamespace \
         WHERE {USER_SCHEMA}"
    );
    let mut drafts = Vec::new();
    for row in context.ask(Owner::object("pg_statistic_ext", "oid"), &sql).await? {
        let Some(relation) = relations.get(row.parse("stxrelid")?) else { continue };
        let (schema, name) = (row.text("nspname")?, row.text("stxname")?);
        let target = format!("STATISTICS {}", qualified(schema, name));
        let mut create = format!("{};\n", row.text("definition")?);
        if let Some(number) = row.optional("target")? {
            create += &format!("ALTER {target} SET STATISTICS {number};\n");
        }
        let mut draft = relation.part(Kind::Statistics, Section::PostData, name);
        draft.schema = Some(schema.to_owned());
        draft.address = Some(Address::new("pg_statistic_ext", row.parse("oid")?));
        draft.owner = Some(row.text("owner")?.to_owned());
        draft.body = create.into();
        draft.drop = Some(format!("DROP {target};"));
        draft.target = Some(target);
        drafts.push(draft);
    }
    Ok(drafts)
}
