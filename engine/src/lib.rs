//! Everything pgkeep can do, as a library.
//!
//! Use cases stand on services, services on the outside world; nothing points back:
//!
//! ```text
//! use cases   backup  restore  export  verify      never name each other
//! services    repository  catalog  seal  postgres
//! outside     store
//! ```

pub mod backup;
pub mod catalog;
pub mod clock;
pub mod error;
pub mod export;
mod new_file;
pub mod postgres;
pub mod progress;
pub mod repository;
pub mod restore;
pub mod seal;
pub mod store;
#[cfg(test)]
mod structure;
pub mod verify;

pub use error::{Error, ErrorKind, Result};
pub use new_file::NewFile;
