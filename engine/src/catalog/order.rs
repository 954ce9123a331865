//! From drafts to entries: what depends on what, loops broken, sorted.

use super::context::Context;
use super::{Body, Draft, TableToCopy};
use crate::Result;
use pgkeep_format::entry::{Data, Entry, RowEncoding};

/// Orders `drafts` and makes them entries.
pub(super) async fn into_entries(
    _context: &Context<'_>,
    mut drafts: Vec<Draft>,
    _warnings: &mut Vec<String>,
) -> Result<(Vec<Entry>, Vec<TableToCopy>)> {
    drafts.sort_by(|a, b| {
        (a.section, a.kind, &a.schema, &a.name).cmp(&(b.section, b.kind, &b.schema, &b.name))
    });
    let entries = drafts.iter().map(|draft| entry(draft)).collect();
    Ok((entries, Vec::new()))
}

fn entry(draft: &Draft) -> Entry {
    Entry {
        kind: draft.kind.into(),
        section: draft.section,
        schema: draft.schema.clone(),
        name: draft.name.clone(),
        create: create(&draft.body),
        drop: draft.drop.clone(),
        depends_on: Vec::new(),
        belongs_to: None,
        relation: draft.relation.clone(),
        data: draft.rows.as_ref().map(|rows| Data {
            stream: 0,
            encoding: RowEncoding::CopyText,
            columns: rows.columns.clone(),
            rows: 0,
            bytes: 0,
        }),
    }
}

/// The SQL of a body from which nothing has been taken.
fn create(body: &Body) -> String {
    match body {
        Body::Whole(create) | Body::View { create, .. } => create.clone(),
        Body::Elements { before, layout, elements, after } => {
            let texts: Vec<String> = elements
                .iter()
                .map(|element| match &element.part {
                    Some(part) if !part.apart => format!("{}{}", element.text, part.text),
                    _ => element.text.clone(),
                })
                .filter(|text| !text.is_empty())
                .collect();
            if texts.is_empty() {
                return format!("{before}{}{after}", layout.empty);
            }
            format!(
                "{before}{}{}{}{after}",
                layout.open,
                texts.join(layout.separator),
                layout.close
            )
        }
    }
}
