//! Entries for the tests of this folder, in schema `app`.

use pgkeep_format::entry::{Entry, Kind, Section};

/// An entry that stands alone.
pub(super) fn entry(kind: Kind, name: &str) -> Entry {
    let is_relation = matches!(kind, Kind::Table | Kind::View | Kind::MaterializedView);
    let section = match kind {
        Kind::TableData => Section::Data,
        Kind::ForeignKey | Kind::Index | Kind::Constraint => Section::PostData,
        _ => Section::PreData,
    };
    Entry {
        kind: kind.into(),
        section,
        schema: Some("app".into()),
        name: name.into(),
        create: format!("CREATE {name};"),
        drop: Some(format!("DROP {name};")),
        depends_on: Vec::new(),
        belongs_to: None,
        relation: is_relation.then(Box::default),
        data: None,
        owner: None,
        large_objects: None,
        storage: None,
        by_index: None,
    }
}

/// A part of the entry at `whole`.
pub(super) fn part(kind: Kind, name: &str, whole: u32) -> Entry {
    Entry { depends_on: vec![whole], belongs_to: Some(whole), drop: None, ..entry(kind, name) }
}

/// An entry that depends on others.
pub(super) fn on(kind: Kind, name: &str, needs: &[u32]) -> Entry {
    Entry { depends_on: needs.to_vec(), ..entry(kind, name) }
}
