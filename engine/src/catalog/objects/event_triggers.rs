//! Event triggers. They come last in a restore, for they would fire on what follows.

use crate::Result;
use crate::catalog::array;
use crate::catalog::context::Context;
use crate::catalog::source::Owner;
use crate::catalog::{Address, Draft};
use crate::postgres::{Row, identifier, literal, qualified};
use pgkeep_format::entry::{Kind, Section};

/// Every event trigger.
pub(in crate::catalog) async fn read(context: &Context<'_>) -> Result<Vec<Draft>> {
    let rows = context
        .ask(
            Owner::Whole,
            "SELECT e.oid, e.evtname, e.evtevent, e.evtenabled, e.evttags, \
                    n.nspname, p.proname, r.rolname AS owner \
             FROM pg_catalog.pg_event_trigger e \
             JOIN pg_catalog.pg_proc p ON p.oid = e.evtfoid \
             JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace \
             LEFT JOIN pg_catalog.pg_roles r ON r.oid = e.evtowner \
             WHERE n.nspname <> 'pgkeep' \
             ORDER BY e.evtname",
        )
        .await?;
    let mut drafts = Vec::new();
    for row in &rows {
        let address = Address::new("pg_event_trigger", row.parse("oid")?);
        if context.extension_of(address).is_none() {
            drafts.push(event_trigger(address, row)?);
        }
    }
    Ok(drafts)
}

fn event_trigger(address: Address, row: &Row) -> Result<Draft> {
    let name = row.text("evtname")?;
    let target = format!("EVENT TRIGGER {}", identifier(name));
    let mut draft = Draft::new(Kind::EventTrigger, Section::PostData, None, name);
    draft.address = Some(address);
    draft.owner = row.optional("owner")?.map(str::to_owned);
    let tags = array::optional_elements(row.optional("evttags")?)?.unwrap_or_default();
    let tags: Vec<String> = tags.iter().map(|tag| literal(tag)).collect();
    let when = match tags.as_slice() {
        [] => String::new(),
        tags => format!("\n    WHEN TAG IN ({})", tags.join(", ")),
    };
    let function = qualified(row.text("nspname")?, row.text("proname")?);
    let event = row.text("evtevent")?;
    let mut sql = format!("CREATE {target} ON {event}{when}\n    EXECUTE FUNCTION {function}();");
    let state = match row.text("evtenabled")? {
        "D" => "DISABLE",
        "A" => "ENABLE ALWAYS",
        "R" => "ENABLE REPLICA",
        _ => "",
    };
    if !state.is_empty() {
        sql.push_str(&format!("\nALTER {target} {state};"));
    }
    draft.body = sql.into();
    draft.drop = Some(format!("DROP {target};"));
    draft.target = Some(target);
    Ok(draft)
}
