//! Frames and rows, fed in pieces of every size, from well-behaved servers and hostile ones.

use super::inbox::{Inbox, Item, MESSAGE_BYTES_MAX};
use super::rows::RowReader;
use crate::{Error, ErrorKind, Result};
use pgkeep_format::entry::RowEncoding;
use postgres_protocol::message::backend::Message;
use proptest::prelude::*;

const BINARY_HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
const TRAILER: &[u8] = b"\xff\xff";

fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![tag];
    bytes.extend(u32::try_from(body.len() + 4).unwrap().to_be_bytes());
    bytes.extend(body);
    bytes
}

fn notice() -> Vec<u8> {
    message(b'N', b"SNOTICE\0MHello\0\0")
}

/// A COPY as a server sends it.
fn copy(encoding: RowEncoding, rows: &[Vec<u8>]) -> Vec<u8> {
    let mut stream = Vec::new();
    if encoding == RowEncoding::CopyText {
        stream.extend(rows.iter().flat_map(|row| message(b'd', row)));
    } else {
        let mut front = BINARY_HEADER.to_vec();
        for row in rows.iter().map(Vec::as_slice).chain([TRAILER]) {
            front.extend(row);
            stream.extend(message(b'd', &front));
            front.clear();
        }
    }
    stream.extend(message(b'c', b""));
    stream
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
fn feed(encoding: RowEncoding, stream: &[u8], pieces: &[usize]) -> Result<Out> {
    feed_and_count(encoding, stream, pieces, None)
}

/// The same, for a server that says how many rows it sent.
fn feed_and_count(
    encoding: RowEncoding,
    stream: &[u8],
    pieces: &[usize],
    reported: Option<u64>,
) -> Result<Out> {
    let mut inbox = Inbox::new();
    let mut reader = RowReader::new(encoding);
    let mut out = Out::default();
    let mut ends = Vec::new();
    let mut rest = stream;
    let mut lengths = pieces.iter().chain(std::iter::repeat(pieces.last().unwrap()));
    loop {
        let taken = reader.take(&mut inbox, &mut ends)?;
        let mut used = 0;
        let bytes = &inbox.bytes()[taken.range];
        for end in &ends {
            out.begun.extend(&bytes[used..*end]);
            out.rows.push(std::mem::take(&mut out.begun));
            used = *end;
        }
        out.begun.extend(&bytes[used..]);
        match taken.message {
            Some(Message::CopyDone) => {
                reader.finish(reported.or(Some(out.rows.len() as u64)))?;
                out.done = true;
                return Ok(out);
            }
            Some(message) => match super::answer(message) {
                None => out.notices += 1,
                Some(_) => return Err(Error::new(ErrorKind::Connection, "this is no COPY")),
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

fn refused(encoding: RowEncoding, stream: &[u8]) -> String {
    feed(encoding, stream, &[usize::MAX]).unwrap_err().to_string()
}

proptest! {
    #[test]
    fn rows_come_out_as_they_went_in_however_the_bytes_are_cut(
        bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..80), 0..40),
        pieces in prop::collection::vec(1usize..120, 1..60),
    ) {
        for (encoding, rows) in [
            (RowEncoding::CopyText, text_rows(&bodies)),
            (RowEncoding::CopyBinary, binary_rows(&bodies)),
        ] {
            let out = feed(encoding, &copy(encoding, &rows), &pieces).unwrap();
            prop_assert_eq!(out, Out { rows, done: true, ..Out::default() });
        }
    }

    #[test]
    fn no_bytes_make_it_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        pieces in prop::collection::vec(1usize..40, 1..10),
        binary in any::<bool>(),
    ) {
        let encoding = if binary { RowEncoding::CopyBinary } else { RowEncoding::CopyText };
        let _ = feed(encoding, &bytes, &pieces);
    }

    #[test]
    fn a_byte_changed_in_a_copy_is_an_error_or_a_change_in_its_row(
        at in 0usize..80,
        value in any::<u8>(),
    ) {
        let rows = binary_rows(&[b"one".to_vec(), b"two".to_vec()]);
        let mut stream = copy(RowEncoding::CopyBinary, &rows);
        let at = at % stream.len();
        stream[at] = value;
        if let Ok(out) = feed_and_count(RowEncoding::CopyBinary, &stream, &[7], Some(2)) {
            prop_assert!(!out.done || out.rows.len() == 2);
        }
    }
}

#[test]
fn every_place_to_cut_gives_the_same_rows_and_notices_between_them_are_heard() {
    for encoding in [RowEncoding::CopyText, RowEncoding::CopyBinary] {
        let bodies = [b"a".to_vec(), Vec::new(), vec![7; 100]];
        let rows = match encoding {
            RowEncoding::CopyText => text_rows(&bodies),
            _ => binary_rows(&bodies),
        };
        let stream = [notice(), copy(encoding, &rows[..1])].concat();
        let whole = feed(encoding, &stream, &[usize::MAX]).unwrap();
        assert_eq!(whole.notices, 1);
        let stream = copy(encoding, &rows);
        for cut in 1..stream.len() {
            let out = feed(encoding, &stream, &[cut, usize::MAX]).unwrap();
            assert_eq!(out, Out { rows: rows.clone(), done: true, ..Out::default() }, "{cut}");
        }
    }
}

#[test]
fn a_row_larger_than_the_buffer_comes_in_pieces_and_the_buffer_stays() {
    let body = vec![b'x'; 3 << 20];
    let stream = copy(RowEncoding::CopyText, &text_rows(std::slice::from_ref(&body)));
    let mut inbox = Inbox::new();
    let before = inbox.bytes().len();
    let mut reader = RowReader::new(RowEncoding::CopyText);
    let (mut ends, mut rest, mut total, mut runs) = (Vec::new(), stream.as_slice(), 0, 0);
    while !rest.is_empty() {
        let spare = inbox.spare();
        let length = spare.len().min(rest.len());
        spare[..length].copy_from_slice(&rest[..length]);
        inbox.filled(length);
        rest = &rest[length..];
        let taken = reader.take(&mut inbox, &mut ends).unwrap();
        total += taken.range.len();
        runs += 1;
        assert_eq!(ends.len(), usize::from(rest.is_empty()), "only the last piece ends the row");
    }
    assert_eq!(total, body.len() + 1);
    assert!(runs > 10);
    assert_eq!(inbox.bytes().len(), before);
}

#[test]
fn lengths_that_cannot_be_are_refused_before_any_memory_is_had() {
    for length in [0u32, 3, 0x8000_0000, 0xffff_ffff] {
        for tag in [b'd', b'N'] {
            let stream = [&[tag][..], &length.to_be_bytes()].concat();
            let message = refused(RowEncoding::CopyText, &stream);
            assert!(message.contains("not of the protocol"), "{message}");
        }
    }
    let too_long = u32::try_from(MESSAGE_BYTES_MAX + 5).unwrap();
    let stream = [&b"N"[..], &too_long.to_be_bytes()].concat();
    assert!(refused(RowEncoding::CopyText, &stream).contains("too long"));

    let mut inbox = Inbox::new();
    let before = inbox.bytes().len();
    inbox.spare()[..5].copy_from_slice(&[b'd', 0x7f, 0xff, 0xff, 0xff]);
    inbox.filled(5);
    assert!(inbox.next().unwrap().is_none());
    assert_eq!(inbox.spare().len(), before - 5);
}

#[test]
fn a_long_notice_is_read_whole() {
    let body = [b"M".as_slice(), &vec![b'n'; 1 << 20], b"\0\0"].concat();
    let stream = [message(b'N', &body), copy(RowEncoding::CopyText, &[])].concat();
    let out = feed(RowEncoding::CopyText, &stream, &[1000]).unwrap();
    assert_eq!((out.notices, out.done), (1, true));
}

#[test]
fn copy_that_breaks_its_format_is_refused() {
    let text = |body: &[u8]| [message(b'd', body), message(b'c', b"")].concat();
    assert!(refused(RowEncoding::CopyText, &text(b"no newline")).contains("without its end"));
    assert!(refused(RowEncoding::CopyText, &text(b"")).contains("without its end"));

    let binary = |messages: &[&[u8]]| {
        let mut stream: Vec<u8> = messages.iter().flat_map(|body| message(b'd', body)).collect();
        stream.extend(message(b'c', b""));
        stream
    };
    let with = |at: usize, byte: u8| {
        let mut header = [BINARY_HEADER, TRAILER].concat();
        header[at] = byte;
        binary(&[&header])
    };
    let first = [BINARY_HEADER, b"\0\x01x"].concat();
    for (stream, part) in [
        (binary(&[b"\0\x01x", TRAILER]), "no header"),
        (binary(&[&BINARY_HEADER[..18]]), "no header"),
        (with(0, b'Q'), "no header"),
        (with(11, 1), "flags"),
        (with(18, 200), "long extension"),
        (binary(&[&first]), "no trailer"),
        (binary(&[]), "no trailer"),
        (binary(&[&first, TRAILER, b"\0\x01x"]), "after the end"),
        (binary(&[&first, b"\xff\xfe"]), "impossible"),
        (binary(&[&first, b"\0"]), "impossible"),
        (binary(&[&first, b""]), "impossible"),
        (binary(&[&first, b"\xff\xffx"]), "impossible"),
    ] {
        let message = refused(RowEncoding::CopyBinary, &stream);
        assert!(message.contains(part), "{message} / {part}");
    }
    // What a header may hold without our knowing it is passed over.
    let header = [&BINARY_HEADER[..18], b"\x02zz", TRAILER].concat();
    assert!(feed(RowEncoding::CopyBinary, &binary(&[&header]), &[1]).unwrap().done);
}

#[test]
fn a_count_of_rows_that_is_not_what_came_is_refused() {
    let mut reader = RowReader::new(RowEncoding::CopyText);
    let mut inbox = Inbox::new();
    let stream = message(b'd', b"row\n");
    inbox.spare()[..stream.len()].copy_from_slice(&stream);
    inbox.filled(stream.len());
    reader.take(&mut inbox, &mut Vec::new()).unwrap();
    assert_eq!(reader.finish(Some(1)).unwrap(), 1);
    assert!(reader.finish(Some(2)).is_err() && reader.finish(None).is_err());
    assert!(inbox.next().unwrap().is_none());
}

#[test]
fn messages_that_are_not_copy_come_out_whole() {
    let mut inbox = Inbox::new();
    let stream = [message(b'Z', b"I"), message(b'C', b"COPY 3\0")].concat();
    for byte in &stream[..6] {
        assert!(!matches!(inbox.next(), Ok(Some(_)) | Err(_)));
        inbox.spare()[0] = *byte;
        inbox.filled(1);
    }
    assert!(matches!(inbox.next(), Ok(Some(Item::Message(Message::ReadyForQuery(_))))));
    assert!(matches!(inbox.next(), Ok(None)));
}
