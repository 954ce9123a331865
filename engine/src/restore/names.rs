//! What entries are called: for people, in reports and in errors.

use pgkeep_format::entry::{Entry, EntryKind};

/// An entry's name with its schema. What only speaks about an object has that object's name,
/// kind first: `TABLE app.jobs`.
pub(super) fn name(entries: &[Entry], at: usize) -> String {
    let entry = &entries[at];
    let Some(schema) = &entry.schema else { return entry.name.clone() };
    let EntryKind::Known(kind) = &entry.kind else { return format!("{schema}.{}", entry.name) };
    match whole(entries, entry) {
        Some(whole) if kind.is_satellite() => about(entry, whole, schema),
        _ => format!("{schema}.{}", entry.name),
    }
}

/// The name of what speaks about `whole`, or about a column or part of it.
fn about(entry: &Entry, whole: &Entry, schema: &str) -> String {
    for kind in [whole.kind.as_str(), "COLUMN"] {
        let spoken_of = format!("{kind} {}", whole.name);
        if let Some(part) = entry.name.strip_prefix(&spoken_of) {
            return format!("{kind} {schema}.{}{part}", whole.name);
        }
    }
    // The name of a part is what SQL calls it, with its schema.
    entry.name.clone()
}

/// An entry's kind and name, and what it is a part of: `INDEX app.jobs_state of TABLE app.jobs`.
pub(super) fn title(entries: &[Entry], at: usize) -> String {
    let entry = &entries[at];
    let own = format!("{} {}", entry.kind, name(entries, at));
    let is_satellite = matches!(&entry.kind, EntryKind::Known(kind) if kind.is_satellite());
    match whole(entries, entry) {
        // Rows and statistics of a table bear its name.
        Some(whole)
            if !is_satellite && (&whole.schema, &whole.name) != (&entry.schema, &entry.name) =>
        {
            let schema = whole.schema.as_deref().map(|schema| format!("{schema}."));
            format!("{own} of {} {}{}", whole.kind, schema.unwrap_or_default(), whole.name)
        }
        _ => own,
    }
}

fn whole<'a>(entries: &'a [Entry], entry: &Entry) -> Option<&'a Entry> {
    entries.get(entry.belongs_to? as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::restore::sample::{entry, part};
    use pgkeep_format::entry::Kind;

    #[test]
    fn what_speaks_about_an_object_is_named_after_it() {
        let entries = [
            entry(Kind::MaterializedView, "jobs"),
            part(Kind::Owner, "MATERIALIZED VIEW jobs", 0),
            part(Kind::Acl, "COLUMN jobs.id", 0),
            part(Kind::Comment, "CONSTRAINT \"c\" ON \"app\".\"jobs\"", 0),
            part(Kind::Index, "jobs_state", 0),
        ];
        let titles: Vec<String> = (0..entries.len()).map(|at| title(&entries, at)).collect();
        assert_eq!(
            titles,
            [
                "MATERIALIZED VIEW app.jobs",
                "OWNER MATERIALIZED VIEW app.jobs",
                "ACL COLUMN app.jobs.id",
                "COMMENT CONSTRAINT \"c\" ON \"app\".\"jobs\"",
                "INDEX app.jobs_state of MATERIALIZED VIEW app.jobs",
            ]
        );
    }
}
