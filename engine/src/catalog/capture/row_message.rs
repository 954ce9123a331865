//! Messages that speak of the rows of tables: they are for the stream of changes, and no part
//! of a [`Change`](super::Change).

use super::change::{Values, broken, number};
use super::record;
use crate::Result;
use crate::catalog::array;

/// The columns of a table, generated ones too: number and name.
pub type Layout = Vec<(i16, String)>;

/// What a message says of a table's rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RowMessage {
    /// Which columns it has from here on.
    Layout {
        /// The table.
        table: u32,
        /// Its columns.
        columns: Layout,
    },
    /// A command rewrote or filled it: what rows it has follows.
    Table {
        /// The table.
        table: u32,
        /// Its schema, unquoted.
        schema: String,
        /// Its name, unquoted.
        name: String,
        /// `pg_class.relreplident`.
        replica_identity: String,
        /// The columns that rows have values of.
        columns: Vec<TableColumn>,
    },
    /// Rows of the table of which it was said last.
    Rows {
        /// The table.
        table: u32,
        /// Values in the order of its columns, as text.
        rows: Vec<Vec<Option<String>>>,
    },
}

/// A column of [`RowMessage::Table`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableColumn {
    /// `attnum`.
    pub number: i16,
    /// Its name.
    pub name: String,
    /// OID of its type.
    pub type_oid: u32,
    /// `atttypmod`.
    pub type_modifier: i32,
    /// Whether it is part of what identifies a row.
    pub is_key: bool,
}

impl RowMessage {
    /// Reads the content of a message; absent when it is part of a change of definitions.
    ///
    /// # Errors
    /// [`ErrorKind::Damaged`](crate::ErrorKind::Damaged) when it is no message.
    pub fn read(content: &[u8]) -> Result<Option<Self>> {
        let is_one = KINDS.iter().any(|kind| content.starts_with(kind));
        if !is_one {
            return Ok(None);
        }
        let text = std::str::from_utf8(content).map_err(|error| broken().because(error))?;
        let fields = array::elements(text).map_err(|error| broken().because(error))?;
        let [kind, table, rest @ ..] = fields.as_slice() else { return Err(broken()) };
        let table = number(table)?;
        Ok(Some(match (kind.as_str(), rest) {
            ("layout", lines) => {
                let column = |line: &String| match record::values(line)?.as_slice() {
                    [Some(attribute), Some(name)] => Ok((number(attribute)?, name.clone())),
                    _ => Err(broken()),
                };
                let columns = lines.iter().map(column).collect::<Result<_>>()?;
                Self::Layout { table, columns }
            }
            ("table", [schema, name, replica_identity, lines @ ..]) => Self::Table {
                table,
                schema: schema.clone(),
                name: name.clone(),
                replica_identity: replica_identity.clone(),
                columns: lines.iter().map(|line| table_column(line)).collect::<Result<_>>()?,
            },
            ("rows", lines) => {
                let rows = lines.iter().map(|line| record::values(line));
                Self::Rows { table, rows: rows.collect::<Result<Vec<Values>>>()? }
            }
            _ => return Err(broken()),
        }))
    }
}

/// How the messages begin.
const KINDS: [&[u8]; 3] = [b"{layout,", b"{table,", b"{rows,"];

fn table_column(line: &str) -> Result<TableColumn> {
    match record::values(line)?.as_slice() {
        [Some(attribute), Some(name), Some(type_oid), Some(type_modifier), Some(is_key)] => {
            Ok(TableColumn {
                number: number(attribute)?,
                name: name.clone(),
                type_oid: number(type_oid)?,
                type_modifier: number(type_modifier)?,
                is_key: is_key == "t",
            })
        }
        _ => Err(broken()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn messages_of_rows_are_told_from_those_of_definitions() {
        let read = |text: &str| RowMessage::read(text.as_bytes());
        assert_eq!(read("{begin,1,740,739:741:,abc,true}").unwrap(), None);
        let layout = RowMessage::Layout {
            table: 7,
            columns: vec![(1, "a".to_owned()), (3, "b c".to_owned())],
        };
        assert_eq!(read(r#"{layout,7,"(1,a)","(3,\"b c\")"}"#).unwrap(), Some(layout));
        let some = |text: &str| Some(text.to_owned());
        let rows = RowMessage::Rows { table: 7, rows: vec![vec![some("1"), None], vec![None]] };
        assert_eq!(read(r#"{rows,7,"(1,)","()"}"#).unwrap(), Some(rows));
        let table = read(r#"{table,7,s,t,d,"(1,a,23,-1,t)"}"#).unwrap();
        let Some(RowMessage::Table { columns, .. }) = table else { panic!("{table:?}") };
        assert!(columns[0].is_key && columns[0].type_oid == 23);
        for text in ["{layout,x}", "{layout,7,\"(1)\"}", "{table,7,s}", "{rows,7,x}", "{rows,"] {
            assert!(read(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_message_makes_it_panic(text in "\\{(layout|table|rows),[(),\"0-9a-z\\\\]*\\}") {
            let _ = RowMessage::read(text.as_bytes());
        }
    }
}
