//! A bucket of S3, or of a store that speaks as S3 does.
//!
//! One `PUT` for each object, which the store takes whole or not at all; its CRC32 goes with it and
//! the store checks it. Ranged reads; listings page by page. Calls are tried again with growing
//! waits, within limits (`client`), so many at a time and no more. Nothing rests on conditional
//! writes: names are never used twice, so that a `PUT` that is sent again writes what it wrote before.

mod address;
mod body;
mod client;
mod failure;
mod objects;
mod probe;

pub use address::S3Address;
pub use client::S3Options;
pub use objects::{LockMode, ObjectLock, ObjectOptions, StoreEncryption};
pub use probe::{Found, StoreReport};

use super::pace::Pace;
use super::{Store, StoredObject, Upload, not_found, too_short};
use crate::{Error, ErrorKind, Result};
use async_trait::async_trait;
use aws_sdk_s3::Client;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use body::Pieces;
use bytes::{Bytes, BytesMut};
use failure::{failed, is, retained, status};
use pgkeep_format::name::ObjectName;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::{Mutex, Semaphore, SemaphorePermit};

/// How often a read begins anew whose bytes stopped coming; calls that fail before are tried again
/// by the client.
const READS: u32 = 5;

/// The wait before a read begins anew, doubled each time.
const READ_WAIT: Duration = Duration::from_millis(500);

/// The largest object that one `PUT` takes, 5 GiB: ours are packs of 64 MiB and smaller.
const PUT_LEN_MAX: u64 = 5 << 30;

/// Calls that run at the same time, however many want to: what is more waits.
const CALLS_AT_ONCE: usize = 32;

/// Keys that hold a repository's settings begin with this.
const CONFIG: &str = "config/";

/// A repository in a bucket.
#[derive(Debug, Clone)]
pub struct S3Store {
    client: Client,
    address: S3Address,
    calls: Arc<Semaphore>,
    objects: ObjectOptions,
    upload: Option<Pace>,
    /// Held by who sends at a rate that is limited.
    sending: Arc<Mutex<()>>,
}

impl S3Store {
    /// Makes an empty store where nothing is.
    ///
    /// # Errors
    /// [`ErrorKind::AlreadyExists`] when anything is there; [`ErrorKind::Store`], and
    /// [`ErrorKind::StoreUnavailable`] where it may pass.
    pub async fn create(address: &S3Address, options: &S3Options) -> Result<Self> {
        let store = Self::connect(address, options).await?;
        if store.has_keys("").await? {
            return Err(Error::new(
                ErrorKind::AlreadyExists,
                format!("\"{address}\" is not empty"),
            )
            .hint("Name another prefix: s3://BUCKET/PREFIX"));
        }
        Ok(store)
    }

    /// Opens a store that holds a repository.
    ///
    /// # Errors
    /// [`ErrorKind::NoRepository`] when there is none; as [`S3Store::create`].
    pub async fn open(address: &S3Address, options: &S3Options) -> Result<Self> {
        let store = Self::connect(address, options).await?;
        if !store.has_keys(CONFIG).await? {
            return Err(Error::new(
                ErrorKind::NoRepository,
                format!("\"{address}\" is not a repository"),
            )
            .hint(format!("Run: pgkeep init --repo {address}")));
        }
        Ok(store)
    }

    async fn connect(address: &S3Address, options: &S3Options) -> Result<Self> {
        Ok(Self::with(client::connect(options, None).await?, address.clone(), options))
    }

    fn with(client: Client, address: S3Address, options: &S3Options) -> Self {
        let calls = Arc::new(Semaphore::new(CALLS_AT_ONCE));
        Self {
            client,
            address,
            calls,
            objects: options.objects.clone(),
            upload: options.rates.upload.map(Pace::new),
            sending: Arc::default(),
        }
    }

