//! Row-level security: policies, and that a table has it.

use crate::Result;
use crate::catalog::array;
use crate::catalog::context::Context;
use crate::catalog::objects::schemas::USER_SCHEMA;
use crate::catalog::relations::relation::{RelationFacts, Relations, Relkind};
use crate::catalog::source::Owner;
use crate::catalog::{Address, Draft};
use crate::postgres::{Row, identifier};
use pgkeep_format::entry::{Kind, Section};

/// Reads drafts of policies and of tables' row-level security.
pub(in crate::catalog) async fn read(
    context: &Context<'_>,
    relations: &Relations,
) -> Result<Vec<Draft>> {
    let secured = relations.of(&[Relkind::Table, Relkind::Partitioned]);
    let mut drafts: Vec<Draft> =
        secured.filter(|relation| relation.row_security).map(row_security).collect();
    let sql = format!(
        "SELECT p.oid, p.polrelid, p.polname, p.polcmd, p.polpermissive, \
                CASE WHEN p.polroles <> '{{0}}' THEN \
                  (SELECT pg_catalog.array_agg(r.rolname ORDER BY r.rolname) \
                   FROM pg_catalog.pg_roles r WHERE r.oid = ANY (p.polroles)) END AS roles, \
                pg_catalog.pg_get_expr(p.polqual, p.polrelid) AS using_expression, \
                pg_catalog.pg_get_expr(p.polwithcheck, p.polrelid) AS check_expression \
         FROM pg_catalog.pg_policy p \
         JOIN pg_catalog.pg_class c ON c.oid = p.polrelid \
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE {USER_SCHEMA}"
    );
    for row in context.ask(Owner::object("pg_policy", "oid"), &sql).await? {
        if let Some(relation) = relations.get(row.parse("polrelid")?) {
            drafts.push(policy(relation, &row)?);
        }
    }
    Ok(drafts)
}

fn row_security(relation: &RelationFacts) -> Draft {
    let mut draft = relation.part(Kind::RowSecurity, Section::PostData, &relation.name);
    draft.body =
        format!("ALTER TABLE {} ENABLE ROW LEVEL SECURITY;\n", relation.qualified()).into();
    draft
}

fn policy(relation: &RelationFacts, row: &Row) -> Result<Draft> {
    let name = row.text("polname")?;
    let target = format!("POLICY {} ON {}", identifier(name), relation.qualified());
    let mut create = format!("CREATE {target}");
    if !row.bool("polpermissive")? {
        create += "\n    AS RESTRICTIVE";
    }
    create += match row.text("polcmd")? {
        "r" => "\n    FOR SELECT",
        "a" => "\n    FOR INSERT",
        "w" => "\n    FOR UPDATE",
        "d" => "\n    FOR DELETE",
        _ => "",
    };
    if let Some(roles) = array::optional_elements(row.optional("roles")?)? {
        let roles: Vec<String> = roles.iter().map(|role| identifier(role)).collect();
        create += &format!("\n    TO {}", roles.join(", "));
    }
    if let Some(expression) = row.optional("using_expression")? {
        create += &format!("\n    USING ({expression})");
    }
    if let Some(expression) = row.optional("check_expression")? {
        create += &format!("\n    WITH CHECK ({expression})");
    }
    let mut draft = relation.part(Kind::Policy, Section::PostData, name);
    draft.address = Some(Address::new("pg_policy", row.parse("oid")?));
    draft.body = format!("{create};\n").into();
    draft.drop = Some(format!("DROP {target};"));
    draft.target = Some(target);
    Ok(draft)
}
