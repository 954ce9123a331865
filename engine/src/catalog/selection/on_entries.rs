//! Which entries of a stored backup are meant: patterns are compared with names, here.

use crate::catalog::selection::Subject;
use crate::catalog::{Aspect, NameMatcher, Provider, Selection, TablesBelow};
use crate::{Error, ErrorKind, Result};
use pgkeep_format::entry::{Entry, EntryKind, Kind, Section};
use std::collections::{BTreeSet, HashMap};

/// Positions of the selected entries, with all their parts.
///
/// # Errors
/// [`ErrorKind::NotFound`] when a pattern matches nothing, [`ErrorKind::Usage`] when it is
/// none.
pub fn select_entries(entries: &[Entry], selection: &Selection) -> Result<BTreeSet<usize>> {
    let parts = Parts::new(entries);
    let mut selected = parts.close(entries, included(entries, selection)?);
    let mut excluded = parts.close(entries, excluded(entries, selection)?);
    excluded.extend(without_rows(entries, selection)?);
    selected.retain(|at| !excluded.contains(at) && is_wanted(entries, &entries[*at], selection));
    // What is published is part of a publication that is selected, or of none.
    let published = |at: &usize| {
        let kind = &entries[*at].kind;
        *kind == Kind::PublicationTable || *kind == Kind::PublicationSchema
    };
    let homeless: Vec<usize> = selected
        .iter()
        .copied()
        .filter(published)
        .filter(|at| {
            let entry = &entries[*at];
            let needed = entry.depends_on.iter().chain(&entry.belongs_to);
            let mut needed = needed.map(|needed| *needed as usize);
            needed.any(|at| entries[at].kind == Kind::Publication && !selected.contains(&at))
        })
        .collect();
    selected.retain(|at| !homeless.contains(at));
    if let Some(listed) = &selection.listed {
        selected.retain(|at| listed.contains(at));
    }
    Ok(selected)
}

/// Entries that the patterns take, without their parts.
fn included(entries: &[Entry], selection: &Selection) -> Result<BTreeSet<usize>> {
    let by_name = selection.selects_by_table() || !selection.parts.is_empty();
    let of_all_schemas = !by_name && selection.schemas.is_empty();
    if of_all_schemas && selection.extensions.is_empty() {
        return Ok((0..entries.len()).collect());
    }
    let schemas = matchers(&selection.schemas, NameMatcher::for_schema)?;
    let mut found = if by_name {
        let tables = matchers(&selection.tables, NameMatcher::for_relation)?;
        let mut found = matching(entries, &tables, "table", is_relation)?;
        let tables = matchers(&selection.tables_and_children, NameMatcher::for_relation)?;
        let tables = matching(entries, &tables, "table", is_relation)?;
        found.extend(TablesBelow::new(entries).with_all(tables));
        for (kind, pattern) in &selection.parts {
            found.extend(named_parts(entries, *kind, pattern)?);
        }
        if !schemas.is_empty() {
            found.retain(|at| schemas.iter().any(|(_, schema)| in_schema(schema, &entries[*at])));
        }
        found
    } else if of_all_schemas {
        // As pg_dump, which takes nothing that lies in no schema where an extension is named.
        let in_any = |entry: &Entry| entry.schema.is_some() || entry.kind == Kind::Schema;
        (0..entries.len()).filter(|at| in_any(&entries[*at])).collect()
    } else {
        matching(entries, &schemas, "schema", in_schema)?
    };
    let extensions = matchers(&selection.extensions, NameMatcher::for_schema)?;
    found.extend(matching(entries, &extensions, "extension", is_extension)?);
    if selection.large_objects == Some(true) {
        let is_large_object = |entry: &Entry| {
            matches!(entry.kind, EntryKind::Known(Kind::LargeObject | Kind::LargeObjectData))
        };
        found.extend((0..entries.len()).filter(|at| is_large_object(&entries[*at])));
    }
    Ok(found)
}

