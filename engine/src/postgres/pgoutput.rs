//! Messages of pgoutput, the output plugin that every server has: bytes to values that
//! borrow from them, nothing else.
//! <https://www.postgresql.org/docs/current/protocol-logicalrep-message-formats.html>
//!
//! The bytes come from a server, which may be anything: no length is trusted.

use super::POSTGRES_EPOCH_MICROS;
use crate::{Error, ErrorKind, Lsn, Result};

/// Most columns that PostgreSQL gives a table.
const COLUMNS_MAX: usize = 1664;

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message<'a> {
    /// A transaction that has committed begins.
    Begin {
        /// Where its commit record begins.
        lsn: Lsn,
        /// Its top-level transaction id.
        xid: u32,
    },
    /// It ends.
    Commit(Commit),
    /// Where it came from, when another server replicated it.
    Origin(&'a [u8]),
    /// What a table looks like for the changes that follow.
    Relation(Relation<'a>),
    /// A type that a relation uses; its names are not needed.
    Type,
    /// Rows of tables.
    Change(Change<'a>),
    /// What `pg_logical_emit_message` wrote.
    Logical(Logical<'a>),
    /// Changes of a transaction that still runs follow.
    StreamStart {
        /// Its top-level transaction id.
        xid: u32,
    },
    /// They end for now.
    StreamStop,
    /// A transaction whose changes were streamed has committed.
    StreamCommit {
        /// Its top-level transaction id.
        xid: u32,
        /// When and where.
        commit: Commit,
    },
    /// A transaction whose changes were streamed, or a part of it, was rolled back.
    StreamAbort {
        /// Its top-level transaction id.
        xid: u32,
        /// What was rolled back: a subtransaction, or the transaction itself.
        subxid: u32,
    },
}

/// When and where a transaction committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Commit {
    /// Where its commit record begins.
    pub lsn: Lsn,
    /// Where its commit record ends.
    pub end: Lsn,
    /// Microseconds since 1970 UTC by the server's clock.
    pub time: i64,
}

/// What a table looks like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relation<'a> {
    /// Its OID.
    pub oid: u32,
    /// Its schema, in the session's encoding; empty for `pg_catalog`.
    pub schema: &'a [u8],
    /// Its name.
    pub name: &'a [u8],
    /// `relreplident`: `d`, `n`, `f` or `i`.
    pub replica_identity: u8,
    /// Its published columns, in the order of tuples.
    pub columns: Vec<Column<'a>>,
}

/// A column of a [`Relation`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column<'a> {
    /// Whether it is part of what identifies a row.
    pub is_key: bool,
    /// Its name.
    pub name: &'a [u8],
    /// OID of its type.
    pub type_oid: u32,
    /// `atttypmod`.
    pub type_modifier: i32,
}

/// A change, in a transaction that has committed or still runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change<'a> {
    /// The subtransaction that made it; only of a transaction that still runs.
    pub xid: Option<u32>,
    /// What it did.
    pub action: Action<'a>,
}

/// What a change did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action<'a> {
    /// A row came.
    Insert {
        /// The table's OID.
        relation: u32,
        /// The row.
        new: Tuple<'a>,
    },
    /// A row changed.
    Update {
        /// The table's OID.
        relation: u32,
        /// What it was, where the key changed or all of it is published.
        old: Option<Old<'a>>,
        /// What it is.
        new: Tuple<'a>,
    },
    /// A row went.
    Delete {
        /// The table's OID.
        relation: u32,
        /// What it was.
        old: Old<'a>,
    },
    /// Tables were emptied.
    Truncate {
        /// Their OIDs.
        relations: Vec<u32>,
    },
}

/// What a row was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Old<'a> {
    /// Whether all columns are there, and not only those that identify the row.
    pub is_whole: bool,
    /// Its values; those that are not there are NULL.
    pub tuple: Tuple<'a>,
}

/// A row's values, in the order of the relation's columns.
pub type Tuple<'a> = Vec<Value<'a>>;

/// A value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value<'a> {
    /// NULL.
    Null,
    /// It lies in TOAST and is what it was before.
    Unchanged,
    /// As its type's output function writes it, in the session's encoding.
    Text(&'a [u8]),
}

