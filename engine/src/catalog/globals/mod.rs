//! What belongs to no database: roles, their memberships and settings, privileges on
//! parameters, tablespaces. Read with a few queries, straight to entries: nothing here depends
//! on an object of a database, and the order is that of the modules.
//!
//! A role is made and altered by entries of its own each, so that one that is there already can
//! be altered all the same. Nothing is dropped: other databases may need what a backup does not.

mod databases;
mod memberships;
mod parameters;
mod roles;
mod settings;
mod tablespaces;

pub use databases::databases;

use crate::Result;
use crate::catalog::Provider;
use crate::postgres::Session;
use pgkeep_format::entry::{Entry, Kind, Section};

/// What a server has beside its databases.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Globals {
    /// Every object, in an order in which they can be created.
    pub entries: Vec<Entry>,
    /// What is left out, a sentence each.
    pub warnings: Vec<String>,
}

/// Whether the session may read roles' passwords, which are for superusers alone; the rest
/// is for everybody.
///
/// # Errors
/// Whatever the server reports.
pub async fn may_read_passwords(session: &Session) -> Result<bool> {
    let sql = "SELECT pg_catalog.has_table_privilege('pg_catalog.pg_authid', 'SELECT') AS allowed";
    match session.query(sql).await?.first() {
        Some(row) => row.bool("allowed"),
        None => Ok(false),
    }
}

/// Reads them; roles with their passwords, as the server keeps them, where `passwords` asks for
/// these and the session may see them.
///
/// On the server of a `provider`, memberships that come with CREATE ROLE are left out: whoever
/// restores there is no superuser and gets them by making the roles himself.
///
/// The caller has opened a transaction of which this sees one snapshot.
///
/// # Errors
/// Whatever the server reports.
pub async fn read_globals(
    session: &Session,
    passwords: bool,
    provider: Option<Provider>,
) -> Result<Globals> {
    let mut globals = Globals::default();
    roles::read(session, passwords, &mut globals).await?;
    memberships::read(session, provider.is_some(), &mut globals).await?;
    settings::read(session, &mut globals).await?;
    parameters::read(session, &mut globals).await?;
    tablespaces::read(session, &mut globals).await?;
    Ok(globals)
}

impl Globals {
    /// Adds an entry and returns its position.
    fn add(&mut self, kind: Kind, name: &str, create: String, belongs_to: Option<u32>) -> u32 {
        let position = u32::try_from(self.entries.len()).unwrap_or(u32::MAX);
        self.entries.push(Entry {
            kind: kind.into(),
            section: Section::PreData,
            schema: None,
            name: name.to_owned(),
            create,
            drop: None,
            depends_on: belongs_to.into_iter().collect(),
            belongs_to,
            relation: None,
            data: None,
            owner: None,
            large_objects: None,
            storage: None,
            by_index: None,
        });
        position
    }
}
