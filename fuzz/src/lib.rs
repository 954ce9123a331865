//! What the fuzz targets check of each decoder: that it never panics, and that what it takes
//! is written back as it was, so that nothing in the bytes went unread.
//!
//! Checksums would keep a fuzzer out of everything behind them, so each place that has one
//! is tried both as it came and with the right checksum put in.

use pgkeep_engine::postgres::copy_binary::TextRows;
use pgkeep_engine::postgres::{fuzzing, pgoutput as decoder};
use pgkeep_engine::seal::{self, Secrets};
use pgkeep_format::{
    catalog_image, cbor, change, config, entry, frame, index, key, manifest, name, object, pack,
};
use pgkeep_format::{id, segment, single_file, stream, tuple, tuple_columns};

/// `bytes` with the CRC32 of what lies between `from` and `at` put in at `at`; nothing when
/// they are too short.
fn with_checksum(bytes: &[u8], from: usize, at: usize) -> Option<Vec<u8>> {
    let mut bytes = bytes.to_vec();
    let checksum = crc32fast::hash(bytes.get(from..at)?);
    bytes.get_mut(at..at + 4)?.copy_from_slice(&checksum.to_le_bytes());
    Some(bytes)
}

/// Runs a check on the bytes as they are and with their checksum repaired.
fn also_repaired(bytes: &[u8], from: usize, at: usize, check: impl Fn(&[u8])) {
    check(bytes);
    if let Some(repaired) = with_checksum(bytes, from, at) {
        check(&repaired);
    }
}

/// A structured value that is taken must be written back as it was found, but for keys of a
/// later version; so what is written is compared with itself read again.
fn structured<T>(bytes: &[u8])
where
    T: PartialEq + std::fmt::Debug + minicbor::Encode<()> + for<'b> minicbor::Decode<'b, ()>,
{
    if let Ok(value) = cbor::decode::<T>("fuzz", bytes) {
        let written = cbor::encode(&value);
        assert_eq!(cbor::decode::<T>("fuzz", &written).as_ref(), Ok(&value));
        assert!(written.len() <= bytes.len());
    }
}

/// Frame header, payload checksum and inner header.
pub fn frame(bytes: &[u8]) {
    also_repaired(bytes, 0, 92, |bytes| {
        if let Ok(header) = frame::FrameHeader::decode(bytes) {
            assert_eq!(header.encode()[..], bytes[..frame::HEADER_LEN]);
            assert!(bytes.starts_with(&header.associated_data()));
            assert!(
                header.check_payload(&bytes[frame::HEADER_LEN..]).is_err() || !bytes.is_empty()
            );
        }
    });
    if let Ok((header, body)) = frame::InnerHeader::decode(bytes) {
        assert_eq!([&header.encode()[..], body].concat(), bytes);
    }
}

/// Footers, trailers and indexes of packs; lists of chunks.
pub fn pack_footer(bytes: &[u8]) {
    if let Ok(entries) = pack::decode_footer(bytes) {
        assert_eq!(pack::encode_footer(&entries), bytes);
    }
    if let Ok(packs) = index::decode(bytes) {
        assert_eq!(index::encode(&packs), bytes);
    }
    if let Ok(references) = stream::decode_references(bytes) {
        assert_eq!(stream::encode_references(&references), bytes);
        for left_out in references.iter().filter_map(|reference| reference.left_out.as_ref()) {
            for encoding in [entry::RowEncoding::CopyText, entry::RowEncoding::CopyBinary] {
                let mut rows = bytes.to_vec();
                // Refused, or shorter by what was left out.
                let _ = left_out.remove(encoding, &mut rows);
                assert!(rows.len() <= bytes.len());
            }
        }
    }
    also_repaired(bytes, 0, 24, |bytes| {
        // A length that fits is the one the trailer itself leads to.
        let number = |at: usize| Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
        let fitting = number(0).zip(number(8)).map(|(offset, len)| offset.wrapping_add(len));
        for len in [bytes.len() as u64, fitting.unwrap_or(0).wrapping_add(32)] {
            if let Ok(trailer) = pack::Trailer::decode(bytes, len) {
                assert_eq!(trailer.encode()[..], bytes[..]);
                assert!(trailer.footer_offset + trailer.footer_len < len);
            }
        }
    });
}

