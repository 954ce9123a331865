//! A directory as a store.
//!
//! An object is written to a file in `tmp/`, synced, linked to its name, and the directory
//! synced; so a crash leaves at worst a file in `tmp/`, which nobody reads.

use super::{Store, StoredObject, Upload, not_found, too_short};
use crate::{Error, ErrorKind, Result};
use async_trait::async_trait;
use bytes::Bytes;
use pgkeep_format::name::{
    BACKUPS, CHANGES, CONFIGS, INDEXES, KEYS, ObjectName, PACKS, PRUNES, STREAMS, VOUCHERS, WRITERS,
};
use std::fs::{self, File};
use std::io::{self, Write};
use std::ops::Range;
use std::os::unix::fs::{DirBuilderExt, FileExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tempfile::NamedTempFile;

const TEMPORARY: &str = "tmp";
/// The folders of all objects that the format knows.
const FOLDERS: [&str; 10] =
    [CONFIGS, KEYS, PACKS, INDEXES, BACKUPS, CHANGES, STREAMS, WRITERS, PRUNES, VOUCHERS];
/// The directory whose presence makes a directory a repository.
const CONFIG: &str = "config";

/// A repository in a directory of this machine.
#[derive(Debug, Clone)]
pub struct LocalStore {
    root: Arc<Path>,
}

impl LocalStore {
    /// Makes an empty store in a directory that does not exist yet or is empty.
    ///
    /// # Errors
    /// [`ErrorKind::AlreadyExists`] when anything is there, [`ErrorKind::Store`].
    pub fn create(path: impl Into<PathBuf>) -> Result<Self> {
        let path: PathBuf = path.into();
        if path.join(CONFIG).exists() {
            return Err(Error::new(
                ErrorKind::AlreadyExists,
                format!("\"{}\" is a repository already", path.display()),
            )
            .hint("Use it as it is, or name another directory."));
        }
        let doing = "create the repository";
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&path)
            .map_err(|e| failed(doing, &path, e))?;
        let mut entries = fs::read_dir(&path).map_err(|e| failed(doing, &path, e))?;
        if entries.next().is_some() {
            return Err(Error::new(
                ErrorKind::AlreadyExists,
                format!("directory \"{}\" is not empty", path.display()),
            )
            .hint("Name a directory that is empty or does not exist."));
        }
        let store = Self { root: path.into() };
        make_directory(&store.root.join(TEMPORARY))?;
        make_directory(&store.root.join(CONFIG))?;
        Ok(store)
    }

    /// Opens a store that [`LocalStore::create`] made.
    ///
    /// # Errors
    /// [`ErrorKind::NoRepository`] when there is none.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self> {
        let path: PathBuf = path.into();
        if !path.join(CONFIG).is_dir() {
            let what = if path.exists() { "is not a repository" } else { "does not exist" };
            return Err(Error::new(
                ErrorKind::NoRepository,
                format!("\"{}\" {what}", path.display()),
            )
            .hint(format!("Run: pgkeep init --repo {}", path.display())));
        }
        Ok(Self { root: path.into() })
    }

    fn path(&self, name: &ObjectName) -> PathBuf {
        self.root.join(name.to_string())
    }

    fn begin(&self, name: ObjectName) -> Result<LocalUpload> {
        let temporary = self.root.join(TEMPORARY);
        make_directory(&temporary)?;
        let file = NamedTempFile::new_in(&temporary)
            .map_err(|error| failed("create a file in", &temporary, error))?;
        Ok(LocalUpload { name, target: self.path(&name), file: Some(file) })
    }

    fn read_range(&self, name: &ObjectName, range: Range<u64>) -> Result<Bytes> {
        let path = self.path(name);
        let file = File::open(&path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => not_found(self, name),
            _ => failed("open", &path, error),
        })?;
        let len = file.metadata().map_err(|error| failed("read", &path, error))?.len();
        if range.end > len || range.start > range.end {
            return Err(too_short(name, range.end, len));
        }
        let wanted = usize::try_from(range.end - range.start)
            .map_err(|_| too_short(name, range.end, len))?;
        let mut bytes = vec![0; wanted];
        file.read_exact_at(&mut bytes, range.start)
            .map_err(|error| failed("read", &path, error))?;
        Ok(bytes.into())
    }

    fn list_below(&self, directory: &Path, found: &mut Vec<StoredObject>) -> Result<()> {
        let entries = match fs::read_dir(directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries.map_err(|error| failed("list", directory, error))?,
        };
        for entry in entries {
            let entry = entry.map_err(|error| failed("list", directory, error))?;
            let kind = entry.file_type().map_err(|error| failed("list", directory, error))?;
            let path = entry.path();
            if kind.is_dir() {
                self.list_below(&path, found)?;
                continue;
            }
            let name = path.strip_prefix(&self.root).ok().and_then(Path::to_str);
            let Some(Ok(name)) = name.map(ObjectName::parse) else { continue };
            match entry.metadata() {
                // Gone between listing and looking: it is not there.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                metadata => {
                    let len = metadata.map_err(|error| failed("list", &path, error))?.len();
                    found.push(StoredObject { name, len });
                }
            }
        }
        Ok(())
    }
}

