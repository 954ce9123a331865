//! What the process knows that settings depend on: variables, files, the user's name.
//! Behind a trait, so that resolution can be tested without touching the process.

use std::io;
use std::path::Path;

/// The world around the resolution of settings.
pub(super) trait Surroundings {
    /// An environment variable; absent when unset or not text.
    fn variable(&self, name: &str) -> Option<String>;

    /// A file's contents.
    ///
    /// # Errors
    /// Whatever the system says; [`io::ErrorKind::NotFound`] when there is no such file.
    fn read(&self, path: &Path) -> io::Result<FileContents>;

    /// Whether there is a file of this name.
    fn exists(&self, path: &Path) -> bool;

    /// The name of the operating system's user.
    fn user_name(&self) -> Option<String>;
}

/// A file that was read.
#[derive(Debug, Clone)]
pub(super) struct FileContents {
    /// Its text; bytes that are not UTF-8 are replaced.
    pub(super) text: String,
    /// Its permission bits, as `chmod` writes them.
    pub(super) mode: u32,
}

/// The real process.
#[derive(Debug, Clone, Copy)]
pub(super) struct Process;

/// Longest settings file that is read, in bytes; password files are a few lines.
const FILE_BYTES_MAX: u64 = 1 << 20;

impl Surroundings for Process {
    fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }

    fn read(&self, path: &Path) -> io::Result<FileContents> {
        use std::io::Read;
        use std::os::unix::fs::PermissionsExt;
        let file = std::fs::File::open(path)?;
        let facts = file.metadata()?;
        if !facts.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a plain file"));
        }
        let mut bytes = Vec::new();
        file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > FILE_BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "larger than 1 MiB"));
        }
        Ok(FileContents {
            text: String::from_utf8_lossy(&bytes).into_owned(),
            mode: facts.permissions().mode(),
        })
    }

    fn exists(&self, path: &Path) -> bool {
        path.exists()
    }

    fn user_name(&self) -> Option<String> {
        whoami::username().ok()
    }
}