/// Signed objects, configs, manifests and keys.
pub fn manifest(bytes: &[u8]) {
    also_repaired(bytes, 0, 60, |bytes| {
        let body_end = object::ObjectHeader::decode(bytes).ok().and_then(|header| {
            let len = usize::try_from(header.body_len).ok()?;
            object::HEADER_LEN.checked_add(len)
        });
        // The body's own checksum lies right behind it.
        let repaired = body_end.and_then(|end| with_checksum(bytes, object::HEADER_LEN, end));
        for bytes in [Some(bytes.to_vec()), repaired].into_iter().flatten() {
            if let Ok(signed) = object::decode_signed(&bytes) {
                let written = object::encode_signed(
                    &signed.header,
                    signed.body,
                    signed.signer,
                    &signed.signature,
                );
                assert_eq!(written, bytes);
            }
        }
    });
    if let Ok((clear, sealed)) = manifest::decode_body(bytes) {
        let written = manifest::encode_body(&clear, sealed);
        assert_eq!(manifest::decode_body(&written), Ok((clear, sealed)));
    }
    structured::<manifest::SealedPart>(bytes);
    structured::<manifest::ClearPart>(bytes);
    // Only that it does not panic: the value that it makes is checked by the above.
    let _ = config::Config::decode(bytes);
    let at = |from: usize| bytes.get(from..from + 16).and_then(|id| <[u8; 16]>::try_from(id).ok());
    if let Some((repository, id)) = at(16).zip(at(32)) {
        let (repository, id) = (id::RepositoryId(repository), id::KeyId(id));
        if let Ok(material) = key::decode(bytes, repository, id) {
            assert_eq!(key::encode(repository, id, &material), bytes);
        }
    }
}

/// The stream of a backup's entries.
pub fn entries(bytes: &[u8]) {
    let mut rest = bytes;
    while let Ok((entry, len)) = cbor::decode_first::<entry::Entry>("fuzz", rest) {
        assert!(len > 0 && len <= rest.len());
        let written = cbor::encode(&entry);
        assert_eq!(cbor::decode::<entry::Entry>("fuzz", &written), Ok(entry));
        rest = &rest[len..];
    }
}

/// Records, directory and trailer of a single file; names of objects.
pub fn single_file(bytes: &[u8]) {
    also_repaired(bytes, 0, 28, |bytes| {
        if let Ok(header) = single_file::RecordHeader::decode(bytes) {
            assert_eq!(header.encode()[..], bytes[..single_file::RECORD_HEADER_LEN]);
        }
    });
    also_repaired(bytes, 0, 24, |bytes| {
        let number = |at: usize| Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
        let fitting = number(0).zip(number(8)).map(|(offset, len)| offset.wrapping_add(len));
        for len in [bytes.len() as u64, fitting.unwrap_or(0).wrapping_add(64)] {
            if let Ok(trailer) = single_file::Trailer::decode(bytes, len) {
                assert_eq!(trailer.encode()[..], bytes[..]);
            }
        }
    });
    for end in [0, bytes.len() as u64, u64::MAX] {
        if let Ok(directory) = single_file::Directory::decode(bytes, end) {
            assert!(directory.objects.iter().all(|object| object.offset + object.len <= end));
        }
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        if let Ok(parsed) = name::ObjectName::parse(text) {
            assert_eq!(parsed.to_string(), text);
            assert!(name::is_well_formed(text));
        }
    }
}

/// A server's messages split into rows: whatever the sizes of the pieces it comes in, the rows
/// are the same, or it is refused.
pub fn copy_rows(bytes: &[u8]) {
    let Some((&choice, stream)) = bytes.split_first() else { return };
    let binary = choice & 1 == 1;
    let in_pieces = fuzzing::rows_out(binary, stream, usize::from(choice >> 1));
    let at_once = fuzzing::rows_out(binary, stream, usize::MAX);
    assert_eq!(in_pieces.is_ok(), at_once.is_ok());
    if let (Ok(in_pieces), Ok(at_once)) = (in_pieces, at_once) {
        assert_eq!(in_pieces.1, at_once.1, "row ends");
        let whole = at_once.1.last().copied().unwrap_or(0);
        assert_eq!(in_pieces.0[..whole], at_once.0[..whole]);
    }
}

