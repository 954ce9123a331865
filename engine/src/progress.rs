//! What long work tells while it runs, and how it is told to stop.
//!
//! The engine reports and never prints; the edge decides what a person sees.

use std::sync::Arc;
use tokio::sync::watch;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A new part of the work began; a short text such as `reading the catalogs`.
    Phase(String),
    /// How much there is to do, as far as it is known. May come again with better figures.
    Plan {
        /// Tables, or other things with a name.
        tables: u64,
        /// Bytes; estimated where the server only estimates.
        bytes: u64,
    },
    /// Work on a table began.
    TableStarted {
        /// Its name, `schema.table`.
        table: String,
    },
    /// A table is done.
    TableFinished {
        /// Its name, `schema.table`.
        table: String,
        /// Its rows.
        rows: u64,
        /// The bytes of its rows, plain.
        bytes: u64,
    },
    /// Work went on; the numbers are since the last such event.
    Advanced {
        /// Rows.
        rows: u64,
        /// Bytes of rows, plain; of objects for a verify.
        bytes: u64,
        /// Bytes stored or read from the store.
        stored: u64,
    },
    /// An entry was restored, or another step that has a name was done.
    Step(String),
    /// Something that the user should know and that does not stop the work.
    Warning(String),
}

/// Listens to events; called from many tasks at once, must return quickly.
pub trait Progress: Send + Sync {
    /// Takes one event.
    fn event(&self, event: Event);
}

/// Ignores all events.
#[derive(Debug, Default, Clone, Copy)]
pub struct Silent;

impl Progress for Silent {
    fn event(&self, _: Event) {}
}

/// Tells work to stop: the edge holds the [`Interrupter`], the work looks at this.
#[derive(Debug, Clone)]
pub struct Interrupt(watch::Receiver<bool>);

/// The edge's end of an [`Interrupt`].
#[derive(Debug, Clone)]
pub struct Interrupter(Arc<watch::Sender<bool>>);

/// Makes a pair.
#[must_use]
pub fn interrupt() -> (Interrupter, Interrupt) {
    let (sender, receiver) = watch::channel(false);
    (Interrupter(Arc::new(sender)), Interrupt(receiver))
}

impl Interrupter {
    /// Tells the work to stop.
    pub fn interrupt(&self) {
        self.0.send_replace(true);
    }
}

impl Interrupt {
    /// Whether the work was told to stop.
    #[must_use]
    pub fn is_set(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until the work is told to stop; for ever where nobody can tell it any more.
    pub async fn wait(&mut self) {
        if self.0.wait_for(|set| *set).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
