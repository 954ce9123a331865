//! A repository in one file as a store: one type writes it in a single pass, to anything
//! that takes bytes; the other reads it.

use super::{Store, StoredObject, Upload, not_found, too_short};
use crate::{Error, ErrorKind, Result};
use async_trait::async_trait;
use bytes::Bytes;
use pgkeep_format::FormatError;
use pgkeep_format::cbor;
use pgkeep_format::id::RepositoryId;
use pgkeep_format::limits;
use pgkeep_format::name::ObjectName;
use pgkeep_format::object::{self, ObjectHeader, ObjectType};
use pgkeep_format::single_file::{
    Directory, DirectoryEntry, RECORD_HEADER_LEN, RecordHeader, TRAILER_LEN, Trailer,
};
use std::collections::HashMap;
use std::fs::File;
use std::io::Write;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Reads a single file.
#[derive(Debug, Clone)]
pub struct SingleFile {
    path: Arc<Path>,
    file: Arc<File>,
    objects: Arc<HashMap<ObjectName, (u64, u64)>>,
}

impl SingleFile {
    /// Opens a single file and reads its directory.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when there is no such file, [`ErrorKind::Damaged`] when it is
    /// truncated, [`ErrorKind::NoRepository`] when it is something else,
    /// [`ErrorKind::UnsupportedFormat`] when it is newer.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self> {
        let path: PathBuf = path.into();
        let file = File::open(&path).map_err(|error| {
            let kind = match error.kind() {
                std::io::ErrorKind::NotFound => ErrorKind::NotFound,
                _ => ErrorKind::Store,
            };
            Error::new(kind, format!("could not open \"{}\"", path.display())).because(error)
        })?;
        let directory = read_directory(&file, &path)?;
        let mut objects = HashMap::with_capacity(directory.objects.len());
        for DirectoryEntry { name, offset, len } in directory.objects {
            // Objects of a later version are passed over, as in a folder.
            if let Ok(name) = ObjectName::parse(&name) {
                objects.insert(name, (offset, len));
            }
        }
        Ok(Self { path: path.into(), file: Arc::new(file), objects: Arc::new(objects) })
    }
}

fn read_directory(file: &File, path: &Path) -> Result<Directory> {
    let truncated = || {
        Error::new(ErrorKind::Damaged, format!("file \"{}\" is truncated", path.display()))
            .hint("The backup into it did not end, or the file was not copied whole.")
    };
    let read = |offset: u64, len: u64| -> Result<Vec<u8>> {
        let mut bytes = vec![0; usize::try_from(len).map_err(|_| truncated())?];
        file.read_exact_at(&mut bytes, offset).map_err(|_| truncated())?;
        Ok(bytes)
    };
    let failed = |error| {
        Error::new(ErrorKind::Store, format!("could not read \"{}\"", path.display()))
            .because(error)
    };
    let file_len = file.metadata().map_err(failed)?.len();
    let other = |kind| {
        let message = format!("file \"{}\" is not a backup in a single file", path.display());
        Error::new(kind, message)
    };
    let header = match ObjectHeader::decode(&read(0, object::HEADER_LEN as u64)?) {
        Err(FormatError::Magic { .. }) => return Err(other(ErrorKind::NoRepository)),
        header => header.map_err(|error| damaged(path, error))?,
    };
    if header.object_type != ObjectType::SingleFile {
        return Err(other(ErrorKind::Damaged));
    }
    let trailer_at = file_len.checked_sub(TRAILER_LEN as u64).ok_or_else(truncated)?;
    let trailer = Trailer::decode(&read(trailer_at, TRAILER_LEN as u64)?, file_len)
        .map_err(|error| truncated().because(error))?;
    let end = RecordHeader::decode(&read(trailer.end_offset, RECORD_HEADER_LEN as u64)?)
        .map_err(|error| damaged(path, error))?;
    let directory_at = trailer.end_offset + RECORD_HEADER_LEN as u64;
    let bytes = read(directory_at, trailer.directory_len)?;
    if end.name_len != 0
        || end.object_len != trailer.directory_len
        || end.checksum != crc32fast::hash(&bytes)
    {
        let message = format!("file \"{}\" has a damaged end record", path.display());
        return Err(Error::new(ErrorKind::Damaged, message));
    }
    Directory::decode(&bytes, trailer.end_offset).map_err(|error| damaged(path, error))
}

