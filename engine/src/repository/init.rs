//! Makes a repository: its owner, its first writer, its secrets, its settings.

use super::{Identity, WriterCredential, keys, signed};
use crate::seal::{
    AgeIdentity, Secrets, SigningKey, generate_identity, random, recipient_of, validate_recipient,
};
use crate::store::{self, Store};
use crate::{Error, ErrorKind, Result, clock};
use bytes::Bytes;
use pgkeep_format::cbor;
use pgkeep_format::config::{Config, StoreFacts, Writer};
use pgkeep_format::id::RepositoryId;
use pgkeep_format::key::KeyMaterial;
use pgkeep_format::name::ObjectName;
use pgkeep_format::object::ObjectType;

/// How a repository is made.
#[derive(Debug, Clone)]
pub struct InitOptions {
    /// age recipients (`age1…`) who can read; empty for an identity made now.
    pub recipients: Vec<String>,
    /// Whether anything is sealed at all.
    pub encrypted: bool,
    /// A name for the first writer, such as the host's.
    pub writer_name: String,
}

/// A repository that was made. Its key files are to be written by the caller, now: they
/// are nowhere else.
#[derive(Clone)]
pub struct Initialized {
    /// The repository.
    pub repository: RepositoryId,
    /// The text of the identity file.
    pub identity: String,
    /// The text of the writer credential.
    pub writer: String,
    /// Who can read: the recipients of all data keys; empty when nothing is encrypted.
    pub recipients: Vec<String>,
    /// Whether the identity file holds the only age identity that can read.
    pub made_identity: bool,
}

/// Makes a repository in an empty store.
///
/// # Errors
/// [`ErrorKind::Usage`] for recipients that are not valid, and what writing to the store
/// gives.
pub async fn init(store: &dyn Store, options: &InitOptions) -> Result<Initialized> {
    if !options.encrypted && !options.recipients.is_empty() {
        let message = "recipients and no encryption cannot be asked for together";
        return Err(Error::new(ErrorKind::Usage, message));
    }
    options.recipients.iter().try_for_each(|recipient| validate_recipient(recipient))?;
    let repository = RepositoryId(random()?);
    let owner = SigningKey::generate()?;
    let made_identity = options.encrypted && options.recipients.is_empty();
    let age_secret = made_identity.then(generate_identity);
    let recipients = match &age_secret {
        Some(secret) => vec![recipient_of(&AgeIdentity::parse(secret)?)],
        None => options.recipients.clone(),
    };
    let writer = WriterCredential {
        repository,
        owner: owner.verify_key(),
        name: options.writer_name.clone(),
        signing: SigningKey::generate()?,
        secrets: Secrets::generate()?,
    };
    let material = KeyMaterial::Secrets { naming: writer.secrets.naming, cut: writer.secrets.cut };
    let (key_name, key_object) =
        keys::write(store, repository, keys::SECRETS, &material, &recipients).await?;
    let config = Config {
        written_at: clock::now_micros(),
        features: Vec::new(),
        encrypted: options.encrypted,
        recipients: recipients.clone(),
        writers: vec![Writer { key: writer.signing.verify_key(), name: writer.name.clone() }],
        store: probe(store, &key_name, key_object).await?,
        former_writers: None,
    };
    // The config comes last: with it the repository exists.
    let name = ObjectName::Config(1);
    signed::write(store, &name, ObjectType::Config, repository, &cbor::encode(&config), &owner)
        .await?;
    Ok(Initialized {
        repository,
        identity: Identity::format(repository, &owner, age_secret.as_deref()),
        writer: writer.format(),
        recipients,
        made_identity,
    })
}

/// Learns what the store does when an object is written twice, on one that is there with
/// the same bytes, so that a store which overwrites does no harm.
async fn probe(store: &dyn Store, name: &ObjectName, object: Bytes) -> Result<StoreFacts> {
    match store::put(store, name, object).await {
        Ok(()) => Ok(StoreFacts { refuses_overwrite: false }),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            Ok(StoreFacts { refuses_overwrite: true })
        }
        Err(error) => Err(error),
    }
}
