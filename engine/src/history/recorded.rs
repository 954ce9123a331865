//! One change as people and programs read it: columns with their values before and after.

use crate::postgres::copy_text;
use crate::{Error, ErrorKind, Result};
use pgkeep_format::change::{Action, Change};
use pgkeep_format::segment::{RelationVersion, Transaction};

/// A change of a row, or a truncate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded<'a> {
    /// The transaction that made it.
    pub transaction: Transaction,
    /// What it did.
    pub action: Action,
    /// The table as it then was.
    pub table: &'a RelationVersion,
    /// The columns that the stream has, in their order; none of a truncate.
    pub fields: Vec<Field<'a>>,
}

/// A column of a row that changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field<'a> {
    /// Its name.
    pub name: &'a str,
    /// Whether it is part of what identifies a row.
    pub is_key: bool,
    /// What it was before, as far as the server said so.
    pub old: Value,
    /// What it was after.
    pub new: Value,
}

/// A value in the text form of its type. Bytes that are not UTF-8 are shown as U+FFFD.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// There was no such row, or the server did not say.
    Absent,
    /// What it was before; the server did not send it again (TOAST).
    Unchanged,
    /// NULL.
    Null,
    /// A value.
    Text(String),
}

impl<'a> Recorded<'a> {
    /// Reads a change of a table.
    ///
    /// # Errors
    /// [`ErrorKind::Damaged`] when its rows have other columns than the table.
    pub(super) fn new(
        transaction: Transaction,
        table: &'a RelationVersion,
        change: &Change<'_>,
    ) -> Result<Self> {
        let mut fields: Vec<Field<'a>> = Vec::new();
        if change.action != Action::Truncate {
            let field = |column: &'a pgkeep_format::segment::VersionColumn| Field {
                name: &column.name,
                is_key: column.is_key,
                old: Value::Absent,
                new: Value::Absent,
            };
            fields.extend(table.columns.iter().map(field));
        }
        if let Some(old) = change.old {
            let known = fields.iter_mut().filter(|field| old.is_whole || field.is_key);
            fill(old.row, known.map(|field| &mut field.old))?;
        }
        if matches!(change.action, Action::Insert | Action::Update) {
            fill(change.new, fields.iter_mut().map(|field| &mut field.new))?;
            for at in &change.unchanged {
                fields.get_mut(usize::from(*at)).ok_or_else(unlike)?.new = Value::Unchanged;
            }
        }
        Ok(Self { transaction, action: change.action, table, fields })
    }
}

/// Puts the values of a row where they belong.
fn fill<'v>(row: &[u8], values: impl Iterator<Item = &'v mut Value>) -> Result<()> {
    let mut read = copy_text::values(row);
    for value in values {
        *value = match read.next().ok_or_else(unlike)?? {
            Some(bytes) => Value::Text(String::from_utf8_lossy(&bytes).into_owned()),
            None => Value::Null,
        };
    }
    if read.next().is_some() { Err(unlike()) } else { Ok(()) }
}

fn unlike() -> Error {
    Error::new(ErrorKind::Damaged, "change has other columns than its table")
        .hint("Run: pgkeep verify")
}

#[cfg(test)]
mod tests {
    use super::*;
    use pgkeep_format::change::OldRow;
    use pgkeep_format::segment::VersionColumn;

    fn table() -> RelationVersion {
        let column = |name: &str, is_key| VersionColumn {
            name: name.to_owned(),
            type_oid: 25,
            type_modifier: -1,
            is_key,
            number: None,
        };
        RelationVersion {
            oid: 16384,
            schema: "app".to_owned(),
            name: "jobs".to_owned(),
            replica_identity: "d".to_owned(),
            columns: vec![column("id", true), column("state", false), column("body", false)],
        }
    }

    const TRANSACTION: Transaction = Transaction { xid: 733, lsn: 1, end: 2, time: 3 };

    #[test]
    fn an_update_tells_what_the_server_said() {
        let table = table();
        let old = OldRow { is_whole: false, row: b"1" };
        let change = Change {
            action: Action::Update,
            member: 0,
            old: Some(old),
            unchanged: vec![2],
            new: b"2\ta\\tb\t\\N",
        };
        let recorded = Recorded::new(TRANSACTION, &table, &change).unwrap();
        let values: Vec<_> =
            recorded.fields.iter().map(|field| (field.old.clone(), field.new.clone())).collect();
        let text = |text: &str| Value::Text(text.to_owned());
        assert_eq!(
            values,
            [
                (text("1"), text("2")),
                (Value::Absent, text("a\tb")),
                (Value::Absent, Value::Unchanged)
            ]
        );
    }

    #[test]
    fn a_row_with_other_columns_is_refused() {
        let table = table();
        for new in [&b"1\t2"[..], b"1\t2\t3\t4"] {
            let change =
                Change { action: Action::Insert, member: 0, old: None, unchanged: Vec::new(), new };
            assert!(Recorded::new(TRANSACTION, &table, &change).is_err());
        }
    }
}
