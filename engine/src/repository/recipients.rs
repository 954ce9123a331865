//! Who may read: recipients added, removed, rotated, and all keys wrapped again for those
//! who remain. No frame is written again; data keys and the repository's secrets stay what
//! they are.
//!
//! ```text
//! add     config with it -> each key wrapped for all                  (old wraps stay)
//! remove  config without it -> each key wrapped for the rest, read back -> old wraps deleted
//! rotate  add the new one -> remove the old one
//! ```
//!
//! Whatever stops this, everyone who could read before and is not removed still can: no wrap
//! is deleted before every key has a new one. Run again, it begins again.

use super::{Access, Identity, Repository, keys};
use crate::progress::{Event, Progress};
use crate::seal::{AgeIdentity, recipient_of, recipients_of_wrapped, validate_recipient};
use crate::store::{self, Store};
use crate::{Error, ErrorKind, Result};
use futures_util::{StreamExt, stream};
use pgkeep_format::id::KeyId;
use pgkeep_format::limits;
use pgkeep_format::name::{KeyName, ObjectName};
use std::collections::HashSet;
use std::sync::Arc;

/// Keys that are wrapped at the same time.
const KEYS_AT_ONCE: usize = 8;
/// How often keys are looked for that running backups made meanwhile.
const ROUNDS_MAX: usize = 8;

/// A key and for whom it is wrapped, as far as that can be told: an age file says how many
/// recipients it has and names none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyReport {
    /// The key; absent for the repository's secrets, which all share.
    pub id: Option<KeyId>,
    /// Objects that hold it.
    pub objects: u64,
    /// The most recipients that one of them has; 0 where nothing is encrypted.
    pub recipients: u64,
}

/// What wrapping again did.
#[derive(Debug, Default)]
pub struct KeyOutcome {
    /// Keys that were wrapped.
    pub wrapped: u64,
    /// Objects with older wraps that were deleted.
    pub deleted: u64,
    /// Keys that could not be opened, and why; their objects stay.
    pub failed: Vec<(KeyId, Error)>,
}

/// Which wraps stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OldWraps {
    Keep,
    Delete,
}

impl Repository {
    /// Every key with the number of its recipients, the repository's secrets first.
    ///
    /// # Errors
    /// [`ErrorKind::Store`].
    pub async fn key_reports(&self) -> Result<Vec<KeyReport>> {
        let listed = keys::list(self.store()).await?;
        let reports = listed.into_iter().map(|(id, names)| async move {
            let mut most = 0;
            for name in &names {
                let object = ObjectName::Key(*name);
                let read = store::get(self.store(), &object, limits::KEY_OBJECT_LEN_MAX).await;
                match read {
                    Ok(bytes) => most = most.max(recipients_of_wrapped(&bytes)),
                    Err(error) if error.is_of_store() => return Err(error),
                    // Gone since it was listed, or no key object: no recipient reads it.
                    Err(_) => {}
                }
            }
            let id = (id != keys::SECRETS).then_some(id);
            Ok(KeyReport { id, objects: names.len() as u64, recipients: most as u64 })
        });
        let mut all = Vec::new();
        let mut reports = stream::iter(reports).buffer_unordered(KEYS_AT_ONCE);
        while let Some(report) = reports.next().await {
            all.push(report?);
        }
        all.sort_unstable_by_key(|report| report.id);
        Ok(all)
    }

    /// Lets a recipient read: what is written from now on, and with `old_too` all there is.
    /// For one that is a recipient already, keys are wrapped all the same.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] when it is not valid or nothing is encrypted,
    /// [`ErrorKind::WrongKey`], [`ErrorKind::Changed`], what the store gives.
    pub async fn add_recipient(
        &self,
        recipient: &str,
        old_too: bool,
        progress: &Arc<dyn Progress>,
    ) -> Result<KeyOutcome> {
        self.needs_encryption()?;
        self.owner_key()?;
        validate_recipient(recipient)?;
        let known = self.config().recipients.iter().any(|known| known == recipient);
        let changed = match known {
            true => self.clone(),
            false => {
                self.change_settings(|config| config.recipients.push(recipient.to_owned())).await?
            }
        };
        match old_too {
            true => changed.wrap_again(OldWraps::Keep, progress).await,
            false => Ok(KeyOutcome::default()),
        }
    }

    /// Takes a recipient out: what is written from now on is not for it, and no object is
    /// left that holds a key wrapped for it. What it copied before it can read for ever.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when it is none, [`ErrorKind::Usage`] when it is the last one,
    /// or that of the identity in use and not `forced`; as [`Repository::add_recipient`].
    pub async fn remove_recipient(
        &self,
        recipient: &str,
        forced: bool,
        progress: &Arc<dyn Progress>,
    ) -> Result<KeyOutcome> {
        self.needs_encryption()?;
        self.owner_key()?;
        let own = self.inner.keys.recipient().ok_or_else(|| {
            Error::new(ErrorKind::WrongKey, "no age identity was given to open keys with")
        })?;
        let known = self.config().recipients.iter().any(|known| known == recipient);
        if known && self.config().recipients.len() == 1 {
            let message = "the last recipient cannot be removed: nobody could read any more";
            return Err(Error::new(ErrorKind::Usage, message)
                .hint("Add another first: pgkeep key add RECIPIENT, or: pgkeep key rotate"));
        }
        if own == recipient && !forced {
            let message = "this is the recipient of the identity in use";
            return Err(Error::new(ErrorKind::Usage, message)
                .hint("Use the identity of another recipient, or say --force.")
                .hint("To have a new identity in its place, run: pgkeep key rotate"));
        }
        // An earlier run may have been stopped after the settings were changed.
        if !known && !self.has_other_wraps().await? {
            let message = format!("\"{recipient}\" is not a recipient of this repository");
            return Err(Error::new(ErrorKind::NotFound, message).hint("Run: pgkeep key list"));
        }
        let changed = match known {
            true => {
                self.change_settings(|config| config.recipients.retain(|one| one != recipient))
                    .await?
            }
            false => self.clone(),
        };
        changed.wrap_again(OldWraps::Delete, progress).await
    }

