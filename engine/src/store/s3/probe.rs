//! What a store is found to do, tried on one small object that is gone afterwards. It is for people
//! to read: only that ranges can be read is relied upon.

use super::client;
use super::failure::{failed, status};
use super::{S3Store, body::checksum_of};
use crate::store::Store;
use crate::{Error, ErrorKind, Result};
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::RequestId;
use aws_sdk_s3::operation::put_object::{PutObjectError, PutObjectOutput};
use aws_sdk_s3::primitives::ByteStream;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;

/// The object, which no repository has.
const NAME: &str = "probe";

const CONTENT: &[u8] = b"pgkeep looks at what this store can do";

/// The checksum of something else.
const WRONG_CHECKSUM: &str = "AAAAAA==";

/// Whether a store does something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// It does.
    Yes,
    /// It takes the request and does not.
    No,
    /// It does not take the request, or not from us.
    Refused,
}

/// What a store was found to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreReport {
    /// Does not write over an object where the request says so (`If-None-Match: *`).
    pub conditional_writes: Found,
    /// Refuses an object whose checksum is another than the request says.
    pub checksums: Found,
    /// Reads a part of an object.
    pub ranged_reads: Found,
    /// Removes for good; where not, it keeps what was removed as an older version.
    pub removes: Found,
    /// Has object locks in this bucket.
    pub object_lock: Found,
}

type PutResult = Result<PutObjectOutput, SdkError<PutObjectError, HttpResponse>>;

impl S3Store {
    /// Tries what the store does.
    ///
    /// # Errors
    /// [`ErrorKind::Store`] when it is of no use, [`ErrorKind::StoreUnavailable`].
    pub async fn probe(&self) -> Result<StoreReport> {
        let first = self.put_probe(&checksum_of(CONTENT), false).await;
        first.map_err(|error| failed("write an object", &self.location(), error))?;
        let conditional_writes = match self.put_probe(&checksum_of(CONTENT), true).await {
            Ok(_) => Found::No,
            Err(error) if matches!(status(&error), Some(409 | 412)) => Found::Yes,
            Err(error) => self.refused(error)?,
        };
        let checksums = match self.put_probe(WRONG_CHECKSUM, false).await {
            Ok(_) => Found::No,
            Err(error) if status(&error) == Some(400) => Found::Yes,
            Err(error) => self.refused(error)?,
        };
        let ranged_reads = self.probe_ranges().await?;
        let removes = self.probe_removal().await?;
        let object_lock = self.probe_locks().await?;
        if ranged_reads == Found::No {
            let message =
                format!("store does not read parts of objects in \"{}\"", self.location());
            return Err(Error::new(ErrorKind::Store, message)
                .hint("Use a store that takes the header Range, as S3 does."));
        }
        Ok(StoreReport { conditional_writes, checksums, ranged_reads, removes, object_lock })
    }

    fn probe_key(&self) -> String {
        format!("{}{NAME}", self.address.prefix)
    }

    async fn put_probe(&self, checksum: &str, conditional: bool) -> PutResult {
        let put = self.client.put_object().bucket(&self.address.bucket).key(self.probe_key());
        let put = self.objects.ask_encryption(put).checksum_crc32(checksum);
        let put = if conditional { put.if_none_match("*") } else { put };
        let put = put.body(ByteStream::from_static(CONTENT));
        put.customize().config_override(client::first_call()).send().await
    }

    async fn probe_ranges(&self) -> Result<Found> {
        let get = self.client.get_object().bucket(&self.address.bucket).key(self.probe_key());
        let got = match get.range("bytes=7-11").send().await {
            Ok(got) => got,
            Err(error) => return self.refused(error),
        };
        let stopped =
            || Error::new(ErrorKind::StoreUnavailable, "reading from the store stopped half way");
        let bytes = tokio::time::timeout(client::CALL_TIMEOUT, got.body.collect());
        let bytes =
            bytes.await.map_err(|_| stopped())?.map_err(|error| stopped().because(error))?;
        Ok(if bytes.into_bytes() == CONTENT[7..12] { Found::Yes } else { Found::No })
    }

    async fn probe_removal(&self) -> Result<Found> {
        let delete = self.client.delete_object().bucket(&self.address.bucket).key(self.probe_key());
        match delete.send().await {
            Ok(done) if done.delete_marker() == Some(true) => Ok(Found::No),
            Ok(_) => Ok(Found::Yes),
            Err(error) => self.refused(error),
        }
    }

    async fn probe_locks(&self) -> Result<Found> {
        let ask = self.client.get_object_lock_configuration().bucket(&self.address.bucket);
        match ask.customize().config_override(client::first_call()).send().await {
            Ok(_) => Ok(Found::Yes),
            Err(error) if status(&error) == Some(404) => Ok(Found::No),
            // Stores that know no locks say so in many ways.
            Err(error) => self.refused(error),
        }
    }

    /// That the store does not take a request; an error where it did not answer to it.
    fn refused<E>(&self, error: SdkError<E, HttpResponse>) -> Result<Found>
    where
        E: ProvideErrorMetadata + RequestId + std::error::Error + Send + Sync + 'static,
    {
        match status(&error) {
            Some(400..=499 | 501) => {
                tracing::info!("probe: {error:?}");
                Ok(Found::Refused)
            }
            _ => Err(failed("find out what the store does", &self.location(), error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pgkeep_tests::{Bucket, Garage, Moto};

    #[tokio::test]
    async fn what_stores_do_is_found_and_nothing_is_left() {
        let (bucket, garage) = (Bucket::start(), Garage::start());
        let (plain, locks) = (Moto::start(), Moto::start_with_locks());
        let mut reports = Vec::new();
        for access in [&bucket.access(), &garage.access(0), plain.owner(), locks.owner()] {
            let store = S3Store::of_tests(access, "probe").await;
            reports.push(store.probe().await.unwrap());
            assert!(!store.has_keys("").await.unwrap(), "the probe is gone");
        }
        println!("{reports:#?}");
        assert!(reports.iter().all(|report| report.ranged_reads == Found::Yes));
        let [_, garage, plain, locks] = reports[..] else { panic!("four") };
        // It takes the header and writes over.
        assert_eq!((garage.conditional_writes, garage.checksums), (Found::No, Found::Yes));
        assert_eq!((plain.conditional_writes, plain.removes), (Found::Yes, Found::Yes));
        assert_eq!((plain.object_lock, locks.object_lock), (Found::No, Found::Yes));
        assert_eq!(locks.removes, Found::No, "a bucket with locks keeps versions");
    }
}
