//! A store in front of another on which one call goes wrong.

use async_trait::async_trait;
use bytes::Bytes;
use pgkeep_engine::store::{Store, StoredObject, Upload};
use pgkeep_engine::{Error, ErrorKind, Result};
use pgkeep_format::name::ObjectName;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;
use tokio::sync::Notify;

/// What goes wrong with a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// An error, and nothing was done.
    ErrorBefore,
    /// An error, and it was done.
    ErrorAfter,
    /// An error after a while without an answer; it is done still later, when nobody waits for it.
    Timeout,
    /// A read gives half of what was asked for.
    PartialRead,
    /// A list is as it was when the run began.
    StaleList,
    /// Neither this call nor any other of the process comes back.
    Killed,
}

impl Fault {
    pub(super) const ALL: [Self; 6] = [
        Self::ErrorBefore,
        Self::ErrorAfter,
        Self::Timeout,
        Self::PartialRead,
        Self::StaleList,
        Self::Killed,
    ];

    /// Whether it can befall a call.
    fn befalls(self, call: &str) -> bool {
        match self {
            Self::PartialRead => call == "read",
            Self::StaleList => call == "list",
            Self::ErrorAfter | Self::Timeout => matches!(call, "finish" | "delete"),
            Self::ErrorBefore | Self::Killed => true,
        }
    }
}

/// How long nobody answers before a call fails, and before it is done after all.
const LATE: Duration = Duration::from_millis(20);

#[derive(Debug)]
pub(super) struct FaultyStore {
    inner: Arc<dyn Store>,
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    /// The call that goes wrong, counted from 0.
    at: usize,
    fault: Fault,
    calls: Mutex<Vec<String>>,
    before: HashMap<String, Vec<StoredObject>>,
    killed: Notify,
}

/// What is to be done with a call.
enum Turn {
    Goes,
    Fails,
    FailsAfter,
    FailsLate,
    HalfRead,
    OldList,
}

impl FaultyStore {
    /// The call with number `at` goes wrong.
    pub(super) async fn new(inner: Arc<dyn Store>, at: usize, fault: Fault) -> Self {
        let mut before = HashMap::new();
        for prefix in ["", "config/", "keys/", "packs/", "indexes/", "backups/", "changes/"]
            .into_iter()
            .chain(["streams/", "writers/", "prunes/", "vouchers/"])
        {
            before.insert(prefix.to_owned(), inner.list(prefix).await.unwrap());
        }
        let (calls, killed) = (Mutex::default(), Notify::new());
        Self { inner, state: Arc::new(State { at, fault, calls, before, killed }) }
    }

    /// How many calls there were.
    pub(super) fn calls(&self) -> usize {
        self.state.calls.lock().unwrap().len()
    }

    /// The call that went wrong, if it came to it and the fault can befall such a call.
    pub(super) fn fault(&self) -> Option<String> {
        let calls = self.state.calls.lock().unwrap();
        let call = calls.get(self.state.at)?;
        let kind = call.split(' ').next().unwrap();
        self.state.fault.befalls(kind).then(|| format!("{:?} of {call}", self.state.fault))
    }

    /// Waits until the process is killed.
    pub(super) async fn killed(&self) {
        self.state.killed.notified().await;
    }
}

impl State {
    async fn turn(&self, call: &str, what: &str) -> Turn {
        let number = {
            let mut calls = self.calls.lock().unwrap();
            calls.push(format!("{call} {what}"));
            calls.len() - 1
        };
        if self.fault == Fault::Killed && number >= self.at {
            self.killed.notify_one();
            std::future::pending::<()>().await;
        }
        if number != self.at || !self.fault.befalls(call) {
            return Turn::Goes;
        }
        match self.fault {
            Fault::ErrorBefore | Fault::Killed => Turn::Fails,
            Fault::ErrorAfter => Turn::FailsAfter,
            Fault::Timeout => Turn::FailsLate,
            Fault::PartialRead => Turn::HalfRead,
            Fault::StaleList => Turn::OldList,
        }
    }
}

fn failure() -> Error {
    Error::new(ErrorKind::StoreUnavailable, "store did not answer")
}

#[async_trait]
impl Store for FaultyStore {
    fn location(&self) -> String {
        self.inner.location()
    }

    async fn create(&self, name: &ObjectName) -> Result<Box<dyn Upload>> {
        match self.state.turn("create", &name.to_string()).await {
            Turn::Goes => {}
            _ => return Err(failure()),
        }
        let upload = self.inner.create(name).await?;
        Ok(Box::new(FaultyUpload { upload, name: *name, state: self.state.clone() }))
    }

    async fn read(&self, name: &ObjectName, range: Range<u64>) -> Result<Bytes> {
        match self.state.turn("read", &name.to_string()).await {
            Turn::Goes => self.inner.read(name, range).await,
            Turn::HalfRead => {
                let bytes = self.inner.read(name, range).await?;
                Ok(bytes.slice(..bytes.len() / 2))
            }
            _ => Err(failure()),
        }
    }

    async fn len(&self, name: &ObjectName) -> Result<Option<u64>> {
        match self.state.turn("len", &name.to_string()).await {
            Turn::Goes => self.inner.len(name).await,
            _ => Err(failure()),
        }
    }

    async fn list(&self, prefix: &str) -> Result<Vec<StoredObject>> {
        match self.state.turn("list", prefix).await {
            Turn::Goes => self.inner.list(prefix).await,
            Turn::OldList => match self.state.before.get(prefix) {
                Some(before) => Ok(before.clone()),
                None => self.inner.list(prefix).await,
            },
            _ => Err(failure()),
        }
    }

    async fn delete(&self, name: &ObjectName) -> Result<()> {
        match self.state.turn("delete", &name.to_string()).await {
            Turn::Goes => self.inner.delete(name).await,
            Turn::FailsAfter => {
                self.inner.delete(name).await?;
                Err(failure())
            }
            Turn::FailsLate => {
                let (inner, name) = (self.inner.clone(), *name);
                tokio::spawn(async move {
                    tokio::time::sleep(2 * LATE).await;
                    inner.delete(&name).await
                });
                tokio::time::sleep(LATE).await;
                Err(failure())
            }
            _ => Err(failure()),
        }
    }
}

struct FaultyUpload {
    upload: Box<dyn Upload>,
    name: ObjectName,
    state: Arc<State>,
}

#[async_trait]
impl Upload for FaultyUpload {
    async fn write(&mut self, bytes: Bytes) -> Result<()> {
        match self.state.turn("write", &self.name.to_string()).await {
            Turn::Goes => self.upload.write(bytes).await,
            _ => Err(failure()),
        }
    }

    async fn finish(self: Box<Self>) -> Result<()> {
        let Self { upload, name, state } = *self;
        match state.turn("finish", &name.to_string()).await {
            Turn::Goes => upload.finish().await,
            Turn::FailsAfter => {
                upload.finish().await?;
                Err(failure())
            }
            Turn::FailsLate => {
                tokio::spawn(async move {
                    tokio::time::sleep(2 * LATE).await;
                    upload.finish().await
                });
                tokio::time::sleep(LATE).await;
                Err(failure())
            }
            _ => Err(failure()),
        }
    }
}
