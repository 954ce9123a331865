//! `pgkeep init`: makes the repository, then gives its two key files a place. The places are
//! opened first, so that a repository is not made whose keys can then not be written.

use crate::access::{Context, Place};
use crate::args::InitArgs;
use crate::exit::Exit;
use crate::keyfiles::{KeyFile, Reserved, refuse_inside};
use pgkeep_engine::repository::{InitOptions, Initialized, init};
use pgkeep_engine::seal::validate_recipient;
use pgkeep_engine::store::{Found, StoreReport};
use pgkeep_engine::{Error, ErrorKind, Result};
use serde::Serialize;
use std::fmt::Write;
use std::path::{Path, PathBuf};

#[derive(Debug, Serialize)]
struct StoreView {
    conditional_writes: &'static str,
    checksums: &'static str,
    ranged_reads: &'static str,
    removes: &'static str,
    object_lock: &'static str,
}

impl From<StoreReport> for StoreView {
    fn from(report: StoreReport) -> Self {
        Self {
            conditional_writes: found(report.conditional_writes),
            checksums: found(report.checksums),
            ranged_reads: found(report.ranged_reads),
            removes: found(report.removes),
            object_lock: found(report.object_lock),
        }
    }
}

const fn found(found: Found) -> &'static str {
    match found {
        Found::Yes => "yes",
        Found::No => "no",
        Found::Refused => "refused",
    }
}

#[derive(Debug, Serialize)]
struct Made {
    repository: String,
    location: String,
    encrypted: bool,
    recipients: Vec<String>,
    identity_file: String,
    writer_file: String,
    /// What a bucket was found to do.
    store: Option<StoreView>,
    #[serde(skip)]
    made_identity: bool,
}

/// Makes a repository and its keys.
pub(super) async fn run(context: &Context, args: &InitArgs) -> Result<Exit> {
    let place = context.place(&args.place)?;
    let key_directory = context.environment.key_directory.as_deref().ok_or_else(|| {
        Error::new(ErrorKind::Usage, "no home directory is known to keep key files in")
            .hint("Set XDG_CONFIG_HOME or HOME.")
    })?;
    let identity_place = identity_place(args.identity_out.as_deref(), key_directory)?;
    args.recipients.iter().try_for_each(|recipient| validate_recipient(recipient))?;
    let name = identity_place.name.as_deref().unwrap_or("REPOSITORY-ID.identity");
    if let Some(path) = place.directory() {
        refuse_inside(path, &identity_place.directory.join(name))?;
        refuse_inside(path, &key_directory.join("REPOSITORY-ID.writer"))?;
    }
    let identity_file = Reserved::open(KeyFile::Identity, &identity_place.directory)?;
    let writer_file = Reserved::open(KeyFile::Writer, key_directory)?;
    let (store, report) = place.create().await?;
    let options = InitOptions {
        recipients: args.recipients.clone(),
        encrypted: !args.no_encryption,
        writer_name: host_name(),
    };
    let made = init(store.as_ref(), &options).await.map_err(|error| half_made(&place, error))?;
    let saved = save(&made, identity_file, identity_place.name, writer_file);
    let (identity_path, writer_path) = saved.map_err(|error| unusable(&place, error))?;
    let made = Made {
        repository: made.repository.to_string(),
        location: place.to_string(),
        encrypted: options.encrypted,
        recipients: made.recipients,
        identity_file: identity_path.display().to_string(),
        writer_file: writer_path.display().to_string(),
        store: report.map(StoreView::from),
        made_identity: made.made_identity,
    };
    if context.output.is_json() {
        context.output.document(&made, text)?;
    } else {
        context.output.note(&text(&made));
    }
    Ok(Exit::Done)
}

/// Where the identity goes: a directory, and a name unless it is made of the repository's id.
struct IdentityPlace {
    directory: PathBuf,
    name: Option<String>,
}