/// Binary rows: laid out by columns they come back the same, and their text is the same in whatever
/// pieces they come.
pub fn binary_rows(bytes: &[u8]) {
    let Some((&[choice, piece_len], plain)) = bytes.split_first_chunk::<2>() else { return };
    if let Some(laid) = tuple_columns::Layer::default().lay_out(plain) {
        assert_eq!(tuple_columns::rows_of(laid, plain.len()).as_deref(), Ok(plain));
    }
    for plain_len in [plain.len(), usize::from(choice) * 8] {
        if let Ok(rows) = tuple_columns::rows_of(plain, plain_len) {
            assert_eq!(rows.len(), plain_len);
        }
    }
    let fields = plain.get(1).copied().unwrap_or_default();
    let of_column = |column: u8| {
        let (element, array) = tuple::TYPES[usize::from(choice.wrapping_add(column)) % 28];
        if choice & 1 == 1 { array } else { element }
    };
    let data = entry::Data {
        stream: 0,
        encoding: entry::RowEncoding::CopyBinary,
        columns: vec![String::new(); fields.into()],
        rows: 0,
        bytes: 0,
        table: None,
        numbers: None,
        types: Some((0..fields).map(of_column).collect()),
    };
    let (whole, pieces) = (text(&data, plain, usize::MAX), text(&data, plain, piece_len.into()));
    assert_eq!(whole, pieces);
}

/// The text of binary rows that come in pieces; absent where they are refused.
fn text(data: &entry::Data, plain: &[u8], piece_len: usize) -> Option<Vec<u8>> {
    let (mut rows, mut text) = (TextRows::of(data).ok()?, Vec::new());
    for mut piece in plain.chunks(piece_len.max(1)) {
        while let Some(written) = rows.next(&mut piece).ok()? {
            text.extend_from_slice(written);
            // As much as one row may become is no fault.
            if text.len() > 4 << 20 {
                return None;
            }
        }
    }
    rows.end().ok()?;
    Some(text)
}

/// An unsealed chunk: decompressed within its limits and never taken for another.
pub fn chunk(bytes: &[u8]) {
    also_repaired(bytes, 0, 92, |bytes| {
        let Ok(header) = frame::FrameHeader::decode(bytes) else { return };
        let payload = &bytes[frame::HEADER_LEN..];
        if let Ok(opened) = seal::open(&header, payload, None, None) {
            assert!(opened.plain.len() as u64 <= pgkeep_format::limits::PLAIN_LEN_MAX);
        }
        let secrets = Secrets { naming: [1; 32], cut: [2; 32] };
        if let Ok(opened) = seal::open(&header, payload, None, Some(&secrets)) {
            let flags = u8::from(opened.row_continues);
            let id = seal::chunk_id(&secrets, header.frame_type, flags, &opened.plain);
            assert!(header.frame_type == frame::FrameType::Footer || id == header.chunk);
        }
    });
}

/// Segments, the changes that they refer to, catalog images.
pub fn changes(bytes: &[u8]) {
    structured::<segment::ClearPart>(bytes);
    structured::<segment::SealedPart>(bytes);
    if let Ok(image) = catalog_image::CatalogImage::decode(bytes) {
        assert_eq!(catalog_image::CatalogImage::decode(&image.encode()), Ok(image));
    }
    if let Ok((clear, sealed)) = segment::decode_body(bytes) {
        let written = segment::encode_body(&clear, sealed);
        assert_eq!(segment::decode_body(&written), Ok((clear, sealed)));
    }
    for at in change::offsets(bytes).unwrap_or_default() {
        if let Ok(read) = change::decode_at(bytes, at) {
            let mut written = Vec::new();
            read.encode(&mut written).expect("it was no longer than a change may be");
            assert!(bytes[at..].starts_with(&written));
        }
    }
}

/// Messages of the replication stream, within a running transaction and outside of one.
pub fn pgoutput(bytes: &[u8]) {
    for in_stream in [false, true] {
        // What it takes borrows from the bytes, so it can be no longer than they are.
        let _ = decoder::decode(bytes, in_stream);
    }
}
