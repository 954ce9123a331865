//! From what the user named to an open repository: the path, the store, the key files.

use crate::args::{ObjectArgs, PlaceArgs, RepositoryArgs, ReuseRows, WritingArgs};
use crate::environment::Environment;
use crate::keyfiles::{self, KeyFile};
use crate::output::Output;
use pgkeep_engine::repository::{Access, Identity, Repository, WriterCredential, repository_id};
use pgkeep_engine::store::{
    Limited, LocalStore, Rates, S3Address, S3Options, S3Store, SingleFile, Store, StoreReport,
};
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
    /// Where the repository lies: the options, else the environment.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] when neither names one, or what is named cannot be.
    pub(crate) fn place(&self, args: &PlaceArgs) -> Result<Place> {
        let path = args.repo.clone().or_else(|| self.environment.repo.clone());
        let path = path.filter(|path| !path.as_os_str().is_empty()).ok_or_else(|| {
            Error::new(ErrorKind::Usage, "no repository was named")
                .hint("Name one: --repo DIR or --repo s3://BUCKET/PREFIX, or set PGKEEP_REPO.")
        })?;
        let rates = Rates {
            upload: args.limit_upload.or(self.environment.limit_upload()?),
            download: args.limit_download.or(self.environment.limit_download()?),
        };
        let address = path.to_str().map(S3Address::parse).transpose()?.flatten();
        let Some(address) = address else {
            if args.objects != ObjectArgs::default() {
                let message = "only a bucket has storage classes, encryption of its own and locks";
                return Err(Error::new(ErrorKind::Usage, message));
            }
            return Ok(Place { at: At::Path(path), rates });
        };
        let objects = self.environment.objects(&args.objects)?.options()?;
        let ca_file = args.ca_file.clone().or_else(|| self.environment.ca_file.clone());
        let (endpoint, region) = (args.endpoint.clone(), args.region.clone());
        let options = S3Options { endpoint, region, ca_file, rates, objects };
        Ok(Place { at: At::Bucket(address, options), rates })
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
        let place = self.place(&args.place)?;
        let identity = args.identity.as_deref();
        let repository = self.open_place_for_reading(&place, identity, reads).await?;
        repository.expect(&args.expected).await?;
        Ok(repository)
    }

    /// As [`Context::open_for_reading`], for a place that is known.
    pub(crate) async fn open_place_for_reading(
        &self,
        place: &Place,
        identity: Option<&Path>,
        reads: Reads,
    ) -> Result<Repository> {
        let store = place.open().await?;
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

    /// Opens what the options name to decide what stays in it: with the identity where it is there,
    /// or the writer credential, either of which tells who the owner is.
    ///
    /// # Errors
    /// [`ErrorKind::NoRepository`]; [`ErrorKind::WrongKey`] when there is neither, or one does not
    /// fit.
    pub(crate) async fn open_for_keeping(&self, args: &RepositoryArgs) -> Result<Repository> {
        let store = self.place(&args.place)?.open().await?;
        let id = repository_id(store.as_ref()).await?.to_string();
        let identity = self.identity(args.identity.as_deref(), &id)?;
        let writer = match self.writer_file(None, &id) {
            Some(file) => Some(read_writer(&file)?),
            None => None,
        };
        if identity.is_none() && writer.is_none() {
            let message = format!("there is neither an identity nor a writer credential for {id}");
            return Err(Error::new(ErrorKind::WrongKey, message).hint(
                "Name the identity, --identity FILE, or the writer credential, PGKEEP_WRITER.",
            ));
        }
        let repository = Repository::open(store, Access { identity, writer }).await?;
        repository.expect(&args.expected).await?;
        Ok(repository)
    }

    /// The identity that the options or the defaults give.
    ///
    /// # Errors
    /// [`ErrorKind::WrongKey`] when there is none.
    pub(crate) async fn whole_identity(
        &self,
        store: &dyn Store,
        args: &RepositoryArgs,
    ) -> Result<Identity> {
        let id = repository_id(store).await?.to_string();
        let identity = self.identity(args.identity.as_deref(), &id)?;
        identity.ok_or_else(|| self.no_identity(&id, false))
    }

    /// Opens a repository to add backups to it.
    ///
    /// # Errors
    /// [`ErrorKind::NoRepository`]; [`ErrorKind::WrongKey`] when there is no writer
    /// credential or it does not fit.
    pub(crate) async fn open_for_writing(&self, args: &WritingArgs) -> Result<Repository> {
        self.open_to_write(args, |_| Ok(None)).await
    }

    /// As [`Context::open_for_writing`], with the identity where the rows of the backup before are
    /// to be read.
    ///
    /// # Errors
    /// As [`Context::open_for_writing`]; [`ErrorKind::WrongKey`] when there is no identity and it was
    /// asked for.
    pub(crate) async fn open_for_backup(
        &self,
        args: &WritingArgs,
        identity: Option<&Path>,
        reuses: ReuseRows,
    ) -> Result<Repository> {
        let opened = self.open_to_write(args, |id| match reuses {
            ReuseRows::Never => Ok(None),
            ReuseRows::Auto => self.identity(identity, id),
            ReuseRows::Always => match self.identity(identity, id)? {
                Some(identity) => Ok(Some(identity)),
                None => Err(self.no_identity(id, false)),
            },
        });
        match opened.await {
            // One that nobody asked for must not end a backup that needs none.
            Err(error)
                if reuses == ReuseRows::Auto
                    && identity.is_none()
                    && error.kind() == ErrorKind::WrongKey =>
            {
                let repository = self.open_for_writing(args).await?;
                self.output.warning(&format!("the backup before is not read: {error}"));
                Ok(repository)
            }
            opened => opened,
        }
    }

    async fn open_to_write(
        &self,
        args: &WritingArgs,
        identity: impl FnOnce(&str) -> Result<Option<Identity>>,
    ) -> Result<Repository> {
        let store = self.place(&args.place)?.open().await?;
        let id = repository_id(store.as_ref()).await?.to_string();
        let file = self.writer_file(args.writer.as_deref(), &id).ok_or_else(|| {
            let message = format!("there is no writer credential for repository {id}");
            let looked = self
                .default_key_file(KeyFile::Writer, &id)
                .map_or_else(String::new, |path| format!(" as \"{}\"", path.display()));
            Error::new(ErrorKind::WrongKey, message).hint(format!(
                "Copy the .writer file that pgkeep init made to this machine{looked}, or name it: \
                 --writer FILE. The identity reads backups; it does not write them."
            ))
        })?;
        let writer = read_writer(&file)?;
        let identity = identity(&id)?;
        Repository::open(store, Access { identity, writer: Some(writer) }).await
    }

    /// The file of the writer credential: the option's, else the environment's, else the default
    /// one if it is there.
    fn writer_file(&self, asked: Option<&Path>, repository: &str) -> Option<PathBuf> {
        let named = asked.or(self.environment.writer.as_deref());
        let default = || self.default_key_file(KeyFile::Writer, repository);
        named.map(Path::to_path_buf).or_else(|| default().filter(|path| path.exists()))
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

/// Where a repository lies, and how fast it may be written and read.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    at: At,
    rates: Rates,
}

#[derive(Debug, Clone)]
enum At {
    /// A directory, or a single file that holds one.
    Path(PathBuf),
    /// A bucket.
    Bucket(S3Address, S3Options),
}

impl Place {
    /// The directory, where it is no bucket.
    pub(crate) fn directory(&self) -> Option<&Path> {
        match &self.at {
            At::Path(path) => Some(path),
            At::Bucket(..) => None,
        }
    }

    /// Opens the store that is there.
    ///
    /// # Errors
    /// [`ErrorKind::NoRepository`] when there is none.
    pub(crate) async fn open(&self) -> Result<Arc<dyn Store>> {
        Ok(match &self.at {
            At::Path(path) if path.is_file() => self.limited(Arc::new(SingleFile::open(path)?)),
            At::Path(path) => self.limited(Arc::new(LocalStore::open(path)?)),
            At::Bucket(address, options) => self.bucket(S3Store::open(address, options).await?),
        })
    }

    /// Makes an empty store there; tells what it was found to do where that is not known.
    ///
    /// # Errors
    /// As [`LocalStore::create`], [`S3Store::create`] and [`S3Store::probe`].
    pub(crate) async fn create(&self) -> Result<(Arc<dyn Store>, Option<StoreReport>)> {
        Ok(match &self.at {
            At::Path(path) => (self.limited(Arc::new(LocalStore::create(path)?)), None),
            At::Bucket(address, options) => {
                let store = S3Store::create(address, options).await?;
                let report = store.probe().await?;
                (self.bucket(store), Some(report))
            }
        })
    }

    fn limited(&self, store: Arc<dyn Store>) -> Arc<dyn Store> {
        Limited::wrap(store, self.rates)
    }

    /// A bucket sends a pack at once when it is whole, and so keeps to the rate itself.
    fn bucket(&self, store: S3Store) -> Arc<dyn Store> {
        Limited::wrap(Arc::new(store), Rates { upload: None, ..self.rates })
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.at {
            At::Path(path) => path.display().fmt(f),
            At::Bucket(address, _) => address.fmt(f),
        }
    }
}

fn read_writer(file: &Path) -> Result<WriterCredential> {
    WriterCredential::parse(&keyfiles::read(KeyFile::Writer, file)?)
        .map_err(|error| in_file(file, error))
}

fn is_age_file(text: &str) -> bool {
    text.lines().any(|line| line.starts_with("AGE-SECRET-KEY-1"))
}

fn in_file(path: &Path, error: Error) -> Error {
    let message = format!("could not use key file \"{}\"", path.display());
    Error::new(error.kind(), message).because(error)
}
