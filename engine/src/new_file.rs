//! A file that is written for somebody: new, for its owner alone, and removed again unless
//! the work on it was done.

use crate::{Error, ErrorKind, Result};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// A file that is removed again unless it is kept.
#[derive(Debug)]
pub struct NewFile<'a> {
    path: &'a Path,
    file: File,
    kept: bool,
}

impl<'a> NewFile<'a> {
    /// Makes the file.
    ///
    /// # Errors
    /// [`ErrorKind::AlreadyExists`], [`ErrorKind::StoreFull`], [`ErrorKind::Store`].
    pub fn create(path: &'a Path) -> Result<Self> {
        let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        match opened {
            Ok(file) => Ok(Self { path, file, kept: false }),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(already_there(path)),
            Err(error) => Err(write_error(path, error)),
        }
    }

    /// Another handle, to write with.
    ///
    /// # Errors
    /// [`ErrorKind::Store`].
    pub fn handle(&self) -> Result<File> {
        self.file.try_clone().map_err(|error| write_error(self.path, error))
    }

    /// Makes what was written durable and keeps the file.
    ///
    /// # Errors
    /// [`ErrorKind::StoreFull`], [`ErrorKind::Store`].
    pub fn keep(mut self) -> Result<()> {
        let parent = self.path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let directory = File::open(parent.unwrap_or(Path::new(".")));
        let synced = self.file.sync_all().and_then(|()| directory?.sync_all());
        synced.map_err(|error| write_error(self.path, error))?;
        self.kept = true;
        Ok(())
    }
}

impl Drop for NewFile<'_> {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        if let Err(error) = std::fs::remove_file(self.path) {
            let path = self.path.display();
            tracing::warn!("could not remove unfinished file \"{path}\": {error}");
        }
    }
}

/// The error for a file that is there already.
pub(crate) fn already_there(path: &Path) -> Error {
    let message = format!("file \"{}\" already exists", path.display());
    Error::new(ErrorKind::AlreadyExists, message)
        .hint("Name another one; pgkeep never writes over a file.")
}

fn write_error(path: &Path, error: io::Error) -> Error {
    let kind = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorKind::StoreFull,
        _ => ErrorKind::Store,
    };
    Error::new(kind, format!("could not write file \"{}\"", path.display())).because(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unfinished_file_is_removed_and_a_finished_one_stays() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("shop.pgkeep");
        drop(NewFile::create(&path).unwrap());
        assert!(!path.exists());
        NewFile::create(&path).unwrap().keep().unwrap();
        assert!(path.exists());
        let error = NewFile::create(&path).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyExists);
        assert!(path.exists());
    }
}
