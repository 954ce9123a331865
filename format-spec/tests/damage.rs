//! Rot and truncation in whole objects, found without any key: every bit of a pack, a single
//! file or a signed object is under a checksum, or is one of the signature.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use pgkeep_format::frame::{self, FrameHeader, FrameType};
use pgkeep_format::object::{self, ObjectHeader};
use pgkeep_format::pack::{self, TRAILER_LEN, Trailer};
use pgkeep_format::single_file::{self, Directory, RECORD_HEADER_LEN, RecordHeader};
use pgkeep_format::{FormatError, manifest};
use std::path::{Path, PathBuf};

fn golden(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors/repositories").join(path)
}

/// All objects below a folder of the golden repositories.
fn objects(path: &str) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    for item in std::fs::read_dir(golden(path)).unwrap() {
        let path = item.unwrap().path();
        if path.is_dir() {
            found.extend(objects(path.to_str().unwrap()));
        } else {
            found.push(std::fs::read(path).unwrap());
        }
    }
    assert!(!found.is_empty());
    found
}

/// The bytes from `offset` on, or how far short they fall.
fn from(bytes: &[u8], offset: u64) -> Result<&[u8], FormatError> {
    let at = usize::try_from(offset).unwrap_or(usize::MAX);
    let (needed, found) = (offset, bytes.len() as u64);
    bytes.get(at..).ok_or(FormatError::Truncated { what: "object", needed, found })
}

/// The frame that `bytes` begin with, whole.
fn check_frame(bytes: &[u8]) -> Result<FrameHeader, FormatError> {
    let header = FrameHeader::decode(bytes)?;
    let payload = from(bytes, frame::HEADER_LEN as u64)?;
    header.check_payload(&payload[..payload.len().min(header.stored_len as usize)])?;
    Ok(header)
}

/// Everything that can be said of a pack without a key.
fn check_pack(bytes: &[u8]) -> Result<(), FormatError> {
    ObjectHeader::decode(bytes)?;
    let len = bytes.len() as u64;
    let trailer = from(bytes, len.saturating_sub(TRAILER_LEN as u64))?;
    let trailer = Trailer::decode(trailer, len)?;
    let mut offset = object::HEADER_LEN as u64;
    while offset < trailer.footer_offset {
        offset += check_frame(from(bytes, offset)?)?.frame_len();
    }
    let footer = from(bytes, trailer.footer_offset)?;
    assert_eq!(check_frame(footer)?.frame_type, FrameType::Footer);
    Ok(())
}

fn check_single_file(bytes: &[u8]) -> Result<(), FormatError> {
    ObjectHeader::decode(bytes)?;
    let len = bytes.len() as u64;
    let trailer = from(bytes, len.saturating_sub(single_file::TRAILER_LEN as u64))?;
    let trailer = single_file::Trailer::decode(trailer, len)?;
    let mut offset = object::HEADER_LEN as u64;
    loop {
        let rest = from(bytes, offset)?;
        let header = RecordHeader::decode(rest)?;
        let content_len = u64::from(header.name_len) + header.object_len;
        let content = from(rest, RECORD_HEADER_LEN as u64)?;
        let end = usize::try_from(content_len).unwrap();
        let content = content.get(..end).ok_or(FormatError::Truncated {
            what: "record",
            needed: content_len,
            found: content.len() as u64,
        })?;
        let (found, computed) = (header.checksum, crc32fast::hash(content));
        if found != computed {
            return Err(FormatError::Checksum { what: "record", found, computed });
        }
        if header.name_len == 0 {
            assert_eq!(offset, trailer.end_offset);
            return Directory::decode(content, offset).map(drop);
        }
        offset += RECORD_HEADER_LEN as u64 + content_len;
    }
}

