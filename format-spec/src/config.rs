//! The repository's own settings: the body of a signed object, by the owner.

use crate::FormatError;
use crate::cbor;
use crate::id::{ObjectId, VerifyKey};
use crate::limits;
use minicbor::{Decode, Encode};
use std::collections::HashSet;

/// The settings of a repository. A change is a new config under the next number.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Config {
    /// When it was written, microseconds since 1970 UTC.
    #[n(1)]
    pub written_at: i64,
    /// Features that a reader must know.
    #[n(2)]
    pub features: Vec<String>,
    /// Whether frames are sealed. A writer that finds `false` seals nothing; a reader
    /// learns from each frame.
    #[n(3)]
    pub encrypted: bool,
    /// age recipients (`age1…`) for whom data keys are wrapped; empty when not encrypted.
    #[n(4)]
    pub recipients: Vec<String>,
    /// Who may sign manifests and indexes.
    #[n(5)]
    pub writers: Vec<Writer>,
    /// What the store was found to do when it was probed.
    #[n(6)]
    pub store: StoreFacts,
    /// Who signed once and may no longer; absent where nobody was revoked.
    #[n(7)]
    pub former_writers: Option<Vec<FormerWriter>>,
}

/// Somebody whose signature readers accept.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Writer {
    /// The writer's public key.
    #[n(1)]
    pub key: VerifyKey,
    /// A name for people, such as the host's.
    #[n(2)]
    pub name: String,
}

/// Somebody who was a writer. What they signed is accepted where the owner vouches for it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct FormerWriter {
    /// The writer's public key.
    #[n(1)]
    pub key: VerifyKey,
    /// A name for people.
    #[n(2)]
    pub name: String,
    /// When they were revoked, microseconds since 1970 UTC, by the owner's clock.
    #[n(3)]
    pub revoked_at: i64,
    /// The vouchers that list what they had signed; none where they are distrusted.
    #[n(4)]
    pub vouchers: Vec<ObjectId>,
}

/// What the store can do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct StoreFacts {
    /// Whether a second object under a name is refused. Nothing is ever safe because of
    /// it.
    #[n(1)]
    pub refuses_overwrite: bool,
}

impl Config {
    /// Reads and checks the body of a config.
    ///
    /// # Errors
    /// [`FormatError`] when it breaks a rule.
    pub fn decode(body: &[u8]) -> Result<Self, FormatError> {
        let config: Self = cbor::decode("config", body)?;
        crate::manifest::check_features("config", &config.features)?;
        if config.recipients.len() > limits::PARTIES_MAX
            || config.writers.len() > limits::PARTIES_MAX
        {
            return Err(FormatError::invalid("config", "too many recipients or writers"));
        }
        if config.encrypted == config.recipients.is_empty() {
            return Err(FormatError::invalid("config", "recipients and encryption disagree"));
        }
        config.check_former_writers()?;
        Ok(config)
    }

    fn check_former_writers(&self) -> Result<(), FormatError> {
        let former = self.former_writers();
        if former.len() > limits::PARTIES_MAX
            || former.iter().map(|writer| writer.vouchers.len()).sum::<usize>()
                > limits::VOUCHERS_MAX
        {
            return Err(FormatError::invalid("config", "too many former writers or vouchers"));
        }
        let mut keys: HashSet<VerifyKey> = self.writers.iter().map(|writer| writer.key).collect();
        if former.iter().all(|writer| keys.insert(writer.key)) {
            return Ok(());
        }
        Err(FormatError::invalid("config", "a former writer is there twice"))
    }

    /// Who signed once and may no longer.
    #[must_use]
    pub fn former_writers(&self) -> &[FormerWriter] {
        self.former_writers.as_deref().unwrap_or_default()
    }
}
