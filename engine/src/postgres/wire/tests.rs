//! Frames and rows, fed in pieces of every size, from well-behaved servers and hostile ones.

use super::inbox::{Carrier, Inbox, Item, MESSAGE_BYTES_MAX};
use super::rows::RowReader;
use crate::{Error, ErrorKind, Result};
use postgres_protocol::message::backend::Message;
use proptest::prelude::*;

fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![tag];
    bytes.extend(u32::try_from(body.len() + 4).unwrap().to_be_bytes());
    bytes.extend(body);
    bytes
}

fn notice() -> Vec<u8> {
    message(b'N', b"SNOTICE\0MHello\0\0")
}

/// Rows as a server sends them.
fn sent(carrier: Carrier, rows: &[Vec<u8>]) -> Vec<u8> {
    let (tag, end) = match carrier {
        Carrier::CopyData => (b'd', message(b'c', b"")),
        Carrier::DataRow => (b'D', message(b'C', b"SELECT 1\0")),
    };
    rows.iter().flat_map(|row| message(tag, row)).chain(end).collect()
}

/// What came out: the rows, and the bytes of one that did not end.
#[derive(Debug, Default, PartialEq)]
struct Out {
    rows: Vec<Vec<u8>>,
    begun: Vec<u8>,
    done: bool,
    notices: usize,
}

/// Feeds a stream in pieces of these lengths, the last one again and again.
fn feed(carrier: Carrier, stream: &[u8], pieces: &[usize]) -> Result<Out> {
    feed_and_count(carrier, stream, pieces, None)
}

/// The same, for a server that says how many rows it sent.
fn feed_and_count(
    carrier: Carrier,
    stream: &[u8],
    pieces: &[usize],
    reported: Option<u64>,
) -> Result<Out> {
    let mut inbox = Inbox::new();
    let mut reader = RowReader::new(carrier);
    let mut out = Out::default();
    let (mut rows, mut ends) = (Vec::new(), Vec::new());
    let mut rest = stream;
    let mut lengths = pieces.iter().chain(std::iter::repeat(pieces.last().unwrap()));
    loop {
        let message = reader.take(&mut inbox, &mut rows, &mut ends)?;
        let mut used = 0;
        for end in &ends {
            out.begun.extend(&rows[used..*end]);
            out.rows.push(std::mem::take(&mut out.begun));
            used = *end;
        }
        out.begun.extend(rows.drain(..).skip(used));
        match message {
            Some(Message::CopyDone | Message::CommandComplete(_)) => {
                reader.finish(reported.or(Some(out.rows.len() as u64)))?;
                out.done = true;
                return Ok(out);
            }
            Some(message) => match super::answer(message) {
                None => out.notices += 1,
                Some(_) => return Err(Error::new(ErrorKind::Connection, "these are no rows")),
            },
            None if rest.is_empty() => return Ok(out),
            None => {
                let spare = inbox.spare();
                let length = (*lengths.next().unwrap()).max(1).min(rest.len()).min(spare.len());
                spare[..length].copy_from_slice(&rest[..length]);
                inbox.filled(length);
                rest = &rest[length..];
            }
        }
    }
}

fn text_rows(bodies: &[Vec<u8>]) -> Vec<Vec<u8>> {
    bodies.iter().map(|body| [body.as_slice(), b"\n"].concat()).collect()
}

fn binary_rows(bodies: &[Vec<u8>]) -> Vec<Vec<u8>> {
    bodies.iter().map(|body| [b"\0\x01".as_slice(), body].concat()).collect()
}

fn refused(carrier: Carrier, stream: &[u8]) -> String {
    feed(carrier, stream, &[usize::MAX]).unwrap_err().to_string()
}

proptest! {
    #[test]
    fn rows_come_out_as_they_went_in_however_the_bytes_are_cut(
        bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..80), 0..40),
        pieces in prop::collection::vec(1usize..120, 1..60),
    ) {
        for (carrier, rows) in [
            (Carrier::CopyData, text_rows(&bodies)),
            (Carrier::DataRow, binary_rows(&bodies)),
        ] {
            let out = feed(carrier, &sent(carrier, &rows), &pieces).unwrap();
            prop_assert_eq!(out, Out { rows, done: true, ..Out::default() });
        }
    }

    #[test]
    fn no_bytes_make_it_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        pieces in prop::collection::vec(1usize..40, 1..10),
        binary in any::<bool>(),
    ) {
        let carrier = if binary { Carrier::DataRow } else { Carrier::CopyData };
        let _ = feed(carrier, &bytes, &pieces);
    }

    #[test]
    fn a_byte_changed_in_a_message_is_an_error_or_a_change_in_its_row(
        at in 0usize..80,
        value in any::<u8>(),
    ) {
        let rows = binary_rows(&[b"one".to_vec(), b"two".to_vec()]);
        let mut stream = sent(Carrier::DataRow, &rows);
        let at = at % stream.len();
        stream[at] = value;
        if let Ok(out) = feed_and_count(Carrier::DataRow, &stream, &[7], Some(2)) {
            prop_assert!(!out.done || out.rows.len() == 2);
        }
    }
}