/// Each single bit flipped, and each shorter length, is refused.
fn check_damage(bytes: &[u8], check: impl Fn(&[u8]) -> Result<(), FormatError>) {
    check(bytes).unwrap();
    let mut changed = bytes.to_vec();
    for at in 0..bytes.len() {
        for bit in 0..8 {
            changed[at] ^= 1 << bit;
            assert!(check(&changed).is_err(), "byte {at} bit {bit}");
            changed[at] ^= 1 << bit;
        }
        assert!(check(&bytes[..at]).is_err(), "cut to {at}");
    }
}

#[test]
fn every_bit_flipped_in_a_pack_and_every_truncation_is_found() {
    for pack in objects("sealed/packs").iter().chain(&objects("plain/packs")) {
        check_damage(pack, check_pack);
    }
}

#[test]
fn every_bit_flipped_in_a_single_file_and_every_truncation_is_found() {
    let file = std::fs::read(golden("plain.pgkeep")).unwrap();
    check_single_file(&file).unwrap();
    // Every eighth byte's every bit: the walk takes the whole file each time.
    let mut changed = file.clone();
    for at in (0..file.len()).step_by(8).chain(file.len() - 200..file.len()) {
        for bit in 0..8 {
            changed[at] ^= 1 << bit;
            assert!(check_single_file(&changed).is_err(), "byte {at} bit {bit}");
            changed[at] ^= 1 << bit;
        }
        assert!(check_single_file(&file[..at]).is_err(), "cut to {at}");
    }
}

#[test]
fn every_bit_flipped_in_a_signed_object_is_found_or_is_one_of_the_signature() {
    for folder in ["sealed/config", "sealed/indexes", "sealed/backups"] {
        for bytes in objects(folder) {
            let signature_at = bytes.len() - 96;
            let whole = object::decode_signed(&bytes).unwrap();
            check_damage(&bytes, |changed| {
                let object = object::decode_signed(changed)?;
                // What only the signature tells: who signed, and the signature itself.
                if changed[..signature_at] == bytes[..signature_at] && changed != bytes {
                    let (signer, signature) = (object.signer, object.signature);
                    assert!(signer != whole.signer || signature != whole.signature);
                    return Err(FormatError::Invalid { what: "signature", reason: String::new() });
                }
                Ok(())
            });
        }
    }
}

#[test]
fn a_pack_without_footer_can_be_read_from_the_front() {
    for bytes in objects("sealed/packs") {
        let len = bytes.len() as u64;
        let trailer = Trailer::decode(&bytes[bytes.len() - TRAILER_LEN..], len).unwrap();
        let (mut offset, mut frames) = (object::HEADER_LEN, 0);
        while let Ok(header) = check_frame(&bytes[offset..]) {
            if header.frame_type == FrameType::Footer {
                break;
            }
            offset += usize::try_from(header.frame_len()).unwrap();
            frames += 1;
        }
        assert_eq!((offset as u64, frames), (trailer.footer_offset, trailer.frames));
    }
}

#[test]
fn every_bit_flipped_in_a_manifests_body_is_another_value_or_refused() {
    for bytes in objects("sealed/backups") {
        let body = object::decode_signed(&bytes).unwrap().body;
        let whole = manifest::decode_body(body).unwrap();
        let mut changed = body.to_vec();
        for at in 0..body.len() {
            for bit in 0..8 {
                changed[at] ^= 1 << bit;
                if let Ok(found) = manifest::decode_body(&changed) {
                    assert!(found != whole, "byte {at} bit {bit}");
                }
                changed[at] ^= 1 << bit;
            }
            assert!(manifest::decode_body(&body[..at]).is_err(), "cut to {at}");
        }
    }
}

#[test]
fn a_footer_of_too_many_frames_is_refused() {
    let line = pack::encode_footer(&[pack::FooterEntry {
        chunk: pgkeep_format::id::ChunkId::default(),
        frame_type: FrameType::Rows,
        stored_len: 8,
        offset: 64,
    }]);
    let count = usize::try_from(pgkeep_format::limits::PACK_FRAMES_MAX).unwrap() + 1;
    let refused = pack::decode_footer(&line.repeat(count));
    assert!(matches!(refused, Err(FormatError::Limit { .. })), "{refused:?}");
}
