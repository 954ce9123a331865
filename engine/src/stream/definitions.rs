//! What the server captured of changes of definitions: put among the changes of rows, and
//! watched for what makes a new image of all definitions necessary.

use super::builder::SegmentBuilder;
use super::relations::{Refilled, Relations};
use crate::Result;
use crate::catalog::capture::{Change, ChangeReader, RowMessage};
use crate::postgres::pgoutput::{Action, Value};
use pgkeep_format::segment::{DEFINITIONS, RelationVersion, VersionColumn};
use std::collections::VecDeque;
use std::sync::Arc;

/// Changes after which a new image is better than following them all.
const CHANGES_MAX: usize = 500;

/// Changes that each later one is compared with. Older ones had long committed when it was made.
const COMPARED_MAX: usize = 64;

/// What one transaction captured.
#[derive(Default)]
pub(super) struct Captured {
    reader: ChangeReader,
    changes: Vec<Change>,
    /// Whether something is missing.
    failed: bool,
    any: bool,
}

/// What transactions captured since the last image.
#[derive(Default)]
pub(super) struct Definitions {
    /// The newest changes.
    changes: VecDeque<Change>,
    /// How many there were.
    count: usize,
    /// Why a new image is wanted.
    wants_image: bool,
}

/// Where the changes of a transaction go.
pub(super) struct Into<'a> {
    pub(super) builder: &'a mut SegmentBuilder,
    pub(super) relations: &'a mut Relations,
    pub(super) captured: &'a mut Captured,
    /// See [`Change::member`](pgkeep_format::change::Change::member).
    pub(super) member: u32,
    /// The subtransaction, as [`Relations`] wants it.
    pub(super) subtransaction: u32,
}

impl Into<'_> {
    /// Takes the content of a message. One that makes no sense is missing.
    pub(super) async fn take(mut self, content: &[u8]) -> Result<()> {
        self.captured.any = true;
        match RowMessage::read(content) {
            Ok(Some(message)) => self.rows(message).await,
            Ok(None) => {
                match self.captured.reader.read(content) {
                    Ok(Some(change)) => self.captured.changes.push(change.for_comparing()),
                    Ok(None) => {}
                    Err(error) => self.captured.fail(&error),
                }
                let relation = messages();
                let new = vec![Value::Text(content)];
                let action = Action::Insert { relation: DEFINITIONS, new };
                self.builder.push(&relation, self.member, &action).await
            }
            Err(error) => {
                self.captured.fail(&error);
                Ok(())
            }
        }
    }

    async fn rows(&mut self, message: RowMessage) -> Result<()> {
        match message {
            RowMessage::Layout { table, columns } => {
                self.relations.lay_out(table, self.subtransaction, columns);
                Ok(())
            }
            RowMessage::Table { table, schema, name, replica_identity, columns } => {
                self.relations.refill(Refilled { table, schema, name, replica_identity, columns });
                self.push(table, Action::Truncate { relations: vec![table] }).await
            }
            RowMessage::Rows { table, rows } => {
                let columns = self.relations.get(table)?.columns.len();
                for row in rows {
                    // A row of no columns is written as one of one.
                    let values = row.iter().take(columns).map(Option::as_deref);
                    let new = values
                        .map(|value| value.map_or(Value::Null, |it| Value::Text(it.as_bytes())))
                        .collect();
                    let relation = self.relations.get(table)?;
                    let action = Action::Insert { relation: table, new };
                    self.builder.push(relation, self.member, &action).await?;
                }
                Ok(())
            }
        }
    }

    async fn push(&mut self, table: u32, action: Action<'_>) -> Result<()> {
        let relation = self.relations.get(table)?;
        self.builder.push(relation, self.member, &action).await
    }
}

impl Captured {
    fn fail(&mut self, error: &crate::Error) {
        tracing::warn!("{error:?}");
        self.failed = true;
    }
}

impl Definitions {
    /// A transaction has committed.
    pub(super) fn committed(&mut self, captured: Captured) -> Result<()> {
        if !captured.any {
            return Ok(());
        }
        self.wants_image |= captured.failed;
        for change in &captured.changes {
            for other in &self.changes {
                self.wants_image |= change.conflicts_with(other)?;
            }
        }
        for change in captured.changes {
            if self.changes.len() == COMPARED_MAX {
                self.changes.pop_front();
            }
            self.changes.push_back(change);
        }
        self.count += 1;
        self.wants_image |= self.count >= CHANGES_MAX;
        Ok(())
    }

    /// Whether all definitions are to be read again.
    pub(super) fn wants_image(&self) -> bool {
        self.wants_image
    }

    /// They were.
    pub(super) fn has_image(&mut self) {
        *self = Self::default();
    }

    /// They have to be.
    pub(super) fn want_image(&mut self) {
        self.wants_image = true;
    }
}

/// What messages are rows of.
fn messages() -> Arc<RelationVersion> {
    let column = VersionColumn {
        name: "message".to_owned(),
        type_oid: TEXT,
        type_modifier: -1,
        is_key: false,
        number: None,
    };
    Arc::new(RelationVersion {
        oid: DEFINITIONS,
        schema: "pgkeep".to_owned(),
        name: "definitions".to_owned(),
        replica_identity: "n".to_owned(),
        columns: vec![column],
    })
}

/// `pg_type.oid` of `text`.
const TEXT: u32 = 25;
