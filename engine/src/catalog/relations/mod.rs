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
use tokio::try_join;

/// Every relation and what belongs to relations, by class.
pub(in crate::catalog) async fn read(
    context: &Context<'_>,
    selection: &Selection,
    selected: &Selected,
    warnings: &mut Vec<String>,
) -> Result<Vec<Draft>> {
    let (mut relations, constraints, indexes, configuration) = try_join!(
        relation::read(context),
        constraint::read(context),
        index::read(context),
        extensions::configuration_tables(context)
    )?;
    if selection.is_without(Aspect::ToastCompression) {
        relations.forget_compression();
    }
    let mut drafts = table::drafts(context, &relations, &constraints, &configuration, selected);
    let mut wanted = selected.relations.clone();
    if selection.is_without(Aspect::Rows) && !selection.sequence_values {
        wanted.retain(|oid| configuration.iter().any(|(configured, _)| configured == oid));
    }
    let optimizer_statistics = async {
        match context.source.is_server() && !selection.is_without(Aspect::Statistics) {
            true => {
                let wanted = &selected.relations;
                optimizer_statistics::read(context, &relations, &indexes, wanted).await
            }
            false => Ok(Vec::new()),
        }
    };
    let made = try_join!(
        sequence::read(context, &relations),
        sequence::values(context, &relations, &wanted, &configuration),
        view::read(context, &relations),
        trigger::read(context, &relations),
        policy::read(context, &relations),
        statistics::read(context, &relations),
        optimizer_statistics
    )?;
    let (sequences, values, views, triggers, policies, statistics, optimizer_statistics) = made;
    for more in [sequences, values, views, triggers, policies, statistics, optimizer_statistics] {
        drafts.extend(more);
    }
    drafts.extend(index::drafts(context, &relations, &indexes, warnings));
    drafts.extend(constraint::drafts(context, &relations, &constraints, &indexes));
    Ok(drafts)
}
