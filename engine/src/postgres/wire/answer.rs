//! The rows of a query on a session for bulk: few and small, for what must be asked between
//! two `COPY` of one transaction.

use crate::postgres::Row;
use crate::{Error, ErrorKind, Result};
use postgres_protocol::message::backend::Message;
use std::sync::Arc;
use tokio_postgres::fallible_iterator::FallibleIterator;

/// Most that the rows of an answer may take, fields counted; such as a statement for each
/// object of a database.
const ANSWER_BYTES_MAX: usize = 256 << 20;

/// What a field takes in memory beside its bytes.
const FIELD_BYTES: usize = 24;

/// Rows as they come in.
#[derive(Default)]
pub(super) struct Answer {
    columns: Arc<[String]>,
    rows: Vec<Row>,
    bytes: usize,
}

impl Answer {
    /// Takes one message of the answer.
    pub(super) fn take(&mut self, message: &Message) -> Result<()> {
        match message {
            Message::RowDescription(body) => {
                let names = body.fields().map(|field| Ok(field.name().to_owned()));
                let names: Vec<String> = names.collect().map_err(nonsense)?;
                self.columns = names.into();
            }
            Message::DataRow(body) => {
                let mut values = Vec::new();
                let mut ranges = body.ranges();
                while let Some(range) = ranges.next().map_err(nonsense)? {
                    let value = match range {
                        None => None,
                        Some(range) => {
                            let bytes = body.buffer().get(range).unwrap_or_default();
                            let text = std::str::from_utf8(bytes).map_err(nonsense)?;
                            Some(text.to_owned())
                        }
                    };
                    self.bytes += FIELD_BYTES + value.as_ref().map_or(0, String::len);
                    values.push(value);
                }
                if self.bytes > ANSWER_BYTES_MAX {
                    let message = "server sent more rows than a query of pgkeep's can have";
                    return Err(Error::new(ErrorKind::Connection, message));
                }
                self.rows.push(Row::new(self.columns.clone(), values));
            }
            _ => {}
        }
        Ok(())
    }

    pub(super) fn rows(self) -> Vec<Row> {
        self.rows
    }
}

fn nonsense(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(ErrorKind::Connection, "server sent rows that make no sense").because(error)
}
