//! What is believed of writers: all that those of the config sign, and of former ones what
//! the owner vouches for.
//!
//! A revoked key may be in the hands of a thief, who can sign as if it were last year. So
//! a revocation lists the digests of what the writer had signed until then, in vouchers that
//! the owner signs; what is not listed is refused.

use super::{Repository, signed};
use crate::seal::random;
use crate::{Error, ErrorKind, Result};
use bytes::Bytes;
use pgkeep_format::cbor;
use pgkeep_format::config::FormerWriter;
use pgkeep_format::id::{ObjectDigest, ObjectId, VerifyKey};
use pgkeep_format::limits;
use pgkeep_format::name::ObjectName;
use pgkeep_format::object::ObjectType;
use pgkeep_format::voucher::Voucher;
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::Mutex;

/// The vouched digests of each former writer, read when they are first needed, then kept:
/// sixteen bytes an object, at most `VOUCHERS_MAX` × `VOUCHER_DIGESTS_MAX` of them.
#[derive(Debug, Clone, Default)]
pub(super) struct Vouchers {
    read: Arc<Mutex<HashMap<VerifyKey, Arc<[ObjectDigest]>>>>,
}

impl Repository {
    /// The former writer of this key.
    pub(super) fn former_writer(&self, key: VerifyKey) -> Option<&FormerWriter> {
        self.config().former_writers().iter().find(|writer| writer.key == key)
    }

    /// Reads an object that a writer signed, or a former one whose word for it the owner
    /// vouches for; returns its body.
    pub(super) async fn read_of_writer(
        &self,
        name: &ObjectName,
        object_type: ObjectType,
    ) -> Result<Bytes> {
        let known = |signer| self.is_writer(signer) || self.former_writer(signer).is_some();
        let (store, id) = (self.store(), self.id());
        let read = signed::read_with_signer(store, name, object_type, id, &known).await?;
        let Some(former) = self.former_writer(read.signer) else { return Ok(read.body) };
        if self.vouched(former).await?.binary_search(&read.digest()).is_ok() {
            return Ok(read.body);
        }
        let message = format!(
            "object \"{name}\" is signed by \"{}\", who was revoked, and not vouched for",
            former.name
        );
        Err(Error::new(ErrorKind::Untrusted, message))
    }

    /// All digests that are vouched for of a former writer, ascending.
    async fn vouched(&self, former: &FormerWriter) -> Result<Arc<[ObjectDigest]>> {
        // Held while reading, so that many who ask at once make it be read once.
        let mut all = self.inner.vouchers.read.lock().await;
        if let Some(read) = all.get(&former.key) {
            return Ok(read.clone());
        }
        let mut digests = Vec::new();
        for id in &former.vouchers {
            let voucher = self.voucher(*id, Some(former.key)).await;
            // What was asked for is there; it must not pass for an object that is not.
            let voucher = voucher.map_err(|error| match error.kind() {
                ErrorKind::NotFound => {
                    let message = format!("voucher {id} for \"{}\" is lost", former.name);
                    Error::new(ErrorKind::Damaged, message).because(error)
                }
                _ => error,
            })?;
            digests.extend(voucher.digests);
        }
        digests.sort_unstable();
        let digests: Arc<[ObjectDigest]> = digests.into();
        all.insert(former.key, digests.clone());
        Ok(digests)
    }

    /// Reads a voucher, for this former writer where one is given.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`], [`ErrorKind::Damaged`], [`ErrorKind::Untrusted`].
    pub(super) async fn voucher(&self, id: ObjectId, writer: Option<VerifyKey>) -> Result<Voucher> {
        let name = ObjectName::Voucher(id);
        let trusted = |signer| signer == self.inner.owner;
        let (store, repository) = (self.store(), self.id());
        let body = signed::read(store, &name, ObjectType::Voucher, repository, &trusted).await?;
        let voucher = Voucher::decode(&body)
            .map_err(|error| Error::undecodable(format!("object \"{name}\""), error))?;
        if writer.is_some_and(|writer| writer != voucher.writer) {
            let message = format!("object \"{name}\" vouches for another writer");
            return Err(Error::new(ErrorKind::Damaged, message));
        }
        Ok(voucher)
    }

    /// Writes what is vouched for of a writer; returns the vouchers, which hold once a
    /// config names them; at least one, also where there is nothing to vouch for.
    pub(super) async fn vouch(
        &self,
        writer: VerifyKey,
        digests: &[ObjectDigest],
    ) -> Result<Vec<ObjectId>> {
        let owner = self.owner_key()?;
        let mut sorted = digests.to_vec();
        sorted.sort_unstable();
        sorted.dedup();
        let mut pieces: Vec<&[ObjectDigest]> = sorted.chunks(limits::VOUCHER_DIGESTS_MAX).collect();
        if pieces.is_empty() {
            pieces.push(&[]);
        }
        let mut vouchers = Vec::new();
        for digests in pieces {
            let id = ObjectId(random()?);
            let body = cbor::encode(&Voucher { writer, digests: digests.to_vec() });
            let (store, name) = (self.store(), ObjectName::Voucher(id));
            signed::write(store, &name, ObjectType::Voucher, self.id(), &body, owner).await?;
            vouchers.push(id);
        }
        Ok(vouchers)
    }
}
