//! The header that every object but a key begins with, and the signed tail of those that
//! are small and say what is true: config, manifest, index.
//!
//! ```text
//! signed object = header | body | tail          pack = header | frames | trailer
//! ```

use crate::FormatError;
use crate::id::{RepositoryId, VerifyKey};
use crate::limits;
use crate::reader::{Reader, limited};

/// The first eight bytes of every object: a name, and a byte pair that text-mode copying
/// destroys.
pub const MAGIC: &[u8; 8] = b"PGKEEP\x1a\n";
/// The newest version of the format.
pub const VERSION: u16 = 1;
/// Bytes of an object header.
pub const HEADER_LEN: usize = 64;
/// Bytes of a signed object's tail.
pub const TAIL_LEN: usize = 104;
/// What a signature is over, before the header and the body.
pub const SIGNATURE_DOMAIN: &[u8] = b"pgkeep signed object v1\0";

/// What an object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ObjectType {
    /// Settings of the repository.
    Config,
    /// Frames.
    Pack,
    /// Where chunks lie.
    Index,
    /// A backup.
    Manifest,
    /// A repository in one file.
    SingleFile,
    /// A run of the change stream.
    ChangeSegment,
    /// That a writer is at work.
    Lease,
    /// What a prune is about to remove.
    PruneList,
    /// What a former writer had signed.
    Voucher,
}

impl ObjectType {
    const ALL: [(Self, u8); 9] = [
        (Self::Config, 1),
        (Self::Pack, 2),
        (Self::Index, 3),
        (Self::Manifest, 4),
        (Self::SingleFile, 5),
        (Self::ChangeSegment, 6),
        (Self::Lease, 7),
        (Self::PruneList, 9),
        (Self::Voucher, 8),
    ];

    /// The code that stands for the type in a header.
    #[must_use]
    pub fn code(self) -> u8 {
        let found = Self::ALL.iter().find(|(known, _)| *known == self);
        found.map_or(0, |(_, code)| *code)
    }

    /// The type of this code.
    ///
    /// # Errors
    /// [`FormatError::Invalid`] when the code is not known.
    pub fn from_code(code: u8) -> Result<Self, FormatError> {
        let found = Self::ALL.iter().find(|(_, known)| *known == code);
        found.map(|(known, _)| *known).ok_or_else(|| {
            FormatError::invalid("object header", format!("object type {code} is not known"))
        })
    }
}

/// The header of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ObjectHeader {
    /// What the object is.
    pub object_type: ObjectType,
    /// The repository that it belongs to.
    pub repository: RepositoryId,
    /// The object's own id, the one in its name; a config's number is in the last eight
    /// bytes, big-endian.
    pub id: [u8; 16],
    /// Bytes of the body; 0 for packs and single files, whose end is marked by a trailer.
    pub body_len: u64,
}

impl ObjectHeader {
    /// Writes the header.
    #[must_use]
    pub fn encode(&self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        bytes[0..8].copy_from_slice(MAGIC);
        bytes[8..10].copy_from_slice(&VERSION.to_le_bytes());
        bytes[10] = self.object_type.code();
        bytes[16..32].copy_from_slice(&self.repository.0);
        bytes[32..48].copy_from_slice(&self.id);
        bytes[48..56].copy_from_slice(&self.body_len.to_le_bytes());
        let checksum = crc32fast::hash(&bytes[..60]);
        bytes[60..64].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// Reads a header from the first [`HEADER_LEN`] of `bytes`.
    ///
    /// # Errors
    /// [`FormatError`]; the version is looked at before all else but the magic.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let mut reader = Reader::new("object header", bytes);
        reader.magic(MAGIC)?;
        let version = reader.u16()?;
        if version == 0 || version > VERSION {
            return Err(FormatError::Version {
                what: "object",
                found: version.into(),
                supported: VERSION.into(),
            });
        }
        let object_type = reader.u8()?;
        reader.reserved(5)?;
        let repository = RepositoryId(reader.array()?);
        let id = reader.array()?;
        let body_len = limited("object body length", reader.u64()?, limits::BODY_LEN_MAX)?;
        reader.reserved(4)?;
        reader.checksum_since(0)?;
        let object_type = ObjectType::from_code(object_type)?;
        Ok(Self { object_type, repository, id, body_len })
    }
}

/// A signed object taken apart: checksums agree, the signature is still to be checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignedObject<'a> {
    /// The object's header.
    pub header: ObjectHeader,
    /// The object's body.
    pub body: &'a [u8],
    /// Who claims to have signed it.
    pub signer: VerifyKey,
    /// The Ed25519 signature over [`signed_message`].
    pub signature: [u8; 64],
}

/// The bytes that a signature is over: domain, header, body.
#[must_use]
pub fn signed_message(header: &ObjectHeader, body: &[u8]) -> Vec<u8> {
    [SIGNATURE_DOMAIN, &header.encode(), body].concat()
}

/// Puts a signed object together from its parts.
#[must_use]
pub fn encode_signed(
    header: &ObjectHeader,
    body: &[u8],
    signer: VerifyKey,
    signature: &[u8; 64],
) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER_LEN + body.len() + TAIL_LEN);
    bytes.extend_from_slice(&header.encode());
    bytes.extend_from_slice(body);
    bytes.extend_from_slice(&crc32fast::hash(body).to_le_bytes());
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&signer.0);
    bytes.extend_from_slice(signature);
    bytes
}

/// Takes a signed object apart and checks its checksums.
///
/// # Errors
/// [`FormatError`] when it is not whole, changed, or longer than its header says.
pub fn decode_signed(bytes: &[u8]) -> Result<SignedObject<'_>, FormatError> {
    let header = ObjectHeader::decode(bytes)?;
    let mut reader = Reader::new("signed object", bytes);
    reader.take(HEADER_LEN)?;
    let body_len = usize::try_from(header.body_len)
        .map_err(|_| FormatError::invalid("object body length", "too large for this machine"))?;
    let body = reader.take(body_len)?;
    reader.checksum_since(HEADER_LEN)?;
    reader.reserved(4)?;
    let signer = VerifyKey(reader.array()?);
    let signature = reader.array()?;
    reader.finish()?;
    Ok(SignedObject { header, body, signer, signature })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Vec<u8> {
        let header = ObjectHeader {
            object_type: ObjectType::Index,
            repository: RepositoryId([1; 16]),
            id: [2; 16],
            body_len: 5,
        };
        encode_signed(&header, b"hello", VerifyKey([3; 32]), &[4; 64])
    }

    #[test]
    fn a_signed_object_reads_back() {
        let bytes = sample();
        let object = decode_signed(&bytes).unwrap();
        assert_eq!(object.body, b"hello");
        assert_eq!(object.signer, VerifyKey([3; 32]));
        assert_eq!(object.signature, [4; 64]);
        assert_eq!(&bytes[..HEADER_LEN], &object.header.encode());
    }

    #[test]
    fn any_change_before_the_signer_is_found_and_no_length_is_trusted() {
        let bytes = sample();
        for at in 0..HEADER_LEN + 5 + 8 {
            for bit in 0..8 {
                let mut changed = bytes.clone();
                changed[at] ^= 1 << bit;
                assert!(decode_signed(&changed).is_err(), "byte {at} bit {bit}");
            }
        }
        for len in 0..bytes.len() {
            assert!(decode_signed(&bytes[..len]).is_err(), "cut to {len}");
        }
        assert!(decode_signed(&[&bytes[..], b"x"].concat()).is_err());
    }
}