    /// Waits for the turn of a call; it may run for as long as what is returned is kept.
    async fn turn(&self) -> Result<SemaphorePermit<'_>> {
        self.calls.acquire().await.map_err(|error| {
            Error::new(ErrorKind::Internal, "calls to the store have ended").because(error)
        })
    }

    /// A bucket of a server that tests start.
    #[cfg(test)]
    pub(super) async fn of_tests(bucket: &pgkeep_tests::S3Access, prefix: &str) -> Self {
        use aws_credential_types::Credentials;
        let (key, secret) = (bucket.key.clone(), bucket.secret.clone());
        let credentials = Credentials::new(key, secret, None, None, "tests");
        let options = S3Options {
            endpoint: Some(bucket.endpoint()),
            region: Some(bucket.region().to_owned()),
            ..S3Options::default()
        };
        let credentials = aws_sdk_s3::config::SharedCredentialsProvider::new(credentials);
        let client = client::connect(&options, Some(credentials)).await.unwrap();
        let address = S3Address::parse(&bucket.address(prefix)).unwrap().unwrap();
        Self::with(client, address, &options)
    }

    async fn has_keys(&self, prefix: &str) -> Result<bool> {
        let list = self.client.list_objects_v2().bucket(&self.address.bucket).max_keys(1);
        let list = list.prefix(format!("{}{prefix}", self.address.prefix));
        let _turn = self.turn().await?;
        let first = list.clone().customize().config_override(client::first_call()).send().await;
        let listed = match first {
            // It is there and in trouble: that may pass, and is waited for as later in a run.
            Err(error) if matches!(status(&error), Some(429 | 500..=599)) => list.send().await,
            first => first,
        };
        let listed = listed.map_err(|error| failed("list objects", &self.location(), error))?;
        Ok(!listed.contents().is_empty())
    }

    fn key(&self, name: &ObjectName) -> String {
        format!("{}{name}", self.address.prefix)
    }

    /// Reads once; absent when the bytes stopped coming.
    async fn try_read(&self, name: &ObjectName, range: &Range<u64>) -> Result<Option<Bytes>> {
        let wanted = range.end - range.start;
        let get = self.client.get_object().bucket(&self.address.bucket).key(self.key(name));
        let got = get.range(format!("bytes={}-{}", range.start, range.end - 1)).send().await;
        let mut got = match got {
            Ok(got) => got,
            Err(error) if status(&error) == Some(404) && !is_no_bucket(&error) => {
                return Err(not_found(self, name));
            }
            // The range begins behind the end.
            Err(error) if status(&error) == Some(416) => {
                return Err(too_short(name, range.end, range.start));
            }
            Err(error) => {
                return Err(failed(&format!("read object \"{name}\""), &self.location(), error));
            }
        };
        let len = got.content_length().and_then(|len| u64::try_from(len).ok());
        if let Some(len) = len.filter(|len| *len != wanted) {
            return Err(too_short(name, range.end, range.start.saturating_add(len)));
        }
        let capacity = usize::try_from(wanted).map_err(|_| too_short(name, range.end, 0))?;
        let mut bytes = BytesMut::with_capacity(capacity);
        loop {
            match got.body.try_next().await {
                Ok(Some(piece)) if piece.len() <= capacity - bytes.len() => bytes.extend(piece),
                Ok(Some(_)) => {
                    let message =
                        format!("store sent more of object \"{name}\" than was asked for");
                    return Err(Error::new(ErrorKind::Store, message));
                }
                Ok(None) if bytes.len() == capacity => return Ok(Some(bytes.freeze())),
                Ok(None) => return Ok(None),
                Err(error) => {
                    tracing::info!("object \"{name}\": {error:?}");
                    return Ok(None);
                }
            }
        }
    }
}

/// Whether a call failed as there is no such bucket, which is no missing object.
fn is_no_bucket<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> bool {
    is(error, "NoSuchBucket")
}

#[async_trait]
impl Store for S3Store {
    fn location(&self) -> String {
        self.address.to_string()
    }

    async fn create(&self, name: &ObjectName) -> Result<Box<dyn Upload>> {
        // Whether the name is taken nobody could tell for sure.
        Ok(Box::new(S3Upload { store: self.clone(), name: *name, pieces: Pieces::default() }))
    }

    async fn read(&self, name: &ObjectName, range: Range<u64>) -> Result<Bytes> {
        if range.start >= range.end {
            let len = self.len(name).await?.ok_or_else(|| not_found(self, name))?;
            return match range.start == range.end && range.end <= len {
                true => Ok(Bytes::new()),
                false => Err(too_short(name, range.end, len)),
            };
        }
        let mut wait = READ_WAIT;
        let limit = client::CALL_TIMEOUT + client::on_the_way(range.end - range.start, None);
        for _ in 0..READS {
            let turn = self.turn().await?;
            let read = tokio::time::timeout(limit, self.try_read(name, &range)).await;
            drop(turn);
            match read {
                Ok(Ok(Some(bytes))) => return Ok(bytes),
                Ok(Err(error)) => return Err(error),
                Ok(Ok(None)) | Err(_) => {}
            }
            tokio::time::sleep(wait).await;
            wait *= 2;
        }
        let message = format!("reading object \"{name}\" stopped half way, {READS} times");
        Err(Error::new(ErrorKind::StoreUnavailable, message))
    }

    async fn len(&self, name: &ObjectName) -> Result<Option<u64>> {
        let head = self.client.head_object().bucket(&self.address.bucket).key(self.key(name));
        let _turn = self.turn().await?;
        match head.send().await {
            Ok(head) => {
                let len = head.content_length().and_then(|len| u64::try_from(len).ok());
                len.map(Some).ok_or_else(|| {
                    let message = format!("store does not say how long object \"{name}\" is");
                    Error::new(ErrorKind::Store, message)
                })
            }
            Err(error) if status(&error) == Some(404) => Ok(None),
            Err(error) => {
                Err(failed(&format!("look for object \"{name}\""), &self.location(), error))
            }
        }
    }

