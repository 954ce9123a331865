//! What one transaction changed, as its messages tell it.

use super::record;
use super::row_message::RowMessage;
use crate::catalog::array;
use crate::catalog::image::RowAddress;
use crate::postgres::Visible;
use crate::{Error, ErrorKind, Result};
use std::collections::{BTreeMap, BTreeSet, HashSet};

/// The prefix of the messages; the token of the installation follows.
pub const PREFIX: &str = "pgkeep.ddl.";

/// A row of an answer.
pub(super) type Values = Vec<Option<String>>;

/// What one transaction changed in the catalogs, as of its commit.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Change {
    /// The transaction.
    pub xid: u64,
    /// What the transaction saw of others when the change was gathered; see [`Change::knows_of`].
    pub snapshot: Visible,
    /// Tells which queries the answers are to.
    pub(super) queries: String,
    /// Whether all that stands on what was changed is among what was touched.
    pub(super) spreads: bool,
    /// Objects that were made, changed or dropped, or whose text may be another: OIDs by
    /// catalog.
    pub touched: BTreeMap<String, HashSet<u32>>,
    /// Those among them that are told anew because of a part; not all their parts are.
    pub(super) beside: HashSet<RowAddress>,
    /// Tables that were rewritten: logical decoding does not show their new rows.
    pub rewritten: BTreeSet<u32>,
    /// Tables and materialized views that a command made or filled with rows of its own.
    pub filled: BTreeSet<u32>,
    /// Those among both whose rows were too many to be told.
    pub unknown: BTreeSet<u32>,
    /// The columns of tables that were touched.
    pub columns: Vec<Column>,
    /// Numbers of the queries whose answer is replaced as a whole.
    pub(super) whole: BTreeSet<usize>,
    /// Rows by the number of the query.
    pub(super) answers: BTreeMap<usize, Vec<Values>>,
}

/// A column of a table that was touched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// The table.
    pub table: u32,
    /// Its number, which it keeps when it is renamed.
    pub number: i16,
    /// Its name.
    pub name: String,
    /// The value, as text, that rows have in it which were there before the column.
    pub missing: Option<String>,
}

impl Change {
    /// Whether this, which committed later, and another told of the same object without this
    /// having seen what the other did: then the object may be neither as this tells it nor as the
    /// other does, and only a new image knows.
    #[must_use]
    pub fn conflicts_with(&self, other: &Self) -> bool {
        let share = |(catalog, oids): (&String, &HashSet<u32>)| {
            other.touched.get(catalog).is_some_and(|others| !oids.is_disjoint(others))
        };
        self.touched.iter().any(share) && !self.knows_of(other.xid)
    }

    /// What [`Change::conflicts_with`] needs, and no more.
    #[must_use]
    pub fn for_comparing(self) -> Self {
        Self { xid: self.xid, snapshot: self.snapshot, touched: self.touched, ..Self::default() }
    }

    /// Whether what another transaction changed was visible when this change was gathered. If
    /// not, and that one committed before, rows of both may not be those of the catalogs: only a
    /// new image is. So it may be where two transactions change definitions at the same time, or
    /// one in REPEATABLE READ after another.
    #[must_use]
    pub fn knows_of(&self, xid: u64) -> bool {
        xid == self.xid || self.snapshot.sees(xid)
    }

    /// Whether it knows of all transactions up to one, that one included.
    #[must_use]
    pub fn knows_of_all_until(&self, last: u64) -> bool {
        let others = self.snapshot.unseen().find(|xid| *xid != self.xid);
        others.is_none_or(|first| first > last)
    }
}

/// Puts the messages of a transaction together.
#[derive(Debug, Default)]
pub struct ChangeReader {
    change: Option<(Change, usize)>,
}

impl ChangeReader {
    /// Takes the content of the next message, passing over those of rows; gives the change when it is complete. A
    /// transaction that sets its constraints to be checked at once may have several.
    ///
    /// # Errors
    /// [`ErrorKind::Damaged`] when it is no message, or not the one that should come next;
    /// [`ErrorKind::Server`] when the server could not gather the change: only a new image tells
    /// what the catalogs are now.
    pub fn read(&mut self, content: &[u8]) -> Result<Option<Change>> {
        if RowMessage::read(content)?.is_some() {
            return Ok(None);
        }
        let text = std::str::from_utf8(content).map_err(|error| broken().because(error))?;
        let fields = array::elements(text).map_err(|error| broken().because(error))?;
        let (kind, fields) = fields.split_first().ok_or_else(broken)?;
        if kind == "begin" {
            let [version, xid, snapshot, queries, spreads] = fields else { return Err(broken()) };
            if version != "1" {
                return Err(Error::new(
                    ErrorKind::UnsupportedFormat,
                    "captured change is of a newer format",
                )
                .hint("Use a newer version of pgkeep."));
            }
            let change = Change {
                xid: number(xid)?,
                snapshot: Visible::parse(snapshot).map_err(|error| broken().because(error))?,
                queries: queries.clone(),
                spreads: spreads == "true",
                ..Change::default()
            };
            self.change = Some((change, 0));
            return Ok(None);
        }
        if kind == "failed" {
            self.change = None;
            let state = fields.first().map_or("", String::as_str);
            return Err(Error::new(
                ErrorKind::Server,
                format!("server could not capture a change of definitions (SQLSTATE {state})"),
            )
            .hint("The next backup knows the definitions again."));
        }
        let (change, messages) = self.change.as_mut().ok_or_else(broken)?;
        if kind == "end" {
            if fields != [messages.to_string()] {
                return Err(broken());
            }
            return Ok(self.change.take().map(|(change, _)| change));
        }
        if kind == "answer" {
            *messages += 1;
        }
        change.take(kind, fields)?;
        Ok(None)
    }
}

