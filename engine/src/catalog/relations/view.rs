//! Views and materialized views, the rules of all relations, and what is refreshed.

use crate::Result;
use crate::catalog::context::Context;
use crate::catalog::objects::schemas::USER_SCHEMA;
use crate::catalog::relations::relation::{RelationFacts, Relations, Relkind};
use crate::catalog::relations::table::column_settings;
use crate::catalog::relations::table_element::default_alone;
use crate::catalog::source::Owner;
use crate::catalog::{Address, Body, Draft};
use crate::postgres::identifier;
use pgkeep_format::entry::{Kind, Section};

/// Reads drafts of views, materialized views and their contents, and rules.
pub(in crate::catalog) async fn read(
    context: &Context<'_>,
    relations: &Relations,
) -> Result<Vec<Draft>> {
    // The server indents and ends definitions; the rule that makes a relation a view is
    // what depends on the relations that it reads.
    let sql = format!(
        "SELECT c.oid, r.oid AS rule, pg_catalog.pg_get_viewdef(c.oid) AS definition \
         FROM pg_catalog.pg_class c \
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         JOIN pg_catalog.pg_rewrite r ON r.ev_class = c.oid AND r.ev_type = '1' \
         WHERE c.relkind IN ('v', 'm') AND c.relpersistence <> 't' AND {USER_SCHEMA}"
    );
    let mut drafts = Vec::new();
    for row in context.ask(Owner::object("pg_class", "oid"), &sql).await? {
        let Some(facts) = relations.get(row.parse("oid")?) else { continue };
        let rule = Address::new("pg_rewrite", row.parse("rule")?);
        let definition = row.text("definition")?.trim_end_matches(';');
        if facts.relkind == Relkind::View {
            drafts.push(view(facts, rule, definition));
            drafts.extend(defaults(facts));
        } else {
            drafts.push(materialized_view(context, facts, rule, definition));
            if facts.populated {
                drafts.push(refresh(facts));
            }
        }
    }
    drafts.extend(rules(context, relations).await?);
    Ok(drafts)
}

fn named(facts: &RelationFacts, kind: Kind) -> Draft {
    let target = format!("{} {}", kind.as_str(), facts.qualified());
    let mut draft = Draft::new(kind, Section::PreData, Some(&facts.schema), &facts.name);
    draft.address = Some(facts.address());
    draft.owner = Some(facts.owner.clone());
    draft.privileges = facts.privileges(&format!("TABLE {}", facts.qualified()));
    draft.drop = Some(format!("DROP {target};"));
    draft.target = Some(target);
    draft.relation = Some(Box::new(facts.shape()));
    draft
}

fn view(facts: &RelationFacts, rule: Address, definition: &str) -> Draft {
    let name = facts.qualified();
    let check = match facts.check_option.as_deref() {
        Some("local") => "\n  WITH LOCAL CHECK OPTION",
        Some(_) => "\n  WITH CASCADED CHECK OPTION",
        None => "",
    };
    let rest = format!("VIEW {name}{} AS\n{definition}{check};\n", facts.with_options());
    let columns: Vec<String> = facts
        .columns
        .iter()
        .map(|column| {
            let collation = column.collation.as_ref().map(|name| format!(" COLLATE {name}"));
            format!(
                "    NULL::{}{} AS {}",
                column.type_name,
                collation.unwrap_or_default(),
                identifier(&column.name)
            )
        })
        .collect();
    let dummy = format!("VIEW {name} AS\nSELECT\n{};\n", columns.join(",\n"));
    let mut made_later = facts.part(Kind::Rule, Section::PostData, "_RETURN");
    made_later.address = Some(rule);
    made_later.body = format!("CREATE OR REPLACE {rest}").into();
    made_later.drop = Some(format!("CREATE OR REPLACE {}", dummy.trim_end()));
    let mut draft = named(facts, Kind::View);
    draft.stands_for = vec![rule];
    draft.body = Body::View {
        create: format!("CREATE {rest}"),
        dummy: format!("CREATE {dummy}"),
        rule: Box::new(made_later),
    };
    draft
}

/// Defaults of a view's columns: for INSERT into it.
fn defaults(facts: &RelationFacts) -> impl Iterator<Item = Draft> + '_ {
    facts.columns.iter().filter_map(|column| {
        let default = column.default.as_ref()?;
        let mut draft = default_alone(facts, column, default);
        draft.depends_on = vec![facts.address()];
        Some(draft)
    })
}

fn materialized_view(
    context: &Context<'_>,
    facts: &RelationFacts,
    rule: Address,
    definition: &str,
) -> Draft {
    let mut draft = named(facts, Kind::MaterializedView);
    draft.stands_for = vec![rule];
    draft.storage = facts.storage();
    let target = format!("MATERIALIZED VIEW {}", facts.qualified());
    draft.body = format!(
        "CREATE {target}{} AS\n{definition}\n  WITH NO DATA;\n{}{}",
        facts.with_options(),
        column_settings(facts, "MATERIALIZED VIEW"),
        context.depends_on_extension(facts.address(), &target)
    )
    .into();
    draft
}

fn refresh(facts: &RelationFacts) -> Draft {
    let mut draft = facts.part(Kind::MaterializedViewData, Section::PostData, &facts.name);
    draft.depends_on = vec![facts.address()];
    draft.body = format!("REFRESH MATERIALIZED VIEW {};\n", facts.qualified()).into();
    draft
}

async fn rules(context: &Context<'_>, relations: &Relations) -> Result<Vec<Draft>> {
    let sql = format!(
        "SELECT r.oid, r.ev_class, r.rulename, r.ev_enabled, \
                pg_catalog.pg_get_ruledef(r.oid) AS definition \
         FROM pg_catalog.pg_rewrite r \
         JOIN pg_catalog.pg_class c ON c.oid = r.ev_class \
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE r.ev_type <> '1' AND {USER_SCHEMA}"
    );
    let mut drafts = Vec::new();
    for row in context.ask(Owner::object("pg_rewrite", "oid"), &sql).await? {
        let Some(facts) = relations.get(row.parse("ev_class")?) else { continue };
        let name = row.text("rulename")?;
        let mut draft = facts.part(Kind::Rule, Section::PostData, name);
        draft.address = Some(Address::new("pg_rewrite", row.parse("oid")?));
        let target = format!("RULE {} ON {}", identifier(name), facts.qualified());
        draft.drop = Some(format!("DROP {target};"));
        draft.target = Some(target);
        let mut create = format!("{}\n", row.text("definition")?);
        if let Some(enabled) = enabled(row.text("ev_enabled")?) {
            create += &format!(
                "ALTER TABLE {} {enabled} RULE {};\n",
                facts.qualified(),
                identifier(name)
            );
        }
        draft.body = create.into();
        drafts.push(draft);
    }
    Ok(drafts)
}

/// What ALTER TABLE says to bring a rule or trigger into a state that is not the first one.
pub(in crate::catalog) fn enabled(state: &str) -> Option<&'static str> {
    match state {
        "D" => Some("DISABLE"),
        "R" => Some("ENABLE REPLICA"),
        "A" => Some("ENABLE ALWAYS"),
        _ => None,
    }
}