/// Entries that the patterns leave out, without their parts.
fn excluded(entries: &[Entry], selection: &Selection) -> Result<BTreeSet<usize>> {
    let schemas = matchers(&selection.exclude_schemas, NameMatcher::for_schema)?;
    let tables = matchers(&selection.exclude_tables, NameMatcher::for_relation)?;
    let with_below = matchers(&selection.exclude_tables_and_children, NameMatcher::for_relation)?;
    let only = matchers(&selection.extensions, NameMatcher::for_schema)?;
    let extensions = matchers(&selection.exclude_extensions, NameMatcher::for_schema)?;
    let any = |matchers: &[Named<'_>], entry: &Entry, is: fn(&NameMatcher, &Entry) -> bool| {
        matchers.iter().any(|(_, matcher)| is(matcher, entry))
    };
    let is_left_out = |entry: &Entry| {
        any(&schemas, entry, in_schema)
            || any(&tables, entry, is_relation)
            || any(&extensions, entry, is_extension)
            || (entry.kind == Kind::Extension
                && !only.is_empty()
                && !any(&only, entry, is_extension))
            || selection.provider.is_some_and(|provider| is_hidden(provider, entry))
    };
    let all = entries.iter().enumerate();
    let mut found: BTreeSet<usize> =
        all.clone().filter(|(_, entry)| is_left_out(entry)).map(|(at, _)| at).collect();
    let above = all.filter(|(_, entry)| any(&with_below, entry, is_relation)).map(|(at, _)| at);
    found.extend(TablesBelow::new(entries).with_all(above.collect()));
    Ok(found)
}

/// Rows that are left out though their tables are not.
fn without_rows(entries: &[Entry], selection: &Selection) -> Result<BTreeSet<usize>> {
    let tables = matchers(&selection.exclude_table_data, NameMatcher::for_relation)?;
    let above = matchers(&selection.exclude_table_data_and_children, NameMatcher::for_relation)?;
    let is_named = |matchers: &[Named<'_>], entry: &Entry| {
        matchers.iter().any(|(_, matcher)| is_relation(matcher, entry))
    };
    let all = entries.iter().enumerate();
    let rootless = all.clone().filter(|(_, entry)| is_named(&above, entry)).map(|(at, _)| at);
    let below = TablesBelow::new(entries).with_all(rootless.collect());
    let rows = all.filter(|(_, entry)| {
        let Some(whole) = entry.belongs_to.map(|whole| whole as usize) else { return false };
        let (Some(table), true) = (entries.get(whole), entry.kind == Kind::TableData) else {
            return false;
        };
        let schema = entry.schema.as_deref().unwrap_or_default();
        below.contains(&whole)
            || is_named(&tables, table)
            || selection.provider.is_some_and(|provider| provider.owns_rows(schema, &entry.name))
    });
    Ok(rows.map(|(at, _)| at).collect())
}

/// Indexes, triggers or functions that a pattern means: `[schema.]name`, of functions also with
/// the types of their arguments.
fn named_parts(entries: &[Entry], kind: Kind, pattern: &str) -> Result<Vec<usize>> {
    let (name, arguments) = match pattern.split_once('(') {
        Some((name, arguments)) if kind == Kind::Function => (name, Some(arguments)),
        _ => (pattern, None),
    };
    let matcher = NameMatcher::for_relation(name)?;
    let without_spaces =
        |text: &str| text.chars().filter(|c| !c.is_whitespace()).collect::<String>();
    let is_meant = |entry: &Entry| {
        let EntryKind::Known(of) = entry.kind else { return false };
        let schema = entry.schema.as_deref().unwrap_or_default();
        if kind != Kind::Function {
            return of == kind && matcher.matches(schema, &entry.name);
        }
        let (name, own) = entry.name.split_once('(').unwrap_or((&entry.name, ""));
        matches!(of, Kind::Function | Kind::Procedure | Kind::Aggregate)
            && matcher.matches(schema, name)
            && arguments.is_none_or(|wanted| without_spaces(wanted) == without_spaces(own))
    };
    let found: Vec<usize> = (0..entries.len()).filter(|at| is_meant(&entries[*at])).collect();
    if found.is_empty() {
        let kind = kind.as_str().to_lowercase();
        let message = format!("no {kind} of the backup matches \"{pattern}\"");
        return Err(Error::new(ErrorKind::NotFound, message).hint("Run: pgkeep ls"));
    }
    Ok(found)
}

