//! The workers: each with its own connection and the common snapshot, each copying one part of a
//! table after the other, on a thread of its own.
//!
//! ```text
//! this thread   socket -> cut -> named, known? laid out, compressed, sealed -> packer's queue
//! the backup's  files, buckets, cancel requests; whatever a worker begins there
//! runtime
//! ```
//!
//! A chunk takes milliseconds of computing. Where workers are tasks of one runtime, nobody looks at
//! the other sockets meanwhile, and two workers share a thread while another thread sleeps: servers
//! wait that have rows, and a processor is idle (docs/decisions/0024).

use super::plan::{Item, Statement};
use super::rows::{CopiedTable, Work};
use crate::postgres::WireSession;
use crate::progress::Event;
use crate::repository::ChunkWriter;
use crate::seal::Cutter;
use crate::{Error, ErrorKind, Result};
use futures_util::future::try_join_all;
use std::io;
use std::sync::Arc;
use std::thread;
use tokio::runtime::{Builder, Handle};
use tokio::sync::{oneshot, watch};
use tokio_util::context::TokioContext;

/// The threads that copy. Those that are still at work when this goes give up.
#[derive(Default)]
pub(super) struct Workers {
    /// Closed when nobody waits for the workers any more.
    wanted: watch::Sender<()>,
    ends: Vec<oneshot::Receiver<Result<()>>>,
}

impl Workers {
    /// Starts a worker with its session.
    ///
    /// # Errors
    /// [`ErrorKind::Internal`] when the system gives no thread.
    pub(super) fn start(&mut self, worker: Worker, wire: WireSession) -> Result<()> {
        let (tell, end) = oneshot::channel();
        let (wanted, home) = (self.wanted.subscribe(), Handle::current());
        let work = move || {
            // Nobody listens where the backup was given up.
            let _ = tell.send(worker.run(wire, wanted, home));
        };
        let name = format!("worker {}", self.ends.len() + 1);
        thread::Builder::new().name(name).spawn(work).map_err(no_thread)?;
        self.ends.push(end);
        Ok(())
    }

    /// Waits until all have ended, or one has failed.
    ///
    /// # Errors
    /// What it failed with.
    pub(super) async fn end(mut self) -> Result<()> {
        let ends = self.ends.drain(..).map(async |end| {
            end.await.map_err(|error| {
                Error::new(ErrorKind::Internal, "copying rows did not end").because(error)
            })?
        });
        try_join_all(ends).await?;
        Ok(())
    }
}

/// One of them.
pub(super) struct Worker {
    work: Arc<Work>,
    writer: ChunkWriter,
    /// The first has all locks from the start.
    is_first: bool,
}

impl Worker {
    pub(super) fn new(work: Arc<Work>, writer: &ChunkWriter, is_first: bool) -> Self {
        Self { work, writer: writer.clone(), is_first }
    }

    /// Copies on this thread, until nothing is left or it is no longer `wanted`. What is begun beside
    /// the session's socket belongs to the runtime `home`, which outlives this thread: connections to
    /// a store are shared, and a cancel request is sent when the session has gone.
    fn run(self, wire: WireSession, mut wanted: watch::Receiver<()>, home: Handle) -> Result<()> {
        let here = Builder::new_current_thread().enable_io().build().map_err(no_thread)?;
        let wire = {
            let _entered = here.enter();
            wire.moved_here()?
        };
        here.block_on(TokioContext::new(
            async move {
                tokio::select! {
                    biased;
                    _ = wanted.changed() => {
                        Err(Error::new(ErrorKind::Internal, "copying rows was given up"))
                    }
                    copied = self.copy_items(wire) => copied,
                }
            },
            home,
        ))
    }

    async fn copy_items(self, mut wire: WireSession) -> Result<()> {
        while let Some(item) = self.work.next(self.is_first) {
            if !self.is_first && !may_read(&mut wire, &item).await? {
                self.work.hand_to_first(item);
                continue;
            }
            self.copy(&mut wire, &item).await?;
        }
        if self.is_first {
            // It goes on until no other can hand it an item any more.
            while let Some(item) = self.work.left_over().await {
                self.copy(&mut wire, &item).await?;
            }
        } else {
            self.work.one_less();
        }
        wire.close().await;
        Ok(())
    }

    async fn copy(&self, wire: &mut WireSession, item: &Item) -> Result<()> {
        if item.part == 0 {
            let table = self.work.table(item).to_owned();
            self.work.progress().event(Event::TableStarted { table });
        }
        let copied = self.copy_item(wire, item).await.map_err(|error| {
            let message = format!("could not copy table \"{}\"", self.work.table(item));
            Error::new(error.kind(), message).because(error)
        })?;
        self.work.done(item, copied);
        Ok(())
    }

    async fn copy_item(&self, wire: &mut WireSession, item: &Item) -> Result<CopiedTable> {
        let mut rows = match &item.statement {
            Statement::Select(sql) => wire.select(sql).await?,
            Statement::Copy(sql) => wire.copy_out(sql).await?,
        };
        let mut part = self.work.part(item, &self.writer);
        let mut cutter = Cutter::new(self.writer.secrets());
        let mut cut = Vec::new();
        while let Some(ends) = rows.next(cutter.buffer()).await? {
            cutter.took(ends, |chunk| cut.push(chunk));
            for chunk in cut.drain(..) {
                part.push(chunk).await?;
            }
        }
        if let Some(chunk) = cutter.finish() {
            part.push(chunk).await?;
        }
        part.finish().await
    }
}

/// Whether this worker gets its lock at once. If somebody waits for a stronger lock, this
/// worker would wait behind him, and he behind the coordinator: for ever.
async fn may_read(wire: &mut WireSession, item: &Item) -> Result<bool> {
    let Some(table) = &item.lock else { return Ok(true) };
    // In one round trip: with many small tables it is half of what they cost.
    let lock = format!(
        "SAVEPOINT lock; LOCK TABLE ONLY {table} IN ACCESS SHARE MODE NOWAIT; \
         RELEASE SAVEPOINT lock"
    );
    match wire.execute(&lock).await {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::LockTimeout => {
            wire.execute("ROLLBACK TO SAVEPOINT lock; RELEASE SAVEPOINT lock").await?;
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

fn no_thread(error: io::Error) -> Error {
    Error::new(ErrorKind::Internal, "could not start a worker").because(error)
}
