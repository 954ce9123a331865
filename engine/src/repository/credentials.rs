//! Key files: the identity, which reads, and the writer credential, which writes. Both are
//! text; FORMAT.md gives their lines.
//!
//! An identity is an age identity file with comments of ours, so any age program takes it.

use crate::seal::{AgeIdentity, Secrets, SigningKey};
use crate::{Error, ErrorKind, Result};
use pgkeep_format::FormatError;
use pgkeep_format::id::{ChunkId, RepositoryId, VerifyKey};

/// Lines that a key file may have; more is no key file.
const LINES_MAX: usize = 1000;

const REPOSITORY: &str = "# pgkeep repository: ";
const OWNER: &str = "# pgkeep owner: ";
const OWNER_SECRET: &str = "# pgkeep owner secret: ";
const AGE_SECRET: &str = "AGE-SECRET-KEY-1";

/// Who may read a repository, and, with the owner's secret, decide who writes.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The repository that it is of.
    pub repository: RepositoryId,
    /// The owner whose signature makes settings valid.
    pub owner: VerifyKey,
    /// Signs settings; absent in a copy for a host that only restores.
    pub owner_secret: Option<SigningKey>,
    /// Unwraps keys; absent where the user keeps an age identity of their own, or nothing
    /// is encrypted.
    pub age: Option<AgeIdentity>,
}

impl Identity {
    /// Reads an identity file.
    ///
    /// # Errors
    /// [`ErrorKind::WrongKey`] when it is not one.
    pub fn parse(text: &str) -> Result<Self> {
        let line =
            |prefix: &str| text.lines().take(LINES_MAX).find_map(|line| line.strip_prefix(prefix));
        let required = |prefix: &str| {
            line(prefix).map(str::trim).ok_or_else(|| {
                let message =
                    format!("identity has no line that begins with \"{}\"", prefix.trim_end());
                Error::new(ErrorKind::WrongKey, message)
                    .hint("Give the identity file that pgkeep init wrote.")
            })
        };
        let owner_secret =
            line(OWNER_SECRET).map(|hex| signing_key("identity", hex)).transpose()?;
        let age = text.lines().take(LINES_MAX).find(|line| line.starts_with(AGE_SECRET));
        Ok(Self {
            repository: RepositoryId::parse(required(REPOSITORY)?)
                .map_err(|e| unreadable("identity", e))?,
            owner: VerifyKey::parse(required(OWNER)?).map_err(|e| unreadable("identity", e))?,
            owner_secret,
            age: age.map(|secret| AgeIdentity::parse(secret.trim())).transpose()?,
        })
    }

    /// Writes an identity file. `age_secret` is the text of its age identity.
    #[must_use]
    pub fn format(
        repository: RepositoryId,
        owner: &SigningKey,
        age_secret: Option<&str>,
    ) -> String {
        let mut text = format!(
            "# The identity of a pgkeep repository. Who has this file can read every backup;\n\
             # without it nothing can ever be read. Keep copies where the backups are not.\n\
             {REPOSITORY}{repository}\n{OWNER}{}\n{OWNER_SECRET}{}\n",
            owner.verify_key(),
            ChunkId(owner.seed()),
        );
        if let Some(secret) = age_secret {
            text.push_str(secret);
            text.push('\n');
        }
        text
    }

    /// The same identity with an age identity of the user's own, read from an age identity
    /// file.
    ///
    /// # Errors
    /// [`ErrorKind::WrongKey`] when the text holds none.
    pub fn with_age_file(mut self, text: &str) -> Result<Self> {
        let secret = text.lines().take(LINES_MAX).find(|line| line.starts_with(AGE_SECRET));
        let secret = secret.ok_or_else(|| {
            Error::new(ErrorKind::WrongKey, "file holds no age identity (AGE-SECRET-KEY-1…)")
        })?;
        self.age = Some(AgeIdentity::parse(secret.trim())?);
        Ok(self)
    }
}

const WRITER_MAGIC: &str = "pgkeep writer v1";

/// Who may write backups and read none.
#[derive(Debug, Clone)]
pub struct WriterCredential {
    /// The repository that it is of.
    pub repository: RepositoryId,
    /// The owner whose signature makes settings valid.
    pub owner: VerifyKey,
    /// A name for people.
    pub name: String,
    /// Signs manifests and indexes.
    pub signing: SigningKey,
    /// Names chunks and cuts rows.
    pub secrets: Secrets,
}

impl WriterCredential {
    /// Reads a writer credential.
    ///
    /// # Errors
    /// [`ErrorKind::WrongKey`] when it is not one.
    pub fn parse(text: &str) -> Result<Self> {
        let what = "writer credential";
        if text.lines().next().map(str::trim) != Some(WRITER_MAGIC) {
            let message = format!("{what} does not begin with \"{WRITER_MAGIC}\"");
            return Err(Error::new(ErrorKind::WrongKey, message)
                .hint("Give the credential that pgkeep init wrote."));
        }
        let field = |name: &str| {
            let mut lines = text.lines().take(LINES_MAX).filter_map(|line| line.split_once(": "));
            lines.find(|(key, _)| *key == name).map(|(_, value)| value.trim()).ok_or_else(|| {
                Error::new(ErrorKind::WrongKey, format!("{what} has no line \"{name}\""))
            })
        };
        let key = |name: &str| {
            ChunkId::parse(field(name)?).map(|id| id.0).map_err(|e| unreadable(what, e))
        };
        Ok(Self {
            repository: RepositoryId::parse(field("repository")?)
                .map_err(|e| unreadable(what, e))?,
            owner: VerifyKey::parse(field("owner")?).map_err(|e| unreadable(what, e))?,
            name: field("name")?.to_owned(),
            signing: signing_key(what, field("signing secret")?)?,
            secrets: Secrets { naming: key("naming key")?, cut: key("cut key")? },
        })
    }

    /// Writes the credential.
    #[must_use]
    pub fn format(&self) -> String {
        format!(
            "{WRITER_MAGIC}\nrepository: {}\nowner: {}\nname: {}\nsigning secret: {}\n\
             naming key: {}\ncut key: {}\n",
            self.repository,
            self.owner,
            self.name,
            ChunkId(self.signing.seed()),
            ChunkId(self.secrets.naming),
            ChunkId(self.secrets.cut),
        )
    }
}

/// Thirty-two bytes of hexadecimal are read and written as a chunk id is.
fn signing_key(what: &str, hex: &str) -> Result<SigningKey> {
    let seed = ChunkId::parse(hex.trim()).map_err(|error| unreadable(what, error))?;
    SigningKey::from_seed(seed.0)
}

fn unreadable(what: &str, error: FormatError) -> Error {
    Error::new(ErrorKind::WrongKey, format!("{what} is not readable")).because(error)
}