fn damaged(path: &Path, error: FormatError) -> Error {
    Error::undecodable(format!("file \"{}\"", path.display()), error)
}

#[async_trait]
impl Store for SingleFile {
    fn location(&self) -> String {
        self.path.display().to_string()
    }

    async fn create(&self, _: &ObjectName) -> Result<Box<dyn Upload>> {
        let message = format!("file \"{}\" holds one finished backup", self.path.display());
        Err(Error::new(ErrorKind::Usage, message).hint("Back up into another file."))
    }

    async fn read(&self, name: &ObjectName, range: Range<u64>) -> Result<Bytes> {
        let (offset, len) = *self.objects.get(name).ok_or_else(|| not_found(self, name))?;
        if range.end > len || range.start > range.end {
            return Err(too_short(name, range.end, len));
        }
        let wanted = usize::try_from(range.end - range.start)
            .map_err(|_| too_short(name, range.end, len))?;
        let (file, path) = (self.file.clone(), self.path.clone());
        let read = tokio::task::spawn_blocking(move || {
            let mut bytes = vec![0; wanted];
            file.read_exact_at(&mut bytes, offset + range.start).map(|()| bytes)
        });
        let read = read.await.map_err(|error| {
            Error::new(ErrorKind::Internal, "file operation did not end").because(error)
        })?;
        let failed = |error| {
            Error::new(ErrorKind::Store, format!("could not read \"{}\"", path.display()))
                .because(error)
        };
        Ok(read.map_err(failed)?.into())
    }

    async fn len(&self, name: &ObjectName) -> Result<Option<u64>> {
        Ok(self.objects.get(name).map(|(_, len)| *len))
    }

    async fn list(&self, prefix: &str) -> Result<Vec<StoredObject>> {
        let all =
            self.objects.iter().map(|(name, (_, len))| StoredObject { name: *name, len: *len });
        Ok(all.filter(|object| object.name.to_string().starts_with(prefix)).collect())
    }

    async fn delete(&self, _: &ObjectName) -> Result<()> {
        Err(cannot_remove())
    }
}

/// Writes a single file: each finished object becomes a record at once, so memory holds
/// one object for each upload in progress.
#[derive(Clone)]
pub struct SingleFileWriter {
    location: String,
    output: Arc<Mutex<Output>>,
}

struct Output {
    sink: Box<dyn Write + Send>,
    written: u64,
    directory: Directory,
    /// Set by the first failure: a file with a hole in it must not get an end mark.
    broken: bool,
}

impl std::fmt::Debug for SingleFileWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SingleFileWriter({})", self.location)
    }
}

impl SingleFileWriter {
    /// Begins a file of `repository` on anything that takes bytes. `location` is for
    /// messages.
    ///
    /// # Errors
    /// [`ErrorKind::StoreFull`] or [`ErrorKind::Store`].
    pub fn begin(
        sink: Box<dyn Write + Send>,
        location: impl Into<String>,
        repository: RepositoryId,
    ) -> Result<Self> {
        let location = location.into();
        let output = Output { sink, written: 0, directory: Directory::default(), broken: false };
        let writer = Self { location, output: Arc::new(Mutex::new(output)) };
        let header = ObjectHeader {
            object_type: ObjectType::SingleFile,
            repository,
            id: [0; 16],
            body_len: 0,
        };
        writer.with(|output| output.write(&header.encode()))?;
        Ok(writer)
    }

    /// Ends the file with its directory and trailer and flushes it.
    ///
    /// # Errors
    /// As [`SingleFileWriter::begin`]; also when an object failed before.
    pub fn end(&self) -> Result<u64> {
        self.with(|output| {
            let directory = cbor::encode(&output.directory);
            let end_offset = output.written;
            let record = RecordHeader {
                name_len: 0,
                object_len: directory.len() as u64,
                checksum: crc32fast::hash(&directory),
            };
            let trailer = Trailer { end_offset, directory_len: directory.len() as u64 };
            output.write(&record.encode())?;
            output.write(&directory)?;
            output.write(&trailer.encode())?;
            output.sink.flush()?;
            Ok(output.written)
        })
    }

