//! Which entries of a stored backup are meant: patterns are compared with names, here.

use crate::catalog::selection::Subject;
use crate::catalog::{Aspect, NameMatcher, Provider, Selection};
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
    let mut selected: BTreeSet<usize> = if selection.tables.is_empty() {
        let matchers = matchers(&selection.schemas, NameMatcher::for_schema)?;
        let mut found = matching(entries, &matchers, "schema", in_schema)?;
        if matchers.is_empty() {
            found = (0..entries.len()).collect();
        }
        parts.close(entries, found)
    } else {
        let matchers = matchers(&selection.tables, NameMatcher::for_relation)?;
        let mut found = matching(entries, &matchers, "table", is_relation)?;
        if !selection.schemas.is_empty() {
            let schemas = self::matchers(&selection.schemas, NameMatcher::for_schema)?;
            found.retain(|at| schemas.iter().any(|(_, schema)| in_schema(schema, &entries[*at])));
        }
        parts.close(entries, found)
    };
    let schemas = matchers(&selection.exclude_schemas, NameMatcher::for_schema)?;
    let tables = matchers(&selection.exclude_tables, NameMatcher::for_relation)?;
    let mut excluded: BTreeSet<usize> = BTreeSet::new();
    for (at, entry) in entries.iter().enumerate() {
        if schemas.iter().any(|(_, matcher)| in_schema(matcher, entry))
            || selection.provider.is_some_and(|provider| is_hidden(provider, entry))
            || tables.iter().any(|(_, matcher)| is_relation(matcher, entry))
        {
            excluded.insert(at);
        }
    }
    let mut excluded = parts.close(entries, excluded);
    let rowless = matchers(&selection.exclude_table_data, NameMatcher::for_relation)?;
    excluded.extend((0..entries.len()).filter(|at| {
        let entry = &entries[*at];
        let schema = entry.schema.as_deref().unwrap_or_default();
        let providers =
            selection.provider.is_some_and(|provider| provider.owns_rows(schema, &entry.name));
        entry.kind == Kind::TableData
            && (providers
                || rowless.iter().any(|(_, matcher)| matcher.matches(schema, &entry.name)))
    }));
    selected.retain(|at| !excluded.contains(at) && is_wanted(entries, &entries[*at], selection));
    Ok(selected)
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
        Some(kind) => selection.takes(Subject { kind, whole: whole.and_then(known) }),
        None => match entry.section {
            Section::Data => !selection.is_without(Aspect::Rows),
            Section::PreData | Section::PostData => !selection.is_without(Aspect::Definitions),
        },
    }
}

fn is_about_database(entries: &[Entry], entry: &Entry) -> bool {
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
