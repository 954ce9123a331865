//! What the asked-for entries need: all that they depend on and the target lacks comes with
//! them, or it is said what is missing before anything is changed.
//!
//! A table that is only needed comes as a definition, for nobody asked for its rows. A foreign
//! key to a table that does not come with its rows is left out: it could not hold. So is the place
//! in a publication of what does not come.

use super::names::title;
use super::rename::Rename;
use super::there::There;
use crate::catalog::is_about_database;
use crate::{Error, ErrorKind, Result};
use pgkeep_format::entry::{Entry, EntryKind, Kind, Section};
use std::collections::{BTreeSet, HashMap};

/// Objects that an error names at most.
pub(super) const NAMED_MAX: usize = 5;

/// What is asked of [`complete`].
pub(super) struct Wish<'a> {
    pub(super) entries: &'a [Entry],
    /// What is to be restored.
    pub(super) asked: &'a BTreeSet<usize>,
    /// What may come with it: nothing that was excluded.
    pub(super) allowed: &'a BTreeSet<usize>,
    pub(super) there: &'a There,
    pub(super) rename: &'a Rename,
    /// Whether rows are restored.
    pub(super) rows: bool,
    /// Whether every single entry was chosen: nothing comes with it.
    pub(super) listed: bool,
    /// The name of the target, for errors.
    pub(super) database: &'a str,
}

/// What is restored, and what is not.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Completed {
    /// The asked-for entries with what they need.
    pub(super) selected: BTreeSet<usize>,
    /// Foreign keys and the like that are left out, each with what it needs.
    pub(super) left_out: Vec<(usize, usize)>,
    /// Tables without their rows, each with an entry that needs it.
    pub(super) bare: Vec<(usize, usize)>,
}

/// Adds what the asked-for entries need and the target lacks.
///
/// # Errors
/// [`ErrorKind::NotFound`] when something is needed that is neither there nor may come.
pub(super) fn complete(wish: &Wish<'_>) -> Result<Completed> {
    let mut search = Search::new(wish);
    let mut missing = Vec::new();
    while let Some(at) = search.todo.pop() {
        if is_link(&wish.entries[at]) {
            continue;
        }
        for needed in wish.entries[at].depends_on.iter().map(|needed| *needed as usize) {
            if !search.lacks(needed) {
                continue;
            }
            if wish.allowed.contains(&needed) {
                search.add(needed, at);
            } else if There::knows(wish.entries, needed) {
                missing.push((at, needed));
            }
        }
    }
    if missing.is_empty() {
        Ok(search.without_dangling_links())
    } else {
        Err(lacking(wish, missing))
    }
}

struct Search<'a> {
    wish: &'a Wish<'a>,
    parts: HashMap<usize, Vec<usize>>,
    todo: Vec<usize>,
    completed: Completed,
}

impl<'a> Search<'a> {
    fn new(wish: &'a Wish<'a>) -> Self {
        let mut parts: HashMap<usize, Vec<usize>> = HashMap::new();
        for (at, entry) in wish.entries.iter().enumerate() {
            if let Some(whole) = entry.belongs_to {
                parts.entry(whole as usize).or_default().push(at);
            }
        }
        let completed = Completed { selected: wish.asked.clone(), ..Completed::default() };
        Self { wish, parts, todo: wish.asked.iter().copied().collect(), completed }
    }

    /// Whether a needed entry is neither selected nor there. Rows are never needed.
    fn lacks(&self, needed: usize) -> bool {
        let Wish { entries, there, rename, .. } = self.wish;
        !self.completed.selected.contains(&needed)
            && entries[needed].section != Section::Data
            && !is_about_database(entries, &entries[needed])
            && !there.has(entries, needed, rename)
    }