#[test]
fn every_place_to_cut_gives_the_same_rows_and_notices_between_them_are_heard() {
    for carrier in [Carrier::CopyData, Carrier::DataRow] {
        let bodies = [b"a".to_vec(), Vec::new(), vec![7; 100]];
        let rows = match carrier {
            Carrier::CopyData => text_rows(&bodies),
            _ => binary_rows(&bodies),
        };
        let stream = [notice(), sent(carrier, &rows[..1])].concat();
        let whole = feed(carrier, &stream, &[usize::MAX]).unwrap();
        assert_eq!(whole.notices, 1);
        let stream = sent(carrier, &rows);
        for cut in 1..stream.len() {
            let out = feed(carrier, &stream, &[cut, usize::MAX]).unwrap();
            assert_eq!(out, Out { rows: rows.clone(), done: true, ..Out::default() }, "{cut}");
        }
    }
}

#[test]
fn a_row_larger_than_the_buffer_comes_in_pieces_and_the_buffer_stays() {
    let body = vec![b'x'; 3 << 20];
    let stream = sent(Carrier::CopyData, &text_rows(std::slice::from_ref(&body)));
    let mut inbox = Inbox::new();
    let before = inbox.bytes().len();
    let mut reader = RowReader::new(Carrier::CopyData);
    let (mut rows, mut ends) = (Vec::new(), Vec::new());
    let (mut rest, mut runs) = (stream.as_slice(), 0);
    while !rest.is_empty() {
        let spare = inbox.spare();
        let length = spare.len().min(rest.len());
        spare[..length].copy_from_slice(&rest[..length]);
        inbox.filled(length);
        rest = &rest[length..];
        reader.take(&mut inbox, &mut rows, &mut ends).unwrap();
        runs += 1;
        assert_eq!(ends.len(), usize::from(rest.is_empty()), "only the last piece ends the row");
    }
    assert_eq!(rows.len(), body.len() + 1);
    assert!(runs > 10);
    assert_eq!(inbox.bytes().len(), before);
}

#[test]
fn lengths_that_cannot_be_are_refused_before_any_memory_is_had() {
    for length in [0u32, 3, 0x8000_0000, 0xffff_ffff] {
        for tag in [b'd', b'N'] {
            let stream = [&[tag][..], &length.to_be_bytes()].concat();
            let message = refused(Carrier::CopyData, &stream);
            assert!(message.contains("not of the protocol"), "{message}");
        }
    }
    let too_long = u32::try_from(MESSAGE_BYTES_MAX + 5).unwrap();
    let stream = [&b"N"[..], &too_long.to_be_bytes()].concat();
    assert!(refused(Carrier::CopyData, &stream).contains("too long"));

    let mut inbox = Inbox::new();
    let before = inbox.bytes().len();
    inbox.spare()[..5].copy_from_slice(&[b'd', 0x7f, 0xff, 0xff, 0xff]);
    inbox.filled(5);
    assert!(inbox.next(Carrier::CopyData).unwrap().is_none());
    assert_eq!(inbox.spare().len(), before - 5);
}

#[test]
fn a_long_notice_is_read_whole() {
    let body = [b"M".as_slice(), &vec![b'n'; 1 << 20], b"\0\0"].concat();
    let stream = [message(b'N', &body), sent(Carrier::CopyData, &[])].concat();
    let out = feed(Carrier::CopyData, &stream, &[1000]).unwrap();
    assert_eq!((out.notices, out.done), (1, true));
}

#[test]
fn what_is_no_row_is_refused() {
    for body in [&b"no newline"[..], b""] {
        let stream = [message(b'd', body), message(b'c', b"")].concat();
        assert!(refused(Carrier::CopyData, &stream).contains("without its end"));
    }
    for body in [&b"\xff\xff"[..], b"\x80\0x", b"\0", b""] {
        let message = refused(Carrier::DataRow, &message(b'D', body));
        assert!(message.contains("impossible"), "{message}");
    }
}

#[test]
fn rows_that_come_as_others_than_were_asked_for_are_refused() {
    let text = sent(Carrier::CopyData, &text_rows(&[b"a".to_vec()]));
    assert!(refused(Carrier::DataRow, &text).contains("no rows"));
    let binary = sent(Carrier::DataRow, &binary_rows(&[b"\n".to_vec()]));
    assert!(refused(Carrier::CopyData, &binary).contains("no rows"));
}

#[test]
fn a_count_of_rows_that_is_not_what_came_is_refused() {
    let mut reader = RowReader::new(Carrier::CopyData);
    let mut inbox = Inbox::new();
    let stream = message(b'd', b"row\n");
    inbox.spare()[..stream.len()].copy_from_slice(&stream);
    inbox.filled(stream.len());
    reader.take(&mut inbox, &mut Vec::new(), &mut Vec::new()).unwrap();
    assert_eq!(reader.finish(Some(1)).unwrap(), 1);
    assert!(reader.finish(Some(2)).is_err() && reader.finish(None).is_err());
    assert!(inbox.next(Carrier::CopyData).unwrap().is_none());
}

#[test]
fn messages_that_are_not_copy_come_out_whole() {
    let mut inbox = Inbox::new();
    let stream = [message(b'Z', b"I"), message(b'C', b"COPY 3\0")].concat();
    for byte in &stream[..6] {
        assert!(!matches!(inbox.next(Carrier::CopyData), Ok(Some(_)) | Err(_)));
        inbox.spare()[0] = *byte;
        inbox.filled(1);
    }
    assert!(matches!(
        inbox.next(Carrier::CopyData),
        Ok(Some(Item::Message(Message::ReadyForQuery(_))))
    ));
    assert!(matches!(inbox.next(Carrier::CopyData), Ok(None)));
}
