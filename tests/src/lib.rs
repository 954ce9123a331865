//! What tests stand on: real PostgreSQL servers of every supported major version, scratch
//! databases in them, what the server itself says of its rows, and runs of `pgkeep`.
//!
//! It is not the thing under test and uses nothing of it: the oracle is the server, and
//! `pg_dump` and `psql` 18, which `tests/servers` installs.
//!
//! ```text
//! Server::shared(18)            one server a major version, for all test processes
//! Server::dedicated(18, …)      one server for one test: to kill, fill, or lock up
//!   └─ server.database()        an empty database, dropped at the end
//!        ├─ load, query         psql
//!        ├─ dump                pg_dump, as text that compares
//!        └─ digests             rows and a digest of each table, computed by the server
//! Pgkeep, Repository            runs of the program, and a repository of the test's own
//! ```
//!
//! Everything panics on failure with what the program said: a test has nothing better to do.

mod bucket;
mod certificates;
mod database;
mod digest;
mod garage;
pub mod liar;
mod moto;
mod pgkeep;
mod s3_access;
mod server;

pub use bucket::Bucket;
pub use certificates::Certificates;
pub use database::{Database, assert_same_text};
pub use digest::Digest;
pub use garage::{Garage, NODES};
pub use moto::Moto;
pub use pgkeep::{Outcome, Pgkeep, Repository};
pub use s3_access::S3Access;
pub use server::{Dedicated, MAJORS, Server};

use std::path::PathBuf;

/// The path of a file in `tests/fixtures`.
#[must_use]
pub fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)
}

/// Makes one test for each supported major version out of each named function, which takes
/// a [`Server`]: `every_major!(rows_come_back)` makes `rows_come_back::postgresql_14` to
/// `rows_come_back::postgresql_18`.
#[macro_export]
macro_rules! every_major {
    ($($function:ident),+ $(,)?) => {$(
        mod $function {
            $crate::every_major!(@one $function postgresql_14 14);
            $crate::every_major!(@one $function postgresql_15 15);
            $crate::every_major!(@one $function postgresql_16 16);
            $crate::every_major!(@one $function postgresql_17 17);
            $crate::every_major!(@one $function postgresql_18 18);
        }
    )+};
    (@one $function:ident $name:ident $major:literal) => {
        #[test]
        fn $name() {
            super::$function($crate::Server::shared($major));
        }
    };
}
