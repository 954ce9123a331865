//! The catalogs: facts read from the server, made into entries, put in order.
//!
//! ```text
//! catalog queries -> drafts (one an object, with its address) -> pg_depend edges
//!                 -> loops broken, sorted -> entries with positions
//! ```
//!
//! Nothing here moves rows. Facts are read within the caller's transaction, whose
//! snapshot and `search_path = ''` it relies on.

mod context;
mod draft;

pub use draft::{Address, Draft};
