//! Objects that are no part of a relation: a module a class or a few, each from one query or
//! a few to drafts. What no module reads, `unknown` names, so that a backup can say so.

mod aggregates;
mod base_types;
mod casts;
mod collations;
mod default_privileges;
mod domains;
mod event_triggers;
pub(in crate::catalog) mod extensions;
pub(in crate::catalog) mod foreign_data;
mod functions;
mod languages;
mod large_objects;
mod operator_classes;
mod operators;
pub(in crate::catalog) mod properties;
mod publications;
pub(in crate::catalog) mod schemas;
mod subscriptions;
mod text_search;
pub(in crate::catalog) mod types;
pub(in crate::catalog) mod unknown;

use crate::Result;
use crate::catalog::context::Context;
use crate::catalog::{DatabaseFacts, Draft};

/// Every object that is no part of a relation, by class; one query or a few for each.
pub(in crate::catalog) async fn read(
    context: &Context<'_>,
    database: &DatabaseFacts,
) -> Result<Vec<Draft>> {
    let mut drafts = schemas::read(context).await?;
    drafts.extend(extensions::read(context).await?);
    drafts.extend(types::read(context).await?);
    drafts.extend(domains::read(context).await?);
    drafts.extend(functions::read(context).await?);
    drafts.extend(aggregates::read(context).await?);
    drafts.extend(base_types::read(context).await?);
    drafts.extend(casts::read(context).await?);
    drafts.extend(collations::read(context).await?);
    drafts.extend(operators::read(context).await?);
    drafts.extend(operator_classes::read(context).await?);
    drafts.extend(languages::read(context).await?);
    drafts.extend(text_search::read(context).await?);
    drafts.extend(foreign_data::read(context).await?);
    drafts.extend(event_triggers::read(context).await?);
    drafts.extend(publications::read(context).await?);
    drafts.extend(subscriptions::read(context, database).await?);
    drafts.extend(default_privileges::read(context).await?);
    // No DDL: an image could not follow them.
    if context.source.is_server() {
        drafts.extend(large_objects::read(context).await?);
    }
    drafts.extend(properties::read(context, database).await?);
    Ok(drafts)
}
