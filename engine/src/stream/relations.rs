//! What the tables look like whose changes come: as pgoutput last said, apart for each
//! transaction that still runs, because it may have altered a table for itself alone.

use crate::catalog::capture::{Layout, TableColumn};
use crate::postgres::pgoutput;
use crate::{Error, ErrorKind, Result};
use pgkeep_format::segment::{RelationVersion, VersionColumn};
use std::collections::HashMap;
use std::sync::Arc;

/// Stands for transactions whose changes come when they have committed; an id that no
/// transaction has.
pub(super) const COMMITTED: u32 = 0;

/// The tables by OID.
#[derive(Debug, Default, Clone)]
pub(super) struct Relations {
    known: HashMap<u32, Arc<RelationVersion>>,
    /// The columns that captured DDL gave to tables, the newest last, with the subtransaction
    /// that did, or [`COMMITTED`].
    layouts: HashMap<u32, Vec<(u32, Arc<Layout>)>>,
}

/// A table that a command rewrote or filled.
pub(super) struct Refilled {
    pub(super) table: u32,
    pub(super) schema: String,
    pub(super) name: String,
    pub(super) replica_identity: String,
    pub(super) columns: Vec<TableColumn>,
}

impl Relations {
    /// Those of a transaction of its own.
    pub(super) fn of_running(&self) -> Self {
        let newest = |(table, layouts): (&u32, &Vec<(u32, Arc<Layout>)>)| {
            layouts.last().map(|(_, layout)| (*table, vec![(COMMITTED, layout.clone())]))
        };
        let layouts = self.layouts.iter().filter_map(newest).collect();
        Self { known: HashMap::new(), layouts }
    }

    /// Takes what the server says of a table.
    pub(super) fn learn(&mut self, relation: &pgoutput::Relation<'_>) {
        let version = version(relation, self.layout(relation.oid));
        self.keep(version);
    }

    /// Takes what captured DDL says of a table: its columns from here on.
    pub(super) fn lay_out(&mut self, table: u32, member: u32, layout: Layout) {
        let layouts = self.layouts.entry(table).or_default();
        layouts.retain(|(other, _)| *other != member);
        layouts.push((member, Arc::new(layout)));
        let Some(known) = self.known.get(&table) else { return };
        let mut version = RelationVersion::clone(known);
        let layout = self.layout(table);
        version.columns.iter_mut().for_each(|column| column.number = number(layout, &column.name));
        self.keep(version);
    }

    /// A subtransaction was rolled back.
    pub(super) fn roll_back(&mut self, member: u32) {
        self.layouts.values_mut().for_each(|layouts| layouts.retain(|(other, _)| *other != member));
    }

    /// Takes a table that is about to be told as a whole.
    pub(super) fn refill(&mut self, table: Refilled) {
        let column = |column: TableColumn| VersionColumn {
            name: column.name,
            type_oid: column.type_oid,
            type_modifier: column.type_modifier,
            is_key: column.is_key,
            number: Some(column.number),
        };
        self.keep(RelationVersion {
            oid: table.table,
            schema: table.schema,
            name: table.name,
            replica_identity: table.replica_identity,
            columns: table.columns.into_iter().map(column).collect(),
        });
    }

    /// The table of an OID.
    pub(super) fn get(&self, oid: u32) -> Result<&Arc<RelationVersion>> {
        self.known.get(&oid).ok_or_else(|| {
            let message =
                format!("server sent a change of a table that it did not describe: {oid}");
            Error::new(ErrorKind::Connection, message)
        })
    }

    /// Takes over what a transaction knew that has committed.
    pub(super) fn merge(&mut self, committed: Relations) {
        self.known.extend(committed.known);
        for (table, layouts) in committed.layouts {
            if let Some((_, layout)) = layouts.last().filter(|(member, _)| *member != COMMITTED) {
                self.layouts.insert(table, vec![(COMMITTED, layout.clone())]);
            }
        }
    }

    fn layout(&self, table: u32) -> Option<&Layout> {
        self.layouts.get(&table).and_then(|layouts| layouts.last()).map(|(_, layout)| &**layout)
    }

    /// The server says it again whenever anything was invalidated.
    fn keep(&mut self, version: RelationVersion) {
        if self.known.get(&version.oid).is_none_or(|known| **known != version) {
            self.known.insert(version.oid, Arc::new(version));
        }
    }
}

fn number(layout: Option<&Layout>, name: &str) -> Option<i16> {
    layout?.iter().find(|(_, known)| known == name).map(|(number, _)| *number)
}

fn version(relation: &pgoutput::Relation<'_>, layout: Option<&Layout>) -> RelationVersion {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let schema = match relation.schema {
        b"" => "pg_catalog".to_owned(),
        schema => text(schema),
    };
    let column = |column: &pgoutput::Column<'_>| {
        let name = text(column.name);
        VersionColumn {
            number: number(layout, &name),
            name,
            type_oid: column.type_oid,
            type_modifier: column.type_modifier,
            is_key: column.is_key,
        }
    };
    RelationVersion {
        oid: relation.oid,
        schema,
        name: text(relation.name),
        replica_identity: text(&[relation.replica_identity]),
        columns: relation.columns.iter().map(column).collect(),
    }
}
