//! What a server refused: why, and what to do about it.

use super::names::title;
use crate::postgres::ServerError;
use crate::{Error, ErrorKind, Result};
use pgkeep_format::entry::{Entry, EntryKind, Kind};

/// The SQLSTATE of the server's error behind this one.
pub(super) fn sqlstate(error: &Error) -> Option<&str> {
    error.cause::<ServerError>().map(|server| server.sqlstate.as_str())
}

/// Whether the server refused a statement, with the session as good as before.
pub(super) fn is_refusal(error: &Error) -> bool {
    error.kind() != ErrorKind::Connection && sqlstate(error).is_some()
}

/// Why the server refused a statement; an error of any other kind is given back.
pub(super) fn reason(error: Error) -> Result<String> {
    match error.cause::<ServerError>() {
        Some(server) => Ok(server.message.clone()),
        None => Err(error),
    }
}

/// Characters of an entry's SQL that an error shows.
const SQL_SHOWN: usize = 2000;

/// The error for an entry that could not be restored: names it and shows its SQL.
pub(super) fn failed(entries: &[Entry], at: usize, error: Error) -> Error {
    let entry = &entries[at];
    let sql: String = entry.create.chars().take(SQL_SHOWN).collect();
    let kind = error.kind();
    let hint = hint(entry, &error);
    let statement = Error::new(kind, format!("statement: {sql}")).because(error);
    let wrapped =
        Error::new(kind, format!("could not restore {}", title(entries, at))).because(statement);
    match hint {
        Some(hint) => wrapped.hint(hint),
        None => wrapped,
    }
}

/// What to do where a transaction holds more locks than the server has room for.
pub(super) fn too_many_locks(error: &Error) -> Option<&'static str> {
    (sqlstate(error) == Some("53200")).then_some(
        "Raise the server's max_locks_per_transaction, or replace the whole database: \
         --create --clean.",
    )
}

/// What to do where an entry names what is not there, which may be a role, and the like.
fn hint(entry: &Entry, error: &Error) -> Option<&'static str> {
    if sqlstate(error) != Some("42704") {
        return too_many_locks(error);
    }
    match entry.kind {
        EntryKind::Known(Kind::Owner) => Some("Create the role first, or restore with --no-owner."),
        EntryKind::Known(Kind::Acl | Kind::DefaultAcl) => {
            Some("Create the role first, or restore with --no-acl.")
        }
        EntryKind::Known(Kind::Policy | Kind::UserMapping) => {
            Some("If it is a role that is missing, create it first.")
        }
        _ => None,
    }
}
