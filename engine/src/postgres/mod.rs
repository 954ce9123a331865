//! The PostgreSQL server: how to reach it, sessions, `COPY`, snapshots.
//!
//! The only module that knows tokio-postgres and postgres-protocol.

mod cancel;
mod connect;
pub mod copy_binary;
pub mod copy_text;
mod driver;
mod guard;
pub mod pgoutput;
mod quote;
mod server_error;
mod session;
mod settings;
mod snapshot;
mod socket;
mod tls;
mod wire;

/// PostgreSQL's name of the encoding that every session of ours speaks, whatever its database has:
/// names in our statements are in it.
pub const SESSION_ENCODING: &str = "UTF8";

pub use cancel::Cancel;
pub use quote::{identifier, literal, qualified};
pub use server_error::ServerError;
pub use session::{Row, Session, only};
pub use settings::{Address, Asked, Host, Settings};
pub use snapshot::{Coordinator, Snapshot, SnapshotOptions, Visible};
#[cfg(feature = "fuzzing")]
pub use wire::fuzzing;
pub use wire::{
    CopyIn, NewSlot, POSTGRES_EPOCH_MICROS, Replicated, ReplicationSession, RowsOut,
    SystemIdentity, WalSent, WireSession,
};
