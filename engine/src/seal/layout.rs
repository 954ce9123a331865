//! How the chunks of one table are laid out before they are compressed: row by row, or column by
//! column, whichever gave fewer bytes when both were last tried.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// Of so many chunks of a table, one is compressed both ways.
const TRY_EVERY: u32 = 64;

/// What was learned of one table; clones share it.
#[derive(Debug, Clone, Default)]
pub struct Layout(Arc<Learned>);

#[derive(Debug, Default)]
struct Learned {
    chunks: AtomicU32,
    columns_win: AtomicBool,
}

/// What to do with a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Try {
    Rows,
    Columns,
    Both,
}

impl Layout {
    /// What to do with the next chunk.
    pub(super) fn next(&self) -> Try {
        // Chunks are compressed side by side: an answer that comes a chunk late does no harm.
        if self.0.chunks.fetch_add(1, Ordering::Relaxed).is_multiple_of(TRY_EVERY) {
            Try::Both
        } else if self.0.columns_win.load(Ordering::Relaxed) {
            Try::Columns
        } else {
            Try::Rows
        }
    }

    /// Notes which way gave fewer bytes.
    pub(super) fn learn(&self, columns_win: bool) {
        self.0.columns_win.store(columns_win, Ordering::Relaxed);
    }
}