    /// Adds an entry with all its parts, and the entry that it is a part of.
    fn add(&mut self, needed: usize, by: usize) {
        let Wish { entries, allowed, rows, .. } = *self.wish;
        let whole = entries[needed].belongs_to.map(|whole| whole as usize);
        let mut more: Vec<usize> = whole.filter(|whole| self.lacks(*whole)).into_iter().collect();
        more.push(needed);
        while let Some(at) = more.pop() {
            let entry = &entries[at];
            if is_rows(entry) || !allowed.contains(&at) || !self.completed.selected.insert(at) {
                continue;
            }
            if rows && (entry.kind == Kind::Table || entry.kind == Kind::MaterializedView) {
                self.completed.bare.push((at, by));
            }
            self.todo.push(at);
            more.extend(self.parts.get(&at).into_iter().flatten());
        }
    }

    /// Leaves out the links that could not hold.
    fn without_dangling_links(mut self) -> Completed {
        let Wish { entries, there, rename, .. } = *self.wish;
        let bare: BTreeSet<usize> = self.completed.bare.iter().map(|(table, _)| *table).collect();
        let selected = &self.completed.selected;
        let has = |needed: usize| {
            let whole = entries[needed].belongs_to.map_or(needed, |whole| whole as usize);
            let comes = selected.contains(&needed) && !bare.contains(&whole);
            comes || entries[needed].section == Section::Data || there.has(entries, needed, rename)
        };
        let keys = selected.iter().filter(|at| is_link(&entries[**at]));
        let dangling = keys.filter_map(|at| {
            let mut needs = entries[*at].depends_on.iter().map(|needed| *needed as usize);
            // A table comes before its keys; it says most.
            needs.find(|needed| !has(*needed)).map(|needed| (*at, needed))
        });
        let left_out: Vec<(usize, usize)> = dangling.collect();
        let keys: BTreeSet<usize> = left_out.iter().map(|(key, _)| *key).collect();
        self.completed.selected.retain(|at| {
            let whole = entries[*at].belongs_to.map(|whole| whole as usize);
            !keys.contains(at) && whole.is_none_or(|whole| !keys.contains(&whole))
        });
        self.completed.left_out = left_out;
        self.completed
    }
}

/// Whether an entry only links two others, each of which is good without it.
fn is_link(entry: &Entry) -> bool {
    matches!(
        entry.kind,
        EntryKind::Known(Kind::ForeignKey | Kind::PublicationTable | Kind::PublicationSchema)
    )
}

/// Whether an entry is what only a table with its rows has.
fn is_rows(entry: &Entry) -> bool {
    matches!(
        entry.kind,
        EntryKind::Known(
            Kind::TableData
                | Kind::MaterializedViewData
                | Kind::StatisticsData
                | Kind::LargeObject
                | Kind::LargeObjectData
        )
    )
}

fn lacking(wish: &Wish<'_>, mut missing: Vec<(usize, usize)>) -> Error {
    let entries = wish.entries;
    missing.sort_unstable_by_key(|(by, needed)| (*needed, *by));
    missing.dedup_by_key(|(_, needed)| *needed);
    let named = missing
        .iter()
        .take(NAMED_MAX)
        .map(|(by, needed)| format!("{} needs {}", title(entries, *by), title(entries, *needed)));
    let named: Vec<String> = named.collect();
    let more = match missing.len().saturating_sub(NAMED_MAX) {
        0 => String::new(),
        more => format!(" (and {more} more)"),
    };
    let (nowhere, hint) = if wish.listed {
        ("neither in the list nor in database", "Take its line back into the list.")
    } else {
        ("neither restored nor in database", "Restore that too, or leave out what needs it.")
    };
    let message = format!("{}{more}: {nowhere} \"{}\"", named.join(", "), wish.database);
    Error::new(ErrorKind::NotFound, message).hint(format!("{hint} Nothing was changed."))
}

impl Completed {
    /// What the user should know, a sentence each.
    pub(super) fn warnings(&self, entries: &[Entry]) -> Vec<String> {
        let keys = self.left_out.iter().map(|(key, needed)| {
            format!(
                "{} is left out: {} is neither restored nor there",
                title(entries, *key),
                title(entries, *needed)
            )
        });
        let bare = self.bare.iter().map(|(table, by)| {
            format!(
                "{} comes without its rows, for {} needs it: select it too",
                title(entries, *table),
                title(entries, *by)
            )
        });
        keys.chain(bare).collect()
    }
}
