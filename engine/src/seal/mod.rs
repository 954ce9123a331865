//! From rows to sealed frames and back: cut, name, compress, encrypt, sign. Pure and
//! synchronous; no I/O, no task, no server.
//!
//! ```text
//! rows -> cut -> chunk -> name -> (known already?) -> compress -> encrypt -> frame
//! frame -> checksum -> decrypt -> decompress -> name again -> chunk
//! ```
//!
//! The only module that knows ring, blake3, zstd, siphash and age.

mod compress;
mod cut;
mod frame;
mod keys;
mod layout;
mod sign;
mod wrap;

pub use cut::{CUT_MAX, Chunk, Cutter};
pub use frame::{Opened, Sealer, chunk_id, open};
pub use keys::{DataKey, Secrets, random, series_id};
pub use layout::Layout;
pub use sign::{SigningKey, object_digest, verify};
pub use wrap::{
    AgeIdentity, generate_identity, recipient_of, recipients_of_wrapped, unwrap_key,
    validate_recipient, wrap_key,
};
