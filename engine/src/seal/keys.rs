//! Secret keys: made at random, kept in memory, never printed.

use crate::{Error, ErrorKind, Result};
use pgkeep_format::id::{KeyId, SeriesId};
use ring::rand::{SecureRandom, SystemRandom};
use std::fmt;

/// Random bytes from the operating system.
///
/// # Errors
/// [`ErrorKind::Internal`] when it has none to give.
pub fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| Error::new(ErrorKind::Internal, "operating system gave no random bytes"))?;
    Ok(bytes)
}

/// What all who write to or read a repository share.
#[derive(Clone, PartialEq, Eq)]
pub struct Secrets {
    /// Keys the hash that names chunks.
    pub naming: [u8; 32],
    /// Keys the hash that decides where rows are cut.
    pub cut: [u8; 32],
}

impl Secrets {
    /// Makes new ones.
    ///
    /// # Errors
    /// As [`random`].
    pub fn generate() -> Result<Self> {
        Ok(Self { naming: random()?, cut: random()? })
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secrets(…)")
    }
}

/// Seals the frames of one run.
#[derive(Clone, PartialEq, Eq)]
pub struct DataKey {
    /// Its name.
    pub id: KeyId,
    /// The key itself.
    pub key: [u8; 32],
}

impl DataKey {
    /// Makes a new one.
    ///
    /// # Errors
    /// As [`random`].
    pub fn generate() -> Result<Self> {
        Ok(Self { id: KeyId(random()?), key: random()? })
    }
}

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DataKey({}, …)", self.id)
    }
}

/// Tells which backups are of one database without telling which.
#[must_use]
pub fn series_id(secrets: &Secrets, system_identifier: u64, database: &str) -> SeriesId {
    let mut hasher = blake3::Hasher::new_keyed(&secrets.naming);
    hasher.update(b"series\0");
    hasher.update(&system_identifier.to_le_bytes());
    hasher.update(database.as_bytes());
    let mut id = SeriesId::default();
    hasher.finalize_xof().fill(&mut id.0);
    id
}