/// What `pg_logical_emit_message` wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Logical<'a> {
    /// The subtransaction that wrote it; only of a transaction that still runs.
    pub xid: Option<u32>,
    /// Whether it belongs to the transaction, and is gone when that is rolled back.
    pub transactional: bool,
    /// Where it lies in the WAL.
    pub lsn: Lsn,
    /// Whom it is for.
    pub prefix: &'a [u8],
    /// What it says.
    pub content: &'a [u8],
}

/// Reads one message; `in_stream` between [`Message::StreamStart`] and
/// [`Message::StreamStop`], where changes name their subtransaction.
///
/// # Errors
/// [`ErrorKind::Connection`] when it is none, [`ErrorKind::UnsupportedServer`] when it is of
/// a kind that was not asked for.
pub fn decode(bytes: &[u8], in_stream: bool) -> Result<Message<'_>> {
    let mut reader = Reader { rest: bytes };
    let tag = reader.u8()?;
    let message = match tag {
        b'B' => {
            let lsn = Lsn(reader.u64()?);
            reader.take(8)?;
            Message::Begin { lsn, xid: reader.u32()? }
        }
        b'C' => Message::Commit(reader.commit()?),
        b'O' => {
            reader.take(8)?;
            Message::Origin(reader.string()?)
        }
        b'R' => {
            reader.xid(in_stream)?;
            Message::Relation(reader.relation()?)
        }
        b'Y' => {
            reader.rest = &[];
            Message::Type
        }
        b'I' | b'U' | b'D' | b'T' => {
            let xid = reader.xid(in_stream)?;
            Message::Change(Change { xid, action: reader.action(tag)? })
        }
        b'M' => {
            let xid = reader.xid(in_stream)?;
            let transactional = reader.u8()? & 1 == 1;
            let lsn = Lsn(reader.u64()?);
            let prefix = reader.string()?;
            let len = reader.len()?;
            let content = reader.take(len)?;
            Message::Logical(Logical { xid, transactional, lsn, prefix, content })
        }
        b'S' => {
            let xid = reader.u32()?;
            reader.u8()?;
            Message::StreamStart { xid }
        }
        b'E' => Message::StreamStop,
        b'c' => Message::StreamCommit { xid: reader.u32()?, commit: reader.commit()? },
        b'A' => {
            let (xid, subxid) = (reader.u32()?, reader.u32()?);
            // Position and time follow where the protocol's version is 4.
            reader.rest = &[];
            Message::StreamAbort { xid, subxid }
        }
        other => {
            let message = format!("server sent a replication message of kind {other:#04x}");
            return Err(Error::new(ErrorKind::UnsupportedServer, message));
        }
    };
    if reader.rest.is_empty() { Ok(message) } else { Err(nonsense()) }
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or_else(nonsense)?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or_else(nonsense)?;
        self.rest = rest;
        Ok(*taken)
    }

    fn u8(&mut self) -> Result<u8> {
        Ok(u8::from_be_bytes(self.array()?))
    }

    fn u16(&mut self) -> Result<u16> {
        Ok(u16::from_be_bytes(self.array()?))
    }

    fn u32(&mut self) -> Result<u32> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    fn u64(&mut self) -> Result<u64> {
        Ok(u64::from_be_bytes(self.array()?))
    }

    fn len(&mut self) -> Result<usize> {
        usize::try_from(self.u32()?).map_err(|_| nonsense())
    }

    /// A string that ends with a zero byte.
    fn string(&mut self) -> Result<&'a [u8]> {
        let end = self.rest.iter().position(|byte| *byte == 0).ok_or_else(nonsense)?;
        let string = self.take(end)?;
        self.u8()?;
        Ok(string)
    }

    fn xid(&mut self, in_stream: bool) -> Result<Option<u32>> {
        in_stream.then(|| self.u32()).transpose()
    }

    fn commit(&mut self) -> Result<Commit> {
        self.u8()?;
        let (lsn, end) = (Lsn(self.u64()?), Lsn(self.u64()?));
        let time = i64::from_be_bytes(self.array()?).saturating_add(POSTGRES_EPOCH_MICROS);
        Ok(Commit { lsn, end, time })
    }

    fn relation(&mut self) -> Result<Relation<'a>> {
        let oid = self.u32()?;
        let (schema, name) = (self.string()?, self.string()?);
        let replica_identity = self.u8()?;
        let columns = (0..self.columns()?).map(|_| self.column()).collect::<Result<_>>()?;
        Ok(Relation { oid, schema, name, replica_identity, columns })
    }

    fn columns(&mut self) -> Result<usize> {
        let count = usize::from(self.u16()?);
        if count > COLUMNS_MAX { Err(nonsense()) } else { Ok(count) }
    }

    fn column(&mut self) -> Result<Column<'a>> {
        let is_key = self.u8()? & 1 == 1;
        let (name, type_oid) = (self.string()?, self.u32()?);
        let type_modifier = i32::from_be_bytes(self.array()?);
        Ok(Column { is_key, name, type_oid, type_modifier })
    }

    fn action(&mut self, tag: u8) -> Result<Action<'a>> {
        if tag == b'T' {
            let count = self.len()?;
            self.u8()?;
            // An OID takes four bytes, so there can be no more than that.
            if count > self.rest.len() / 4 {
                return Err(nonsense());
            }
            let relations = (0..count).map(|_| self.u32()).collect::<Result<_>>()?;
            return Ok(Action::Truncate { relations });
        }
        let relation = self.u32()?;
        let mut kind = self.u8()?;
        let mut old = None;
        if tag != b'I' && matches!(kind, b'K' | b'O') {
            old = Some(Old { is_whole: kind == b'O', tuple: self.tuple()? });
            if tag == b'U' {
                kind = self.u8()?;
            }
        }
        match (tag, kind, old) {
            (b'I', b'N', None) => Ok(Action::Insert { relation, new: self.tuple()? }),
            (b'U', b'N', old) => Ok(Action::Update { relation, old, new: self.tuple()? }),
            (b'D', _, Some(old)) => Ok(Action::Delete { relation, old }),
            _ => Err(nonsense()),
        }
    }

    fn tuple(&mut self) -> Result<Tuple<'a>> {
        (0..self.columns()?).map(|_| self.value()).collect()
    }

    fn value(&mut self) -> Result<Value<'a>> {
        match self.u8()? {
            b'n' => Ok(Value::Null),
            b'u' => Ok(Value::Unchanged),
            b't' => {
                let len = self.len()?;
                self.take(len).map(Value::Text)
            }
            _ => Err(nonsense()),
        }
    }
}

