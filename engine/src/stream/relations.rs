//! What the tables look like whose changes come: as pgoutput last said, apart for each
//! transaction that still runs, because it may have altered a table for itself alone.

use crate::postgres::pgoutput;
use crate::{Error, ErrorKind, Result};
use pgkeep_format::segment::{RelationVersion, VersionColumn};
use std::collections::HashMap;
use std::sync::Arc;

/// The tables by OID.
#[derive(Debug, Default, Clone)]
pub(super) struct Relations {
    known: HashMap<u32, Arc<RelationVersion>>,
}

impl Relations {
    /// Takes what the server says of a table.
    pub(super) fn learn(&mut self, relation: &pgoutput::Relation<'_>) {
        let version = version(relation);
        // The server says it again whenever anything was invalidated.
        if self.known.get(&relation.oid).is_none_or(|known| **known != version) {
            self.known.insert(relation.oid, Arc::new(version));
        }
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
    }
}

fn version(relation: &pgoutput::Relation<'_>) -> RelationVersion {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let schema = match relation.schema {
        b"" => "pg_catalog".to_owned(),
        schema => text(schema),
    };
    let column = |column: &pgoutput::Column<'_>| VersionColumn {
        name: text(column.name),
        type_oid: column.type_oid,
        type_modifier: column.type_modifier,
        is_key: column.is_key,
    };
    RelationVersion {
        oid: relation.oid,
        schema,
        name: text(relation.name),
        replica_identity: text(&[relation.replica_identity]),
        columns: relation.columns.iter().map(column).collect(),
    }
}
