//! Signed objects in a store: written with a signature, read only with one that is
//! trusted.

use crate::seal::{self, SigningKey};
use crate::store::{self, Store};
use crate::{Error, ErrorKind, Result};
use bytes::Bytes;
use pgkeep_format::id::{ObjectDigest, RepositoryId, VerifyKey};
use pgkeep_format::limits;
use pgkeep_format::name::ObjectName;
use pgkeep_format::object::{
    HEADER_LEN, ObjectHeader, ObjectType, TAIL_LEN, decode_signed, encode_signed, signed_message,
};

/// Signs and writes an object; returns its length in bytes.
pub(super) async fn write(
    store: &dyn Store,
    name: &ObjectName,
    object_type: ObjectType,
    repository: RepositoryId,
    body: &[u8],
    signing: &SigningKey,
) -> Result<u64> {
    if body.len() as u64 > limits::BODY_LEN_MAX {
        let message = format!("object \"{name}\" would be larger than the format allows");
        return Err(Error::new(ErrorKind::Internal, message));
    }
    let header =
        ObjectHeader { object_type, repository, id: object_id(name), body_len: body.len() as u64 };
    let signature = signing.sign(&signed_message(&header, body));
    let bytes = encode_signed(&header, body, signing.verify_key(), &signature);
    let len = bytes.len() as u64;
    store::put(store, name, bytes.into()).await?;
    Ok(len)
}

/// A signed object that was read, proven by its signature.
pub(super) struct Signed {
    /// Who signed it.
    pub(super) signer: VerifyKey,
    /// What it says.
    pub(super) body: Bytes,
    header_and_body: Bytes,
}

impl Signed {
    /// What tells it from every other object.
    pub(super) fn digest(&self) -> ObjectDigest {
        seal::object_digest(&self.header_and_body)
    }
}

/// Reads an object whose signer is `trusted`; returns its body.
pub(super) async fn read(
    store: &dyn Store,
    name: &ObjectName,
    object_type: ObjectType,
    repository: RepositoryId,
    trusted: &(dyn Fn(VerifyKey) -> bool + Send + Sync),
) -> Result<Bytes> {
    let read = read_with_signer(store, name, object_type, repository, trusted).await?;
    Ok(read.body)
}

/// As [`read`]; tells the signer too.
pub(super) async fn read_with_signer(
    store: &dyn Store,
    name: &ObjectName,
    object_type: ObjectType,
    repository: RepositoryId,
    trusted: &(dyn Fn(VerifyKey) -> bool + Send + Sync),
) -> Result<Signed> {
    let limit = limits::BODY_LEN_MAX + (HEADER_LEN + TAIL_LEN) as u64;
    let bytes = store::get(store, name, limit).await?;
    let object = decode_signed(&bytes)
        .map_err(|error| Error::undecodable(format!("object \"{name}\""), error))?;
    let header = object.header;
    if header.repository != repository {
        let message = format!("object \"{name}\" belongs to repository {}", header.repository);
        return Err(Error::new(ErrorKind::Damaged, message));
    }
    if header.object_type != object_type || header.id != object_id(name) {
        let message = format!("object \"{name}\" is another object under a wrong name");
        return Err(Error::new(ErrorKind::Damaged, message));
    }
    if !trusted(object.signer) {
        let message =
            format!("object \"{name}\" is signed by {}, who is not trusted", object.signer);
        return Err(Error::new(ErrorKind::Untrusted, message));
    }
    if !seal::verify(object.signer, &signed_message(&header, object.body), &object.signature) {
        let message = format!("object \"{name}\" has a signature that does not fit it");
        return Err(Error::new(ErrorKind::Damaged, message));
    }
    let end = HEADER_LEN + object.body.len();
    Ok(Signed {
        signer: object.signer,
        body: bytes.slice(HEADER_LEN..end),
        header_and_body: bytes.slice(..end),
    })
}

/// The id in the header of an object of this name, so that no object passes for another.
pub(super) fn object_id(name: &ObjectName) -> [u8; 16] {
    match name {
        ObjectName::Config(number) => u128::from(*number).to_be_bytes(),
        ObjectName::Key(key) => key.id.0,
        ObjectName::Pack(id) => id.0,
        ObjectName::Index(id) => id.0,
        ObjectName::Backup(id) => id.0,
        ObjectName::ChangePack(id) => id.0,
        ObjectName::Segment(name) => name.id.0,
        ObjectName::Lease(name) => name.id.0,
        ObjectName::PruneList(id) => id.0,
        ObjectName::Voucher(id) => id.0,
    }
}
