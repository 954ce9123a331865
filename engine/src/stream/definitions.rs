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

/// Changes that each later one is compared with.
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

/// What transactions captured.
pub(super) struct Definitions {
    /// The newest changes.
    changes: VecDeque<Change>,
    /// The greatest transaction of those before, also before this stream began, which nothing is
    /// compared with: a change that does not know of all until there may conflict with any.
    before: u64,
    /// How many there were since the last image.
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
    /// After an earlier stream had transactions up to this one.
    pub(super) fn after(before: u64) -> Self {
        Self { changes: VecDeque::new(), before, count: 0, wants_image: false }
    }

    /// A transaction has committed.
    pub(super) fn committed(&mut self, captured: Captured) {
        if !captured.any {
            return;
        }
        self.wants_image |= captured.failed;
        for change in &captured.changes {
            self.wants_image |= !change.knows_of_all_until(self.before)
                || self.changes.iter().any(|other| change.conflicts_with(other));
        }
        for change in captured.changes {
            if self.changes.len() == COMPARED_MAX {
                let oldest = self.changes.pop_front().map(|oldest| oldest.xid);
                self.before = self.before.max(oldest.unwrap_or_default());
            }
            self.changes.push_back(change);
        }
        self.count += 1;
        self.wants_image |= self.count >= CHANGES_MAX;
    }

    /// Whether all definitions are to be read again.
    pub(super) fn wants_image(&self) -> bool {
        self.wants_image
    }

    /// They were. What they were compared with stays: one that was captured before the image was
    /// read and commits after it may still not know of what the image has.
    pub(super) fn has_image(&mut self) {
        self.count = 0;
        self.wants_image = false;
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

#[cfg(test)]
mod tests {
    use super::*;

    fn captured(xid: u64, snapshot: &str, table: u32) -> Captured {
        let begin = format!("{{begin,1,{xid},\"{snapshot}\",abc,true}}");
        let touched = format!("{{touched,pg_class,{table}}}");
        let mut reader = ChangeReader::default();
        let mut read = |message: &str| reader.read(message.as_bytes()).unwrap();
        let changes = [read(&begin), read(&touched), read("{end,0}")].into_iter().flatten();
        Captured { changes: changes.collect(), any: true, ..Captured::default() }
    }

    fn wants(before: u64, captured: impl IntoIterator<Item = Captured>) -> bool {
        let mut definitions = Definitions::after(before);
        for one in captured {
            assert!(!definitions.wants_image());
            definitions.committed(one);
        }
        definitions.wants_image()
    }

    #[test]
    fn changes_of_one_object_that_did_not_see_each_other_want_an_image() {
        assert!(!wants(0, [captured(10, "10:10:", 1), captured(11, "11:11:", 1)]));
        assert!(!wants(0, [captured(10, "10:10:", 1), captured(11, "10:11:10", 2)]));
        assert!(wants(0, [captured(10, "10:10:", 1), captured(11, "10:11:10", 1)]));
        assert!(wants(0, [captured(11, "10:11:10", 1), captured(10, "10:11:", 1)]));
    }

    #[test]
    fn so_does_one_that_did_not_see_all_that_an_earlier_stream_had() {
        assert!(!wants(10, [captured(11, "11:11:", 1)]));
        assert!(wants(10, [captured(11, "10:11:10", 1)]));
        assert!(wants(10, [captured(9, "9:10:", 1)]));
    }

    #[test]
    fn so_does_one_that_did_not_see_what_an_image_has() {
        let mut definitions = Definitions::after(0);
        definitions.committed(captured(11, "10:11:10", 1));
        definitions.want_image();
        definitions.has_image();
        assert!(!definitions.wants_image());
        definitions.committed(captured(10, "10:11:", 1));
        assert!(definitions.wants_image());
    }

    #[test]
    fn so_does_one_that_did_not_see_what_was_long_before() {
        let many = (11..).take(COMPARED_MAX + 1);
        let later = many.map(|xid| captured(xid, &format!("{xid}:{xid}:"), 1));
        assert!(!wants(0, later.clone()));
        assert!(wants(0, later.chain([captured(10, "10:11:", 2)])));
    }
}