fn identity_place(asked: Option<&Path>, key_directory: &Path) -> Result<IdentityPlace> {
    let Some(path) = asked else {
        return Ok(IdentityPlace { directory: key_directory.to_owned(), name: None });
    };
    let absolute = std::path::absolute(path).ok();
    let parts =
        absolute.as_deref().and_then(|path| Some((path.parent()?, path.file_name()?.to_str()?)));
    let (directory, name) = parts.ok_or_else(|| {
        Error::new(ErrorKind::Usage, format!("\"{}\" is no name for a file", path.display()))
    })?;
    if path.exists() {
        let message = format!("identity file \"{}\" already exists", path.display());
        return Err(Error::new(ErrorKind::AlreadyExists, message)
            .hint("Name another file; a key file is never written over."));
    }
    Ok(IdentityPlace { directory: directory.to_owned(), name: Some(name.to_owned()) })
}

fn save(
    made: &Initialized,
    identity_file: Reserved,
    identity_name: Option<String>,
    writer_file: Reserved,
) -> Result<(PathBuf, PathBuf)> {
    let name = identity_name.unwrap_or_else(|| format!("{}.identity", made.repository));
    let identity_path = identity_file.save(&name, &made.identity)?;
    let writer_path = writer_file.save(&format!("{}.writer", made.repository), &made.writer)?;
    Ok((identity_path, writer_path))
}

fn half_made(place: &Place, error: Error) -> Error {
    let message = "could not make the repository";
    Error::new(error.kind(), message)
        .hint(format!("Nothing is in it: remove \"{place}\" and run pgkeep init again."))
        .because(error)
}

fn unusable(place: &Place, error: Error) -> Error {
    let message = "repository was made, but its keys could not be written";
    Error::new(error.kind(), message)
        .hint(format!("It is of no use: remove \"{place}\" and run pgkeep init again."))
        .because(error)
}

/// The name that the writer gets: this host's, as the kernel knows it.
fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    if name.is_empty() { "first writer".to_owned() } else { name.to_owned() }
}

fn text(made: &Made) -> String {
    let mut text = format!("Repository {} was made in \"{}\".\n", made.repository, made.location);
    let _infallible = write!(
        text,
        "\n  identity           {}\n  writer credential  {}\n\n",
        made.identity_file, made.writer_file
    );
    if let Some(store) = &made.store {
        let _infallible = write!(
            text,
            "Of the store it was found, where nothing but ranged reads is relied upon:\n\
             \n  conditional writes {}\n  checks checksums   {}\n  ranged reads       {}\n  \
             removes for good   {}\n  object locks       {}\n\n",
            store.conditional_writes,
            store.checksums,
            store.ranged_reads,
            store.removes,
            store.object_lock,
        );
    }
    text.push_str(match (made.encrypted, made.made_identity) {
        (true, true) => {
            "Without the identity nothing in this repository can ever be read.\n\
             Move a copy of it off this machine now.\n\
             The writer credential adds backups and reads none; this machine needs only that.\n"
        }
        (true, false) => {
            "Backups are encrypted for the recipients you named: their age identities read them,\n\
             together with this identity file, which tells whose signatures to trust.\n\
             Move a copy of it off this machine now.\n"
        }
        (false, _) => {
            "Nothing is encrypted: whoever can read the directory can read every backup.\n\
             The identity tells whose signatures to trust; keep a copy off this machine.\n"
        }
    });
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_identity_goes_where_it_was_asked_to_and_never_over_a_file() {
        let directory = tempfile::tempdir().unwrap();
        let keys = directory.path().join("keys");
        let default = identity_place(None, &keys).unwrap();
        assert_eq!((default.directory, default.name), (keys.clone(), None));
        let file = directory.path().join("shop.identity");
        let asked = identity_place(Some(&file), &keys).unwrap();
        assert_eq!(asked.directory, directory.path());
        assert_eq!(asked.name.as_deref(), Some("shop.identity"));
        std::fs::write(&file, "old").unwrap();
        let error = identity_place(Some(&file), &keys).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::AlreadyExists);
        assert_eq!(
            identity_place(Some(Path::new("/")), &keys).err().unwrap().kind(),
            ErrorKind::Usage
        );
    }
}
