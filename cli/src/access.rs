//! From what the user named to an open repository: the path, the store, the key files.

use crate::args::RepositoryArgs;
use crate::environment::Environment;
use crate::keyfiles::{self, KeyFile};
use crate::output::Output;
use pgkeep_engine::repository::{Access, Identity, Repository, WriterCredential, repository_id};
use pgkeep_engine::store::{LocalStore, SingleFile, Store};
use pgkeep_engine::{Error, ErrorKind, Result};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What every command has at hand.
#[derive(Debug)]
pub(crate) struct Context {
    /// What the environment says.
    pub(crate) environment: Environment,
    /// Where results and messages go.
    pub(crate) output: Output,
}

/// What a command reads of a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reads {
    /// What is in clear is enough.
    Clear,
    /// It cannot do without what is sealed.
    Sealed,
}

impl Context {
    /// The repository's path: the option, else `PGKEEP_REPO`.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] when neither names one.
    pub(crate) fn repository_path(&self, asked: Option<&Path>) -> Result<PathBuf> {
        let path = asked.map(Path::to_path_buf).or_else(|| self.environment.repo.clone());
        path.filter(|path| !path.as_os_str().is_empty()).ok_or_else(|| {
            Error::new(ErrorKind::Usage, "no repository was named")
                .hint("Name one: --repo DIR, or set PGKEEP_REPO.")
        })
    }

    /// Opens what the options name, with the identity that they or the defaults give.
    ///
    /// # Errors
    /// [`ErrorKind::NoRepository`]; [`ErrorKind::WrongKey`] when the identity does not fit,
    /// or is needed and not there.
    pub(crate) async fn open_for_reading(
        &self,
        args: &RepositoryArgs,
        reads: Reads,
    ) -> Result<Repository> {
        let path = self.repository_path(args.repo.as_deref())?;
        self.open_path_for_reading(&path, args.identity.as_deref(), reads).await
    }

    /// As [`Context::open_for_reading`], for a path that is known.
    pub(crate) async fn open_path_for_reading(
        &self,
        path: &Path,
        identity: Option<&Path>,
        reads: Reads,
    ) -> Result<Repository> {
        let store = open_store(path)?;
        let id = repository_id(store.as_ref()).await?.to_string();
        let identity = self.identity(identity, &id)?;
        let can_read = identity.as_ref().is_some_and(|identity| identity.age.is_some());
        let given = identity.is_some();
        let repository = Repository::open(store, Access { identity, writer: None }).await?;
        if reads == Reads::Sealed && repository.config().encrypted && !can_read {
            return Err(self.no_identity(&id, given));
        }
        Ok(repository)
    }

    /// Opens a repository to add backups to it.
    ///
    /// # Errors
    /// [`ErrorKind::NoRepository`]; [`ErrorKind::WrongKey`] when there is no writer
    /// credential or it does not fit.
    pub(crate) async fn open_for_writing(
        &self,
        repo: Option<&Path>,
        writer: Option<&Path>,
    ) -> Result<Repository> {
        let path = self.repository_path(repo)?;
        let store = open_store(&path)?;
        let id = repository_id(store.as_ref()).await?.to_string();
        let named = writer.or(self.environment.writer.as_deref());
        let default = self.default_key_file(KeyFile::Writer, &id);
        let file = named.map(Path::to_path_buf).or_else(|| default.clone().filter(|p| p.exists()));
        let file = file.ok_or_else(|| {
            let message = format!("there is no writer credential for repository {id}");
            let looked =
                default.map_or_else(String::new, |path| format!(" as \"{}\"", path.display()));
            Error::new(ErrorKind::WrongKey, message).hint(format!(
                "Copy the .writer file that pgkeep init made to this machine{looked}, or name it: \
                 --writer FILE. The identity reads backups; it does not write them."
            ))
        })?;
        let writer = WriterCredential::parse(&keyfiles::read(KeyFile::Writer, &file)?)
            .map_err(|error| in_file(&file, error))?;
        Repository::open(store, Access { identity: None, writer: Some(writer) }).await
    }

    /// The identity: the option's, else the environment's, else the default file's if it is
    /// there. An age identity file of the user's own is joined with the default file.
    fn identity(&self, asked: Option<&Path>, repository: &str) -> Result<Option<Identity>> {
        let named = asked.or(self.environment.identity.as_deref());
        let default = || match self.default_key_file(KeyFile::Identity, repository) {
            Some(path) if path.exists() => {
                let text = keyfiles::read(KeyFile::Identity, &path)?;
                Identity::parse(&text).map(Some).map_err(|error| in_file(&path, error))
            }
            _ => Ok(None),
        };
        let Some(path) = named else { return default() };
        let text = keyfiles::read(KeyFile::Identity, path)?;
        let own = match (Identity::parse(&text), is_age_file(&text)) {
            (Ok(identity), _) => return Ok(Some(identity)),
            (Err(error), false) => return Err(in_file(path, error)),
            (Err(_), true) => text,
        };
        let identity = default()?.ok_or_else(|| {
            let message = format!(
                "\"{}\" is an age identity, and pgkeep's own identity file of repository \
                 {repository} is not on this machine",
                path.display()
            );
            Error::new(ErrorKind::WrongKey, message)
                .hint("Append the AGE-SECRET-KEY line to pgkeep's identity file and name that.")
        })?;
        identity.with_age_file(&own).map(Some).map_err(|error| in_file(path, error))
    }

    fn no_identity(&self, repository: &str, given: bool) -> Error {
        if given {
            let message = "identity file holds no age identity, so it cannot read backups";
            return Error::new(ErrorKind::WrongKey, message).hint(
                "The repository was made for recipients of your own: \
                 name the age identity of one of them with --identity FILE.",
            );
        }
        let message =
            format!("repository {repository} is encrypted and there is no identity for it");
        let looked = self
            .default_key_file(KeyFile::Identity, repository)
            .map_or_else(String::new, |path| format!(", or put it at \"{}\"", path.display()));
        Error::new(ErrorKind::WrongKey, message).hint(format!(
            "Name the file that pgkeep init wrote: --identity FILE or PGKEEP_IDENTITY{looked}."
        ))
    }

    fn default_key_file(&self, kind: KeyFile, repository: &str) -> Option<PathBuf> {
        let directory = self.environment.key_directory.as_deref()?;
        Some(kind.path(directory, repository))
    }
}

/// Opens a repository's directory, or a single file that holds one.
fn open_store(path: &Path) -> Result<Arc<dyn Store>> {
    if path.is_file() {
        return Ok(Arc::new(SingleFile::open(path)?));
    }
    Ok(Arc::new(LocalStore::open(path)?))
}

fn is_age_file(text: &str) -> bool {
    text.lines().any(|line| line.starts_with("AGE-SECRET-KEY-1"))
}

fn in_file(path: &Path, error: Error) -> Error {
    let message = format!("could not use key file \"{}\"", path.display());
    Error::new(error.kind(), message).because(error)
}