fn is_extension(matcher: &NameMatcher, entry: &Entry) -> bool {
    entry.kind == Kind::Extension && matcher.matches("", &entry.name)
}

fn is_hidden(provider: Provider, entry: &Entry) -> bool {
    let schema = match entry.kind {
        EntryKind::Known(Kind::Schema) => Some(&entry.name),
        _ => entry.schema.as_ref(),
    };
    schema.is_some_and(|schema| provider.hides_schema(schema))
}

/// Positions of the entries that make the database itself. [`select_entries`] leaves them out:
/// they come first, by `--create`, or not at all, for they name the database that was backed
/// up, which may be another than the one that is restored into.
#[must_use]
pub fn select_database(entries: &[Entry], selection: &Selection) -> Vec<usize> {
    // Who asks for it wants it, also with rows alone.
    let mut selection = selection.clone();
    selection.without.remove(&Aspect::Definitions);
    selection.sections.clear();
    let all = entries.iter().enumerate();
    let about = all.filter(|(_, entry)| {
        is_about_database(entries, entry) && is_taken(entries, entry, &selection)
    });
    about.map(|(at, _)| at).collect()
}

/// Whether an entry is wanted whatever its name is.
fn is_wanted(entries: &[Entry], entry: &Entry, selection: &Selection) -> bool {
    !is_about_database(entries, entry) && is_taken(entries, entry, selection)
}

/// Whether what is left out by its kind leaves this in.
fn is_taken(entries: &[Entry], entry: &Entry, selection: &Selection) -> bool {
    let whole = entry.belongs_to.and_then(|whole| entries.get(whole as usize));
    let known = |entry: &Entry| match entry.kind {
        EntryKind::Known(kind) => Some(kind),
        EntryKind::Other(_) => None,
    };
    match known(entry) {
        Some(kind) => {
            selection.takes(Subject { kind, section: entry.section, whole: whole.and_then(known) })
        }
        None => match entry.section {
            Section::Data => !selection.is_without(Aspect::Rows),
            Section::PreData | Section::PostData => !selection.is_without(Aspect::Definitions),
        },
    }
}

/// Whether an entry makes the database itself, or says something about it.
#[must_use]
pub fn is_about_database(entries: &[Entry], entry: &Entry) -> bool {
    let whole = entry.belongs_to.and_then(|whole| entries.get(whole as usize));
    whole.into_iter().chain([entry]).any(|entry| {
        matches!(entry.kind, EntryKind::Known(Kind::Database | Kind::DatabaseProperties))
    })
}

type Named<'a> = (&'a str, NameMatcher);

fn matchers(
    patterns: &[String],
    compile: fn(&str) -> Result<NameMatcher>,
) -> Result<Vec<Named<'_>>> {
    patterns.iter().map(|pattern| Ok((pattern.as_str(), compile(pattern)?))).collect()
}