    async fn list(&self, prefix: &str) -> Result<Vec<StoredObject>> {
        let list = self.client.list_objects_v2().bucket(&self.address.bucket);
        let list = list.prefix(format!("{}{prefix}", self.address.prefix));
        let mut pages = list.into_paginator().send();
        let mut found = Vec::new();
        loop {
            let turn = self.turn().await?;
            let page = pages.next().await;
            drop(turn);
            let Some(page) = page else { return Ok(found) };
            let page = page.map_err(|error| failed("list objects", &self.location(), error))?;
            for object in page.contents() {
                let key = object.key().and_then(|key| key.strip_prefix(&self.address.prefix));
                let name = key.and_then(|key| ObjectName::parse(key).ok());
                let len = object.size().and_then(|len| u64::try_from(len).ok());
                if let (Some(name), Some(len)) = (name, len) {
                    found.push(StoredObject { name, len });
                }
            }
        }
    }

    async fn delete(&self, name: &ObjectName) -> Result<()> {
        let delete = self.client.delete_object().bucket(&self.address.bucket).key(self.key(name));
        let _turn = self.turn().await?;
        match delete.send().await {
            Ok(_) => Ok(()),
            // Stores differ in whether this is an answer or an error.
            Err(error) if status(&error) == Some(404) && !is_no_bucket(&error) => Ok(()),
            // A lock that still holds and a right that is lacking have the same name.
            Err(error) if is(&error, "AccessDenied") => Err(retained(name, error)),
            Err(error) => {
                Err(failed(&format!("remove object \"{name}\""), &self.location(), error))
            }
        }
    }
}

/// An object whose bytes are held until all of them are there.
struct S3Upload {
    store: S3Store,
    name: ObjectName,
    pieces: Pieces,
}

#[async_trait]
impl Upload for S3Upload {
    async fn write(&mut self, bytes: Bytes) -> Result<()> {
        self.pieces.push(bytes);
        if self.pieces.len() > PUT_LEN_MAX {
            let message = format!("object \"{}\" is larger than one upload may be", self.name);
            return Err(Error::new(ErrorKind::Store, message));
        }
        Ok(())
    }

    async fn finish(self: Box<Self>) -> Result<()> {
        let Self { store, name, pieces } = *self;
        let (len, pace) = (pieces.len(), store.upload.as_ref());
        // One after another where there is a limit, so that it is known how long each may take.
        let _alone = match pace {
            Some(_) => Some(store.sending.lock().await),
            None => None,
        };
        let _turn = store.turn().await?;
        let put = store.client.put_object().bucket(&store.address.bucket).key(store.key(&name));
        let put = store.objects.ask(put, &name, SystemTime::now());
        let put = put
            .content_length(i64::try_from(len).unwrap_or(i64::MAX))
            .checksum_crc32(pieces.checksum())
            .body(pieces.into_stream(pace.cloned()));
        let sent = put.customize().config_override(client::sending(len, pace)).send().await;
        sent.map_err(|error| {
            failed(&format!("write object \"{name}\""), &store.location(), error)
        })?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    const NOT_FOUND: &[u8] =
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

    #[derive(Default)]
    struct Calls {
        now: AtomicUsize,
        most: AtomicUsize,
    }

    /// Takes its time for one call, and counts it meanwhile.
    async fn answer(mut socket: TcpStream, calls: Arc<Calls>) {
        let mut asked = Vec::new();
        while !asked.ends_with(b"\r\n\r\n") {
            if socket.read_buf(&mut asked).await.unwrap() == 0 {
                return;
            }
        }
        calls.most.fetch_max(calls.now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(20)).await;
        calls.now.fetch_sub(1, Ordering::SeqCst);
        socket.write_all(NOT_FOUND).await.unwrap();
    }

    #[tokio::test]
    async fn no_more_calls_run_at_once_than_are_allowed() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let calls = Arc::new(Calls::default());
        let counted = calls.clone();
        let server = tokio::spawn(async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                tokio::spawn(answer(socket, counted.clone()));
            }
        });
        let (key, secret) = ("key".to_owned(), "secret".to_owned());
        let access = pgkeep_tests::S3Access { port, key, secret };
        let store = S3Store::of_tests(&access, "calls").await;
        let name = ObjectName::Config(1);
        let found = futures_util::future::join_all((0..200).map(|_| store.len(&name))).await;
        server.abort();
        assert!(found.into_iter().all(|len| len.unwrap().is_none()));
        let most = calls.most.load(Ordering::SeqCst);
        assert!((2..=CALLS_AT_ONCE).contains(&most), "{most} calls at once");
    }
}