    fn with<T>(&self, work: impl FnOnce(&mut Output) -> std::io::Result<T>) -> Result<T> {
        let mut output = self.output.lock().unwrap_or_else(PoisonError::into_inner);
        let done = if output.broken {
            Err(std::io::Error::other("an earlier write failed"))
        } else {
            work(&mut output)
        };
        done.map_err(|error| {
            output.broken = true;
            let kind = match error.kind() {
                std::io::ErrorKind::StorageFull => ErrorKind::StoreFull,
                _ => ErrorKind::Store,
            };
            Error::new(kind, format!("could not write to \"{}\"", self.location)).because(error)
        })
    }
}

impl Output {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.sink.write_all(bytes)?;
        self.written += bytes.len() as u64;
        Ok(())
    }

    fn record(&mut self, name: &ObjectName, object: &[Bytes]) -> std::io::Result<()> {
        let name = name.to_string();
        let mut checksum = crc32fast::Hasher::new();
        checksum.update(name.as_bytes());
        object.iter().for_each(|piece| checksum.update(piece));
        let len = object.iter().map(|piece| piece.len() as u64).sum();
        let header = RecordHeader {
            name_len: u16::try_from(name.len()).map_err(std::io::Error::other)?,
            object_len: len,
            checksum: checksum.finalize(),
        };
        self.write(&header.encode())?;
        self.write(name.as_bytes())?;
        self.directory.objects.push(DirectoryEntry { name, offset: self.written, len });
        object.iter().try_for_each(|piece| self.write(piece))
    }
}

#[async_trait]
impl Store for SingleFileWriter {
    fn location(&self) -> String {
        self.location.clone()
    }

    async fn create(&self, name: &ObjectName) -> Result<Box<dyn Upload>> {
        Ok(Box::new(RecordUpload { writer: self.clone(), name: *name, pieces: Vec::new(), len: 0 }))
    }

    async fn read(&self, name: &ObjectName, _: Range<u64>) -> Result<Bytes> {
        Err(Error::new(ErrorKind::Internal, format!("object \"{name}\" is written, not read")))
    }

    async fn len(&self, _: &ObjectName) -> Result<Option<u64>> {
        Ok(None)
    }

    async fn list(&self, _: &str) -> Result<Vec<StoredObject>> {
        Ok(Vec::new())
    }

    async fn delete(&self, _: &ObjectName) -> Result<()> {
        Err(cannot_remove())
    }
}

fn cannot_remove() -> Error {
    Error::new(ErrorKind::Store, "nothing can be removed from a repository in a single file")
}

struct RecordUpload {
    writer: SingleFileWriter,
    name: ObjectName,
    pieces: Vec<Bytes>,
    len: u64,
}

#[async_trait]
impl Upload for RecordUpload {
    async fn write(&mut self, bytes: Bytes) -> Result<()> {
        self.len += bytes.len() as u64;
        if self.len > limits::PACK_LEN_MAX {
            let message = format!("object \"{}\" is too large for a single file", self.name);
            return Err(Error::new(ErrorKind::Internal, message));
        }
        self.pieces.push(bytes);
        Ok(())
    }

    async fn finish(self: Box<Self>) -> Result<()> {
        let written = tokio::task::spawn_blocking(move || {
            self.writer.with(|output| output.record(&self.name, &self.pieces))
        });
        written.await.map_err(|error| {
            Error::new(ErrorKind::Internal, "file operation did not end").because(error)
        })?
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_another_kind_is_no_repository() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notes.txt");
        std::fs::write(&path, "x".repeat(4096)).unwrap();
        assert_eq!(SingleFile::open(&path).unwrap_err().kind(), ErrorKind::NoRepository);
        std::fs::write(&path, "x").unwrap();
        assert_eq!(SingleFile::open(&path).unwrap_err().kind(), ErrorKind::Damaged);
    }
}