/// Entries that any of the patterns matches; each must match something, or a typing error
/// would restore less than was meant.
fn matching(
    entries: &[Entry],
    matchers: &[Named<'_>],
    what: &str,
    matches: fn(&NameMatcher, &Entry) -> bool,
) -> Result<BTreeSet<usize>> {
    let mut found = BTreeSet::new();
    for (pattern, matcher) in matchers {
        let before = found.len();
        let hits = (0..entries.len()).filter(|at| matches(matcher, &entries[*at]));
        let hits: Vec<usize> = hits.collect();
        if hits.is_empty() && before == found.len() {
            let message = format!("no {what} of the backup matches \"{pattern}\"");
            return Err(Error::new(ErrorKind::NotFound, message).hint("Run: pgkeep ls"));
        }
        found.extend(hits);
    }
    Ok(found)
}

fn in_schema(matcher: &NameMatcher, entry: &Entry) -> bool {
    match (&entry.kind, &entry.schema) {
        (EntryKind::Known(Kind::Schema), _) => matcher.matches("", &entry.name),
        (_, Some(schema)) => matcher.matches("", schema),
        _ => false,
    }
}

fn is_relation(matcher: &NameMatcher, entry: &Entry) -> bool {
    let relation = matches!(
        entry.kind,
        EntryKind::Known(
            Kind::Table | Kind::ForeignTable | Kind::View | Kind::MaterializedView | Kind::Sequence
        )
    );
    relation && matcher.matches(entry.schema.as_deref().unwrap_or_default(), &entry.name)
}

/// Which entries are parts of which.
struct Parts {
    parts: HashMap<usize, Vec<usize>>,
}

impl Parts {
    fn new(entries: &[Entry]) -> Self {
        let mut parts: HashMap<usize, Vec<usize>> = HashMap::new();
        for (at, entry) in entries.iter().enumerate() {
            if let Some(whole) = entry.belongs_to {
                parts.entry(whole as usize).or_default().push(at);
            }
            // A partitioned table without its partitions would be one without rows.
            if entry.kind == Kind::TableAttach {
                let tables = entry.depends_on.iter().map(|needed| *needed as usize);
                let partitioned = tables.clone().filter(|table| {
                    entries[*table].relation.as_ref().is_some_and(|table| table.partitioned)
                        && Some(*table) != entry.belongs_to.map(|whole| whole as usize)
                });
                for parent in partitioned {
                    let own = entry.belongs_to.map(|whole| whole as usize);
                    parts.entry(parent).or_default().extend(own.into_iter().chain([at]));
                }
            }
            // A sequence that is made for a column comes and goes with its table.
            if entry.kind == Kind::SequenceOwnedBy {
                let sequences = entry.depends_on.iter().map(|needed| *needed as usize);
                let sequences = sequences.filter(|needed| entries[*needed].kind == Kind::Sequence);
                let tables = entry.depends_on.iter().map(|needed| *needed as usize);
                let sequences: Vec<usize> = sequences.collect();
                for table in tables.filter(|needed| entries[*needed].relation.is_some()) {
                    if !sequences.contains(&table) {
                        parts
                            .entry(table)
                            .or_default()
                            .extend(sequences.iter().copied().chain([at]));
                    }
                }
            }
        }
        Self { parts }
    }

    /// The given entries with all their parts.
    fn close(&self, entries: &[Entry], found: BTreeSet<usize>) -> BTreeSet<usize> {
        let mut closed = BTreeSet::new();
        let mut todo: Vec<usize> = found.into_iter().collect();
        while let Some(at) = todo.pop() {
            if at < entries.len() && closed.insert(at) {
                todo.extend(self.parts.get(&at).into_iter().flatten());
            }
        }
        closed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(kind: Kind, name: &str, belongs_to: Option<u32>) -> Entry {
        Entry {
            kind: kind.into(),
            section: Section::PreData,
            schema: None,
            name: name.into(),
            create: String::new(),
            drop: None,
            depends_on: Vec::new(),
            belongs_to,
            relation: None,
            data: None,
            owner: None,
            large_objects: None,
            storage: None,
            by_index: None,
        }
    }

    #[test]
    fn what_is_said_about_the_database_stays_with_the_one_that_was_backed_up() {
        let entries = [
            entry(Kind::Database, "shop", None),
            entry(Kind::Owner, "DATABASE shop", Some(0)),
            entry(Kind::Acl, "DATABASE shop", Some(0)),
            entry(Kind::Comment, "DATABASE shop", Some(0)),
            entry(Kind::Schema, "app", None),
            entry(Kind::Owner, "SCHEMA app", Some(4)),
        ];
        let selected = select_entries(&entries, &Selection::default()).unwrap();
        assert_eq!(selected.into_iter().collect::<Vec<_>>(), [4, 5]);
        let without = std::collections::BTreeSet::from([Aspect::Owners]);
        let selection = Selection { without, ..Selection::default() };
        assert_eq!(select_database(&entries, &selection), [0, 2, 3]);
    }
}
