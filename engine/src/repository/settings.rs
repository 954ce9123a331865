//! Changes of the settings: a new config under the next number, signed by the owner.
//!
//! Nothing keeps two owners from writing the same number at once; on a store that
//! overwrites, the later one wins. So what was written is read back and compared, and who
//! lost is told. A window remains between the look and the write of the other: change the
//! settings of a repository from one place at a time.

use super::vouchers::Vouchers;
use super::{Inner, Repository, newest_config, signed};
use crate::seal::SigningKey;
use crate::store::Counted;
use crate::{Error, ErrorKind, Result, clock};
use pgkeep_format::cbor;
use pgkeep_format::config::Config;
use pgkeep_format::name::ObjectName;
use pgkeep_format::object::ObjectType;
use std::sync::Arc;

/// The greatest number that a name holds.
const NUMBER_MAX: u32 = 99_999_999;

impl Repository {
    /// The number of the settings that hold; each change makes it greater.
    #[must_use]
    pub fn settings_number(&self) -> u32 {
        self.inner.config_number
    }

    /// What signs settings and vouchers.
    ///
    /// # Errors
    /// [`ErrorKind::WrongKey`] when the identity that this repository was opened with does
    /// not hold the owner's secret.
    pub(super) fn owner_key(&self) -> Result<&SigningKey> {
        let hint = "Give the whole identity that was made with this repository: --identity FILE";
        let key = self.inner.owner_secret.as_ref().ok_or_else(|| {
            let message = "the owner's secret is needed to change who reads and writes";
            Error::new(ErrorKind::WrongKey, message).hint(hint)
        })?;
        if key.verify_key() != self.inner.owner {
            let message = "identity holds the secret of somebody else than the owner";
            return Err(Error::new(ErrorKind::WrongKey, message).hint(hint));
        }
        Ok(key)
    }

    /// Writes changed settings under the next number; returns the repository with them.
    ///
    /// # Errors
    /// [`ErrorKind::WrongKey`] without the owner's secret; [`ErrorKind::Changed`] when
    /// somebody else changed them meanwhile; [`ErrorKind::Usage`] when the changed settings
    /// are not valid.
    pub(super) async fn change_settings(&self, change: impl FnOnce(&mut Config)) -> Result<Self> {
        let owner = self.owner_key()?;
        let (_, newest) = newest_config(self.store()).await?;
        let number = newest + 1;
        if newest != self.inner.config_number || number > NUMBER_MAX {
            return Err(lost(newest));
        }
        let mut config = self.config().clone();
        config.written_at = clock::now_micros();
        change(&mut config);
        let body = cbor::encode(&config);
        Config::decode(&body).map_err(|error| {
            Error::new(ErrorKind::Usage, "settings would not be valid").because(error)
        })?;
        let (store, name, id) = (self.store(), ObjectName::Config(number), self.id());
        match signed::write(store, &name, ObjectType::Config, id, &body, owner).await {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => return Err(lost(number)),
            written => written?,
        };
        let trusted = |signer| signer == self.inner.owner;
        let found = signed::read(store, &name, ObjectType::Config, id, &trusted).await?;
        if found != body {
            return Err(lost(number));
        }
        Ok(self.with_settings(config, number))
    }

    fn with_settings(&self, config: Config, config_number: u32) -> Self {
        let inner = Inner {
            store: Counted::new(self.inner.store.inner()),
            shared: self.inner.shared,
            id: self.inner.id,
            owner: self.inner.owner,
            config,
            config_number,
            keys: self.inner.keys.clone(),
            writer: self.inner.writer.clone(),
            owner_secret: self.inner.owner_secret.clone(),
            vouchers: Vouchers::default(),
        };
        Self { inner: Arc::new(inner) }
    }
}

fn lost(number: u32) -> Error {
    let message = format!("settings were changed by somebody else: number {number} is not ours");
    Error::new(ErrorKind::Changed, message)
        .hint("Look at what holds now (pgkeep key list, pgkeep writer list), then run this again.")
}