#[async_trait]
impl Store for LocalStore {
    fn location(&self) -> String {
        self.root.display().to_string()
    }

    async fn create(&self, name: &ObjectName) -> Result<Box<dyn Upload>> {
        let (store, name) = (self.clone(), *name);
        let upload = blocking(move || store.begin(name)).await?;
        Ok(Box::new(upload))
    }

    async fn read(&self, name: &ObjectName, range: Range<u64>) -> Result<Bytes> {
        let (store, name) = (self.clone(), *name);
        blocking(move || store.read_range(&name, range)).await
    }

    async fn len(&self, name: &ObjectName) -> Result<Option<u64>> {
        let path = self.path(name);
        blocking(move || match fs::metadata(&path) {
            Ok(metadata) => Ok(Some(metadata.len())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed("look at", &path, error)),
        })
        .await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<StoredObject>> {
        let (store, prefix) = (self.clone(), prefix.to_owned());
        blocking(move || {
            let mut found = Vec::new();
            let folder = prefix.rsplit_once('/').map_or("", |(folder, _)| folder);
            let folders: &[&str] = if folder.is_empty() { &FOLDERS } else { &[folder] };
            for folder in folders {
                store.list_below(&store.root.join(folder), &mut found)?;
            }
            found.retain(|object| object.name.to_string().starts_with(&prefix));
            Ok(found)
        })
        .await
    }

    async fn delete(&self, name: &ObjectName) -> Result<()> {
        let path = self.path(name);
        blocking(move || match fs::remove_file(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(failed("remove", &path, error)),
            Ok(()) => path.parent().map_or(Ok(()), sync_directory),
        })
        .await
    }

    async fn remove_unfinished(&self, idle: Duration) -> Result<()> {
        let temporary = self.root.join(TEMPORARY);
        blocking(move || {
            let entries = match fs::read_dir(&temporary) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                entries => entries.map_err(|error| failed("list", &temporary, error))?,
            };
            for entry in entries {
                let path = entry.map_err(|error| failed("list", &temporary, error))?.path();
                // One that is finished, or removed, just now has no age.
                let written = fs::metadata(&path).and_then(|metadata| metadata.modified());
                let age = written.ok().and_then(|written| written.elapsed().ok());
                if age.is_some_and(|age| age >= idle) {
                    match fs::remove_file(&path) {
                        Err(error) if error.kind() != io::ErrorKind::NotFound => {
                            return Err(failed("remove", &path, error));
                        }
                        _ => {}
                    }
                }
            }
            Ok(())
        })
        .await
    }
}

struct LocalUpload {
    name: ObjectName,
    target: PathBuf,
    /// Removed when dropped; absent while a write is under way and after one that failed.
    file: Option<NamedTempFile>,
}

impl LocalUpload {
    fn take(&mut self) -> Result<NamedTempFile> {
        self.file
            .take()
            .ok_or_else(|| Error::new(ErrorKind::Store, "upload failed before and cannot go on"))
    }
}

#[async_trait]
impl Upload for LocalUpload {
    async fn write(&mut self, bytes: Bytes) -> Result<()> {
        let mut file = self.take()?;
        let file = blocking(move || {
            let written = file.write_all(&bytes);
            written.map_err(|error| failed("write", file.path(), error)).map(|()| file)
        });
        self.file = Some(file.await?);
        Ok(())
    }

    async fn finish(mut self: Box<Self>) -> Result<()> {
        let (file, name, target) = (self.take()?, self.name, self.target);
        blocking(move || publish(file, &name, &target)).await
    }
}

/// Gives a file its name, where nothing has it, and makes both durable.
fn publish(file: NamedTempFile, name: &ObjectName, target: &Path) -> Result<()> {
    file.as_file().sync_all().map_err(|error| failed("sync", file.path(), error))?;
    if let Some(directory) = target.parent() {
        make_directory(directory)?;
    }
    file.persist_noclobber(target).map_err(|failure| match failure.error.kind() {
        io::ErrorKind::AlreadyExists => {
            Error::new(ErrorKind::AlreadyExists, format!("object \"{name}\" exists already"))
        }
        _ => failed("create", target, failure.error),
    })?;
    target.parent().map_or(Ok(()), sync_directory)
}

/// Makes a directory and its missing parents, durably.
fn make_directory(path: &Path) -> Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        make_directory(parent)?;
    }
    match fs::DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(failed("create", path, error));
        }
        _ => {}
    }
    path.parent().map_or(Ok(()), sync_directory)
}

fn sync_directory(path: &Path) -> Result<()> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    let synced = File::open(path).and_then(|directory| directory.sync_all());
    synced.map_err(|error| failed("sync", path, error))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|error| {
        Error::new(ErrorKind::Internal, "file operation did not end").because(error)
    })?
}

fn failed(doing: &str, path: &Path, error: io::Error) -> Error {
    let kind = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorKind::StoreFull,
        _ => ErrorKind::Store,
    };
    let message = format!("could not {doing} \"{}\"", path.display());
    let wrapped = Error::new(kind, message).because(error);
    match kind {
        ErrorKind::StoreFull => wrapped.hint(
            "Make room and run the command again: what is stored so far is good, and is used.",
        ),
        _ => wrapped,
    }
}
