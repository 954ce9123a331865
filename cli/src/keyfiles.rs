//! Where identities and writer credentials lie on this machine, and how they are written:
//! new, for their owner alone, never over anything and never inside the repository.
//!
//! What is in them is the engine's.

use pgkeep_engine::{Error, ErrorKind, Result};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Bytes of the largest key file that is read; real ones have a few hundred.
const KEY_FILE_LEN_MAX: u64 = 64 << 10;

/// The two kinds of key file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyFile {
    /// Reads backups and owns the repository.
    Identity,
    /// Adds backups.
    Writer,
}

impl KeyFile {
    fn extension(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Writer => "writer",
        }
    }

    /// What people call it.
    fn name(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Writer => "writer credential",
        }
    }

    /// Where it lies by default for a repository.
    pub(crate) fn path(self, key_directory: &Path, repository: &str) -> PathBuf {
        key_directory.join(format!("{repository}.{}", self.extension()))
    }
}

/// Reads a key file.
///
/// # Errors
/// [`ErrorKind::WrongKey`] when it is not there, cannot be read or is no text.
pub(crate) fn read(kind: KeyFile, path: &Path) -> Result<String> {
    let failed = |error: io::Error| {
        let message = format!("could not read {} file \"{}\"", kind.name(), path.display());
        let hint = format!("Name the {} file that pgkeep init wrote.", kind.name());
        Error::new(ErrorKind::WrongKey, message).because(error).hint(hint)
    };
    let mut text = String::new();
    let file = File::open(path).map_err(failed)?;
    file.take(KEY_FILE_LEN_MAX).read_to_string(&mut text).map_err(failed)?;
    Ok(text)
}

/// A new file, open and empty under a name of its own, that becomes a key file once there is
/// a key. Made before the key, so that a key is never without a place to go.
#[derive(Debug)]
pub(crate) struct Reserved {
    kind: KeyFile,
    directory: PathBuf,
    temporary: PathBuf,
    file: File,
}

impl Reserved {
    /// Opens a new file in `directory`, which is made (for its owner alone) if need be.
    ///
    /// # Errors
    /// [`ErrorKind::Store`] when the file system refuses.
    pub(crate) fn open(kind: KeyFile, directory: &Path) -> Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(|error| {
            let message = format!("could not create directory \"{}\"", directory.display());
            Error::new(ErrorKind::Store, message).because(error)
        })?;
        let name = format!(".new-{}.{}", std::process::id(), kind.extension());
        let temporary = directory.join(name);
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&temporary)
            .map_err(|error| write_error(kind, &temporary, error))?;
        Ok(Self { kind, directory: directory.to_owned(), temporary, file })
    }

    /// Writes `text` and gives the file its name in its directory.
    ///
    /// # Errors
    /// [`ErrorKind::AlreadyExists`] when there is a file of that name,
    /// [`ErrorKind::Store`] when the file system refuses.
    pub(crate) fn save(self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.directory.join(name);
        let failed = |error| write_error(self.kind, &path, error);
        (&self.file).write_all(text.as_bytes()).map_err(failed)?;
        self.file.sync_all().map_err(failed)?;
        // A link, because a rename would replace what is there.
        fs::hard_link(&self.temporary, &path).map_err(failed)?;
        File::open(&self.directory).and_then(|directory| directory.sync_all()).map_err(failed)?;
        Ok(path)
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        // Its bytes lie under the final name too, or are of no use.
        if let Err(error) = fs::remove_file(&self.temporary) {
            tracing::warn!("could not remove \"{}\": {error}", self.temporary.display());
        }
    }
}

fn write_error(kind: KeyFile, path: &Path, error: io::Error) -> Error {
    if error.kind() == io::ErrorKind::AlreadyExists {
        let message = format!("{} file \"{}\" already exists", kind.name(), path.display());
        return Error::new(ErrorKind::AlreadyExists, message)
            .hint("Name another file; a key file is never written over.");
    }
    let message = format!("could not write {} file \"{}\"", kind.name(), path.display());
    Error::new(ErrorKind::Store, message).because(error)
}

/// Refuses a path that lies inside the repository: whoever takes the repository would take
/// the key along.
///
/// # Errors
/// [`ErrorKind::Usage`] when it does, [`ErrorKind::Store`] when a path cannot be resolved.
pub(crate) fn refuse_inside(repository: &Path, path: &Path) -> Result<()> {
    if resolve(path)?.starts_with(resolve(repository)?) {
        let message = format!("key file \"{}\" would lie inside the repository", path.display());
        return Err(Error::new(ErrorKind::Usage, message)
            .hint("Name a file outside the repository: whoever copies the repository would have the key too."));
    }
    Ok(())
}

/// The path with links followed as far as it exists.
fn resolve(path: &Path) -> Result<PathBuf> {
    let failed = |error| {
        let message = format!("could not resolve path \"{}\"", path.display());
        Error::new(ErrorKind::Store, message).because(error)
    };
    let absolute = std::path::absolute(path).map_err(failed)?;
    for ancestor in absolute.ancestors() {
        match fs::canonicalize(ancestor) {
            Ok(real) => {
                let rest = absolute.strip_prefix(ancestor).unwrap_or(Path::new(""));
                return Ok(real.join(rest));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
    }
    Ok(absolute)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_key_file_is_for_its_owner_alone_and_leaves_nothing_else_behind() {
        let directory = tempfile::tempdir().unwrap();
        let keys = directory.path().join("config/pgkeep");
        let reserved = Reserved::open(KeyFile::Identity, &keys).unwrap();
        let path = reserved.save("a.identity", "secret\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "secret\n");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(&keys).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(fs::read_dir(&keys).unwrap().count(), 1);
    }

    #[test]
    fn a_key_file_is_never_written_over() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("a.writer"), "old").unwrap();
        let reserved = Reserved::open(KeyFile::Writer, directory.path()).unwrap();
        let error = reserved.save("a.writer", "new").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(directory.path().join("a.writer")).unwrap(), "old");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_key_file_inside_the_repository_is_refused_whatever_way_leads_there() {
        let directory = tempfile::tempdir().unwrap();
        let repository = directory.path().join("repo");
        fs::create_dir(&repository).unwrap();
        let link = directory.path().join("link");
        std::os::unix::fs::symlink(&repository, &link).unwrap();
        for inside in [repository.join("id"), link.join("id"), link.join("new/id")] {
            let error = refuse_inside(&repository, &inside).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Usage, "{inside:?}");
        }
        for outside in [directory.path().join("id"), directory.path().join("repo2/id")] {
            refuse_inside(&repository, &outside).unwrap();
        }
        refuse_inside(&directory.path().join("missing"), &link.join("id")).unwrap();
    }

    #[test]
    fn a_missing_key_file_is_named() {
        let error = read(KeyFile::Identity, Path::new("/nonexistent/x.identity")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WrongKey);
        assert!(error.to_string().contains("\"/nonexistent/x.identity\""), "{error}");
    }
}
