//! The PostgreSQL server: how to reach it, sessions, `COPY`, snapshots.
//!
//! The only module that knows tokio-postgres and postgres-protocol.

mod quote;
mod session;
mod settings;

pub use quote::{identifier, literal, qualified};
pub use session::{Row, Session};
pub use settings::{Asked, Settings};
