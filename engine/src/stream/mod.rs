//! The change stream: every transaction that commits, from a logical replication slot into
//! segments of the repository.
//!
//! ```text
//! setup   publication, replica identities, slot -> the segment that begins the stream
//! run     slot -> pgoutput -> transactions -> chunks of changes -> packs -> segment
//!         the server is told how far we are only when the segment is durable
//! join    once a day a segment that begins where the stream is: what is before it can go
//! copies  rows that the stream lacks, of tables that a command rewrote -> a small backup
//! ```
//!
//! Memory holds at most a chunk of each table and the limit of `receive` together; a slow store
//! slows the reading, and the server keeps the WAL.

mod begin;
mod builder;
mod copies;
mod definitions;
mod join;
mod lag;
mod leases;
mod line;
mod position;
mod receive;
mod relations;
mod rows;
mod run;
mod said;
mod setup;
mod watch;

pub use copies::TableCopier;
pub use receive::MARK_PREFIX;
pub use run::{StreamOptions, StreamReport, run};
pub use setup::{Keyless, SetupOptions, SetupReport, mark, setup, teardown};
