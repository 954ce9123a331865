//! Folding: the rows of a table at a moment, from a backup's rows and the changes after it,
//! before any row is sent to a server.
//!
//! ```text
//! segments -> chain -> target (where it is cut) -> recovery (backup + changes that count)
//! recovery -> table fold -> rows
//! ```
//!
//! Who reads changes without folding them (`history`) finds them by the same chain.
//!
//! It knows the repository and no server. Memory is bounded: a fold keeps hashes of keys, a
//! share of them at a time, and never a table.

mod bag;
mod chain;
mod changes;
mod copy_row;
mod definitions;
mod hash;
mod keyed;
mod mapping;
mod recovery;
mod row_hash;
mod stage;
mod table;
mod target;
mod window;

pub use chain::Named;
pub(crate) use chain::{Chain, Run, chains, name_of};
pub(crate) use changes::Read;
pub(crate) use recovery::{Counts, database_of_stream};
pub use recovery::{Recovery, TableCopy, Wanted, recover};
pub use table::{Part, Parts, Passing, TableFold};
pub use target::{Cut, LastCommit, Moment, Target};
pub(crate) use window::short_id;
pub use window::{Window, windows};