    /// Whether a key is wrapped more than once, or for another number of recipients than
    /// there are.
    async fn has_other_wraps(&self) -> Result<bool> {
        let recipients = self.config().recipients.len() as u64;
        let reports = self.key_reports().await?;
        Ok(reports.iter().any(|key| key.objects > 1 || key.recipients != recipients))
    }

    fn needs_encryption(&self) -> Result<()> {
        if self.config().encrypted {
            return Ok(());
        }
        let message = "repository is not encrypted: whoever reaches it can read it";
        Err(Error::new(ErrorKind::Usage, message))
    }

    /// Wraps every key for the recipients of the settings.
    async fn wrap_again(&self, old: OldWraps, progress: &Arc<dyn Progress>) -> Result<KeyOutcome> {
        let mut outcome = KeyOutcome::default();
        let mut done: HashSet<KeyId> = HashSet::new();
        let mut replaced: Vec<KeyName> = Vec::new();
        progress.event(Event::Phase("wrapping keys".to_owned()));
        for _ in 0..ROUNDS_MAX {
            let mut listed = keys::list(self.store()).await?;
            listed.retain(|id, _| !done.contains(id));
            if listed.is_empty() {
                break;
            }
            progress.event(Event::Plan { tables: (done.len() + listed.len()) as u64, bytes: 0 });
            done.extend(listed.keys());
            let wraps = listed.into_iter().map(|(id, names)| async move {
                let wrapped = self.wrap_key_again(id, &names).await;
                (id, names, wrapped)
            });
            let mut wraps = stream::iter(wraps).buffer_unordered(KEYS_AT_ONCE);
            while let Some((id, names, wrapped)) = wraps.next().await {
                match wrapped {
                    Ok(new) => {
                        outcome.wrapped += 1;
                        replaced.extend(names.into_iter().filter(|name| *name != new));
                    }
                    Err(error) if error.is_of_store() => return Err(error),
                    Err(error) => outcome.failed.push((id, error)),
                }
                let table = id.to_string();
                progress.event(Event::TableFinished { table, rows: 0, bytes: 0 });
            }
        }
        if old == OldWraps::Delete {
            progress.event(Event::Phase("deleting older wraps".to_owned()));
            for name in replaced {
                self.store().delete(&ObjectName::Key(name)).await?;
                outcome.deleted += 1;
            }
        }
        Ok(outcome)
    }

    /// Wraps one key; returns the object that holds it now, read back and found whole.
    async fn wrap_key_again(&self, id: KeyId, names: &[KeyName]) -> Result<KeyName> {
        let store = self.store();
        let material = self.inner.keys.read_any(store, id, names).await?;
        let recipients = &self.config().recipients;
        let (object, written) = keys::write(store, self.id(), id, &material, recipients).await?;
        let found = store::get(store, &object, limits::KEY_OBJECT_LEN_MAX).await?;
        match object {
            ObjectName::Key(name) if found == written => Ok(name),
            _ => {
                let message = format!("object \"{object}\" is not as it was just written");
                Err(Error::new(ErrorKind::Damaged, message))
            }
        }
    }
}

/// Puts a new age identity in the place of an old one, without writing data again: `new` is
/// added, all keys are wrapped for both, then `old` is removed. Both are identities of the
/// owner. A run that was stopped goes on with the same two.
///
/// # Errors
/// As [`Repository::add_recipient`] and [`Repository::remove_recipient`].
pub async fn rotate(
    store: Arc<dyn Store>,
    old: Identity,
    new: Identity,
    progress: &Arc<dyn Progress>,
) -> Result<KeyOutcome> {
    let (old_recipient, new_recipient) = (recipient(&old)?, recipient(&new)?);
    let open = |identity: Identity| {
        Repository::open(store.clone(), Access { identity: Some(identity), writer: None })
    };
    // Settings are read without an age identity: which of the two opens keys is told by them.
    let settings = open(Identity { age: None, ..old.clone() }).await?;
    settings.needs_encryption()?;
    let has = |wanted: &str| settings.config().recipients.iter().any(|one| one == wanted);
    if !has(&old_recipient) && !has(&new_recipient) {
        let message = "identity in use is not that of a recipient";
        return Err(Error::new(ErrorKind::WrongKey, message).hint("Run: pgkeep key list"));
    }
    if has(&old_recipient) {
        let added = open(old).await?.add_recipient(&new_recipient, true, progress).await?;
        if !added.failed.is_empty() {
            // The old identity may be the only one that opens these one day.
            return Ok(added);
        }
        return open(new).await?.remove_recipient(&old_recipient, false, progress).await;
    }
    open(new).await?.wrap_again(OldWraps::Delete, progress).await
}

fn recipient(identity: &Identity) -> Result<String> {
    let age: Option<&AgeIdentity> = identity.age.as_ref();
    age.map(recipient_of).ok_or_else(|| {
        Error::new(ErrorKind::WrongKey, "identity holds no age identity, so it cannot open keys")
    })
}