impl Change {
    fn take(&mut self, kind: &str, fields: &[String]) -> Result<()> {
        match kind {
            "touched" | "beside" => {
                let (catalog, oids) = fields.split_first().ok_or_else(broken)?;
                let oids = oids.iter().map(|oid| number(oid)).collect::<Result<Vec<u32>>>()?;
                if kind == "beside" {
                    self.beside.extend(oids.iter().map(|oid| (catalog.clone(), *oid)));
                }
                self.touched.entry(catalog.clone()).or_default().extend(oids);
            }
            "rewritten" => {
                self.rewritten = fields.iter().map(|oid| number(oid)).collect::<Result<_>>()?;
            }
            "filled" => {
                self.filled = fields.iter().map(|oid| number(oid)).collect::<Result<_>>()?;
            }
            "unknown" => {
                for oid in fields {
                    self.unknown.insert(number(oid)?);
                }
            }
            "columns" => {
                for line in fields {
                    self.columns.push(column(&record::values(line)?)?);
                }
            }
            "whole" => {
                self.whole.insert(number(fields.first().ok_or_else(broken)?)?);
            }
            "answer" => {
                let (query, lines) = fields.split_first().ok_or_else(broken)?;
                let rows = self.answers.entry(number(query)?).or_default();
                for line in lines {
                    rows.push(record::values(line)?);
                }
            }
            // What a newer one tells besides.
            _ => {}
        }
        Ok(())
    }
}

fn column(values: &[Option<String>]) -> Result<Column> {
    let [Some(table), Some(attribute), Some(name), missing] = values else { return Err(broken()) };
    let missing = match array::optional_elements(missing.as_deref())? {
        // The catalog keeps the value in an array of one, of the column's own type.
        Some(values) => Some(values.into_iter().next().ok_or_else(broken)?),
        None => None,
    };
    Ok(Column { table: number(table)?, number: number(attribute)?, name: name.clone(), missing })
}

pub(super) fn number<T: std::str::FromStr>(text: &str) -> Result<T> {
    text.parse().map_err(|_| broken())
}

pub(super) fn broken() -> Error {
    Error::new(ErrorKind::Damaged, "captured change of definitions makes no sense")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_change_knows_of_what_its_snapshot_sees() {
        let change = |xid, snapshot: &str| {
            let snapshot = Visible::parse(snapshot).unwrap();
            Change { xid, snapshot, ..Change::default() }
        };
        let known =
            |change: &Change| -> Vec<u64> { (8..18).filter(|xid| change.knows_of(*xid)).collect() };
        let all_until = |change: &Change| -> Vec<u64> {
            (8..18).take_while(|xid| change.knows_of_all_until(*xid)).collect()
        };
        for (xid, snapshot, of, of_all) in [
            (12, "10:14:11,13", vec![8, 9, 10, 12], vec![8, 9, 10]),
            (10, "10:14:12", vec![8, 9, 10, 11, 13], vec![8, 9, 10, 11]),
            (12, "12:12:", vec![8, 9, 10, 11, 12], vec![8, 9, 10, 11, 12]),
            (14, "12:12:", vec![8, 9, 10, 11, 14], vec![8, 9, 10, 11]),
            (11, "11:14:", vec![8, 9, 10, 11, 12, 13], vec![8, 9, 10, 11, 12, 13]),
        ] {
            let change = change(xid, snapshot);
            assert_eq!(known(&change), of, "{xid} in {snapshot}");
            assert_eq!(all_until(&change), of_all, "{xid} in {snapshot}");
        }
        let last = u64::MAX;
        assert!(change(last, &format!("9:{last}:")).knows_of_all_until(last));
    }

    #[test]
    fn a_change_is_its_messages() {
        let mut reader = ChangeReader::default();
        let messages = [
            "{begin,1,740,739:741:,abc,true}",
            "{touched,pg_class,16384,16385}",
            "{rewritten,16384}",
            "{columns,\"(16384,1,a,{7})\",\"(16384,2,b,)\"}",
            "{whole,0}",
            "{answer,3,\"(16384,a)\"}",
        ];
        for message in messages {
            assert_eq!(reader.read(message.as_bytes()).unwrap(), None);
        }
        let change = reader.read(b"{end,1}").unwrap().unwrap();
        assert_eq!(change.xid, 740);
        assert_eq!(change.touched["pg_class"], HashSet::from([16384, 16385]));
        assert_eq!(change.columns[0].missing.as_deref(), Some("7"));
        assert_eq!(change.columns[1].missing, None);
        assert_eq!(change.answers[&3], [[Some("16384".to_owned()), Some("a".to_owned())]]);
    }

    #[test]
    fn messages_out_of_place_are_errors() {
        for messages in [
            &["{touched,pg_class,1}"][..],
            &["{begin,1,740,739:741:,abc,true}", "{end,1}"],
            &["{begin,1,x,739:741:,abc,true}"],
            &["{begin,1,740,739:x:,abc,true}"],
            &["{begin,2,740,739:741:,abc,true}"],
            &["{failed,55P03}"],
            &["{}"],
            &["no array"],
        ] {
            let mut reader = ChangeReader::default();
            let results: Vec<_> =
                messages.iter().map(|message| reader.read(message.as_bytes())).collect();
            assert!(results.iter().any(Result::is_err), "{messages:?}");
        }
    }

    proptest! {
        #[test]
        fn no_message_makes_it_panic(messages in proptest::collection::vec("\\{(begin|touched|columns|whole|answer|end),[(),\"0-9a-z\\\\]*\\}", 0..6)) {
            let mut reader = ChangeReader::default();
            for message in messages {
                let _ = reader.read(message.as_bytes());
            }
        }
    }
}