fn nonsense() -> Error {
    Error::new(ErrorKind::Connection, "server sent a replication message that makes no sense")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn update() -> Vec<u8> {
        let mut bytes = b"U\0\0\0\x07O\0\x02t\0\0\0\x011n".to_vec();
        bytes.extend(b"N\0\x02t\0\0\0\x012u");
        bytes
    }

    #[test]
    fn an_update_is_read_with_what_it_was_and_what_it_left_alone() {
        let old = Old { is_whole: true, tuple: vec![Value::Text(b"1"), Value::Null] };
        let new = vec![Value::Text(b"2"), Value::Unchanged];
        let action = Action::Update { relation: 7, old: Some(old), new };
        let message = Message::Change(Change { xid: None, action: action.clone() });
        assert_eq!(decode(&update(), false).unwrap(), message);

        let mut streamed = update();
        streamed.splice(1..1, [0, 0, 0, 9]);
        let message = Message::Change(Change { xid: Some(9), action });
        assert_eq!(decode(&streamed, true).unwrap(), message);
    }

    #[test]
    fn a_message_that_ends_early_or_late_is_refused() {
        let whole = update();
        for len in 0..whole.len() {
            assert!(decode(&whole[..len], false).is_err(), "{len} bytes");
        }
        assert!(decode(&[&whole[..], b"x"].concat(), false).is_err());
    }

    proptest! {
        #[test]
        fn no_message_makes_the_reader_panic(
            tag in prop::sample::select(b"BCORYIUDTMSEcAbPKrp".to_vec()),
            bytes in prop::collection::vec(any::<u8>(), 0..200),
            in_stream in any::<bool>(),
        ) {
            let _ = decode(&[&[tag][..], &bytes].concat(), in_stream);
        }
    }
}
