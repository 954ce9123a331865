//! The repository's own settings: the body of a signed object, by the owner.

use crate::FormatError;
use crate::cbor;
use crate::id::VerifyKey;
use crate::limits;
use minicbor::{Decode, Encode};

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
        Ok(config)
    }
}
