//! Relations and what belongs to them: columns, constraints, indexes, triggers, policies.
//! `relation` holds the facts that all others start from.

mod column;
mod constraint;
mod index;
mod optimizer_statistics;
mod policy;
pub(in crate::catalog) mod relation;
mod sequence;
mod statistics;
mod table;
mod table_element;
mod trigger;
mod view;

use crate::Result;
use crate::catalog::context::Context;
use crate::catalog::objects::extensions;
use crate::catalog::selection::Selected;
use crate::catalog::{Aspect, Draft, Selection};

/// Every relation and what belongs to relations, by class.
pub(in crate::catalog) async fn read(
    context: &Context<'_>,
    selection: &Selection,
    selected: &Selected,
    warnings: &mut Vec<String>,
) -> Result<Vec<Draft>> {
    let mut relations = relation::read(context).await?;
    if selection.is_without(Aspect::ToastCompression) {
        relations.forget_compression();
    }
    let constraints = constraint::read(context).await?;
    let indexes = index::read(context).await?;
    let configuration = extensions::configuration_tables(context).await?;
    let mut drafts = table::drafts(context, &relations, &constraints, &configuration, selected);
    drafts.extend(sequence::read(context, &relations).await?);
    let mut wanted = selected.relations.clone();
    if selection.is_without(Aspect::Rows) && !selection.sequence_values {
        wanted.retain(|oid| configuration.iter().any(|(configured, _)| configured == oid));
    }
    drafts.extend(sequence::values(context, &relations, &wanted, &configuration).await?);
    drafts.extend(view::read(context, &relations).await?);
    drafts.extend(index::drafts(context, &relations, &indexes, warnings));
    drafts.extend(constraint::drafts(context, &relations, &constraints, &indexes));
    drafts.extend(trigger::read(context, &relations).await?);
    drafts.extend(policy::read(context, &relations).await?);
    drafts.extend(statistics::read(context, &relations).await?);
    if context.source.is_server() && !selection.is_without(Aspect::Statistics) {
        let wanted = &selected.relations;
        drafts.extend(optimizer_statistics::read(context, &relations, &indexes, wanted).await?);
    }
    Ok(drafts)
}
