//! End to end tests: the program `pgkeep` as a person runs it, on real servers of every
//! supported major version.
//!
//! One binary; a module for each behaviour. What they stand on is in `tests/src`. This is a
//! test target of the command line's package, so that cargo builds the program first.
//! `logins`, `sessions` and `snapshots` stand one floor lower, on the engine's `postgres`.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod binary_rows;
mod buckets;
mod change_stream;
mod connections;
mod consistency;
mod damage;
mod definitions;
mod distributed;
mod encodings;
mod export;
mod export_archive;
mod faults;
mod from_pg_dump;
mod globals;
mod history;
mod hostile_names;
mod hostile_rows;
mod indexes;
mod interruption;
mod keeping;
mod kinds;
mod listing;
mod locks;
mod logins;
mod lying_server;
mod managed;
mod moments;
mod odd_rows;
mod oracle;
mod policies;
mod random_rows;
mod refusals;
mod regression;
mod repair;
mod restore_errors;
mod restore_parts;
mod restore_rows;
mod reused_rows;
mod rights;
mod round_trip;
mod satellites;
mod second_backup;
mod security;
mod selection;
mod sessions;
mod single_file;
mod snapshots;
mod standby;
mod statistics;
mod storage;
mod stranger;
mod switches;
mod upgrade;
mod use_list;
mod writers;

use pgkeep_tests::{Bucket, Database, Pgkeep, Repository, Server};

/// The program under test, as cargo built it for this run.
fn pgkeep() -> Pgkeep {
    Pgkeep::new(env!("CARGO_BIN_EXE_pgkeep"))
}

/// A new repository.
fn repository() -> Repository {
    Repository::init(&pgkeep())
}

/// A new repository in a bucket.
fn repository_in(bucket: &Bucket) -> Repository {
    Repository::init_in(&pgkeep(), &bucket.access(), "shop", &[])
}

/// A database with the platform in it; scale 1 is a million rows.
fn platform<'a>(server: &'a Server, scale: &str) -> Database<'a> {
    let database = server.database();
    database.load("platform.sql", &[("scale", scale)]);
    database
}

/// Backs a database up into a new repository and restores it into `copy`; compares rows.
fn assert_rows_come_back(source: &Database<'_>, copy: &Database<'_>) {
    let repository = repository();
    repository.backup(&source.uri(), &[]);
    repository.restore(&copy.uri(), &[]);
    source.assert_same_rows(copy);
}
