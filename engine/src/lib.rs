//! Everything pgkeep can do, as a library.
//!
//! Use cases stand on services, services on the outside world; nothing points back:
//!
//! ```text
//! use cases   backup  restore  stream  history  export  verify  repair  copy
//!             never name each other
//! services    fold  repository  catalog  seal  postgres
//! outside     store
//! ```

pub mod backup;
pub mod catalog;
pub mod clock;
pub mod copy;
pub mod error;
pub mod export;
#[cfg(test)]
mod fixture;
pub mod fold;
pub mod forget;
pub mod history;
mod lsn;
mod new_file;
pub mod postgres;
pub mod progress;
pub mod prune;
pub mod repair;
pub mod repository;
pub mod restore;
pub mod seal;
pub mod store;
pub mod stream;
#[cfg(test)]
mod structure;
pub mod verify;

pub use error::{Error, ErrorKind, Result};
pub use lsn::Lsn;
pub use new_file::NewFile;
