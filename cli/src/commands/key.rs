//! `pgkeep key`: who can read.

use super::view::SHORT_ID_LEN;
use crate::access::{Context, Reads};
use crate::args::{KeyAction, KeyArgs, RepositoryArgs};
use crate::exit::Exit;
use crate::keyfiles::{self, KeyFile, refuse_inside};
use crate::output::{Labels, Running, counted};
use pgkeep_engine::NewFile;
use pgkeep_engine::progress::Progress;
use pgkeep_engine::repository::{Identity, KeyOutcome, KeyReport, Repository, rotate};
use pgkeep_engine::seal::generate_identity;
use pgkeep_engine::{Error, ErrorKind, Result};
use serde::Serialize;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

const LABELS: Labels = Labels { bytes: "wrapped", stored: None, things: "keys" };
/// Keys that a text names at most.
const KEYS_NAMED_MAX: usize = 20;

#[derive(Debug, Serialize)]
struct Listing {
    repository: String,
    encrypted: bool,
    recipients: Vec<String>,
    keys: u64,
    key_objects: u64,
    /// Keys that are wrapped for another number of recipients than there are.
    other: Vec<KeyView>,
}

#[derive(Debug, Serialize)]
struct KeyView {
    /// `secrets` for the repository's secrets.
    key: String,
    objects: u64,
    recipients: u64,
}

#[derive(Debug, Serialize)]
struct Summary {
    command: &'static str,
    repository: String,
    recipients: Vec<String>,
    wrapped_keys: u64,
    deleted_objects: u64,
    failed: Vec<FailedKey>,
    identity_file: Option<String>,
}

#[derive(Debug, Serialize)]
struct FailedKey {
    key: String,
    message: String,
}

/// Runs what is asked for.
pub(super) async fn run(context: &Context, args: &KeyArgs) -> Result<Exit> {
    match &args.action {
        KeyAction::List { repository } => list(context, repository).await,
        KeyAction::Add { recipient, repository, new_only } => {
            let opened = context.open_for_reading(repository, Reads::Sealed).await?;
            let work = |progress: Arc<dyn Progress>| async move {
                opened.add_recipient(recipient, !new_only, &progress).await
            };
            finish(context, repository, "key add", None, work).await
        }
        KeyAction::Remove { recipient, repository, force } => {
            let opened = context.open_for_reading(repository, Reads::Sealed).await?;
            let work = |progress: Arc<dyn Progress>| async move {
                opened.remove_recipient(recipient, *force, &progress).await
            };
            finish(context, repository, "key remove", None, work).await
        }
        KeyAction::Rotate { repository, identity_out } => {
            replace_identity(context, repository, identity_out).await
        }
    }
}

async fn list(context: &Context, args: &RepositoryArgs) -> Result<Exit> {
    let repository = context.open_for_reading(args, Reads::Clear).await?;
    let recipients = repository.config().recipients.clone();
    let reports = repository.key_reports().await?;
    let other = reports.iter().filter(|key| key.recipients != recipients.len() as u64);
    let listing = Listing {
        repository: repository.id().to_string(),
        encrypted: repository.config().encrypted,
        keys: reports.len() as u64,
        key_objects: reports.iter().map(|key| key.objects).sum(),
        other: other.map(view).collect(),
        recipients,
    };
    context.output.document(&listing, text_of_list)?;
    Ok(Exit::Done)
}

fn view(report: &KeyReport) -> KeyView {
    KeyView {
        key: report.id.map_or_else(|| "secrets".to_owned(), |id| id.to_string()),
        objects: report.objects,
        recipients: report.recipients,
    }
}

fn text_of_list(listing: &Listing) -> String {
    if !listing.encrypted {
        return "nothing is encrypted\n".to_owned();
    }
    let mut text: String =
        listing.recipients.iter().map(|recipient| format!("{recipient}\n")).collect();
    text.push_str(&format!(
        "{} in {}",
        counted(listing.keys, "key"),
        counted(listing.key_objects, "object")
    ));
    if listing.other.is_empty() {
        text.push_str(", each wrapped for as many recipients as there are\n");
        return text;
    }
    text.push_str(&format!(
        "; {} wrapped for another number of recipients than there are:\n",
        counted(listing.other.len() as u64, "key")
    ));
    for key in listing.other.iter().take(KEYS_NAMED_MAX) {
        let short = key.key.get(..SHORT_ID_LEN).unwrap_or(&key.key);
        text.push_str(&format!("  {short} for {}\n", key.recipients));
    }
    text.push_str(
        "to wrap all of them for all recipients: pgkeep key add with one that is there\n",
    );
    text
}

/// Makes the new identity, or takes the one of a run that was stopped, and puts it in the place of
/// the one in use.
async fn replace_identity(context: &Context, args: &RepositoryArgs, out: &Path) -> Result<Exit> {
    let place = context.place(&args.place)?;
    if let Some(path) = place.directory() {
        refuse_inside(path, out)?;
    }
    let store = place.open().await?;
    let old = context.whole_identity(store.as_ref(), args).await?;
    let owner = old.owner_secret.as_ref().ok_or_else(|| {
        Error::new(ErrorKind::WrongKey, "the owner's secret is needed to change who reads")
            .hint("Give the whole identity that was made with this repository: --identity FILE")
    })?;
    if !out.exists() {
        let text = Identity::format(old.repository, owner, Some(&generate_identity()));
        let file = NewFile::create(out)?;
        file.handle()?.write_all(text.as_bytes()).map_err(|error| {
            let message = format!("could not write file \"{}\"", out.display());
            Error::new(ErrorKind::Store, message).because(error)
        })?;
        file.keep()?;
    }
    let new = Identity::parse(&keyfiles::read(KeyFile::Identity, out)?)?;
    if new.repository != old.repository || new.owner != old.owner {
        let message = format!("\"{}\" is an identity of another repository", out.display());
        return Err(Error::new(ErrorKind::AlreadyExists, message).hint("Name another file."));
    }
    let work = |progress: Arc<dyn Progress>| async move {
        rotate(store, old, new, &progress).await.map_err(|error| half_done(out, error))
    };
    finish(context, args, "key rotate", Some(out), work).await
}

fn half_done(out: &Path, error: Error) -> Error {
    let message = "identity was not replaced, or not everywhere";
    Error::new(error.kind(), message).because(error).hint(format!(
        "Keep both identities and run this again with the same --identity-out \"{}\".",
        out.display()
    ))
}

/// Runs the work with progress, then tells what was done.
async fn finish<F: Future<Output = Result<KeyOutcome>>>(
    context: &Context,
    args: &RepositoryArgs,
    command: &'static str,
    identity_file: Option<&Path>,
    work: impl FnOnce(Arc<dyn Progress>) -> F,
) -> Result<Exit> {
    let running = Running::start(context.output, LABELS, "starting");
    let (progress, mut interrupt) = (running.progress(), running.interrupt()?);
    let outcome = tokio::select! {
        biased;
        () = interrupt.wait() => {
            return Err(Error::new(ErrorKind::Interrupted, "wrapping keys was interrupted")
                .hint("Run it again: it goes on."));
        }
        outcome = work(progress) => outcome?,
    };
    running.finish();
    // What holds now, read with nothing but what is in clear.
    let now = settings(context, args).await?;
    let failed = outcome
        .failed
        .iter()
        .map(|(id, error)| FailedKey { key: id.to_string(), message: error.to_string() });
    let summary = Summary {
        command,
        repository: now.id().to_string(),
        recipients: now.config().recipients.clone(),
        wrapped_keys: outcome.wrapped,
        deleted_objects: outcome.deleted,
        failed: failed.collect(),
        identity_file: identity_file.map(|path| path.display().to_string()),
    };
    if !context.output.is_json() {
        for key in &summary.failed {
            let message = format!("key {} is as it was: {}", key.key, key.message);
            context.output.warning(&message);
        }
    }
    context.output.summary(&summary, text)?;
    Ok(Exit::done_with(summary.failed.len()))
}

/// The repository as it is now, opened without an age identity: the old one may open no key.
async fn settings(context: &Context, args: &RepositoryArgs) -> Result<Repository> {
    let store = context.place(&args.place)?.open().await?;
    let identity = context.whole_identity(store.as_ref(), args).await?;
    let identity = Some(Identity { age: None, ..identity });
    let access = pgkeep_engine::repository::Access { identity, writer: None };
    Repository::open(store, access).await
}

fn text(summary: &Summary) -> String {
    let mut text = format!(
        "{} wrapped for {}",
        counted(summary.wrapped_keys, "key"),
        counted(summary.recipients.len() as u64, "recipient")
    );
    if summary.deleted_objects > 0 {
        text.push_str(&format!(
            ", {} with older wraps deleted",
            counted(summary.deleted_objects, "object")
        ));
    }
    if summary.command != "key add" {
        text.push_str(
            ".\nThis cannot be undone for who had the old identity: keys and backups that were \
             copied before can be read with it for ever. Data keys and the naming key stay the same.",
        );
    }
    if let Some(file) = &summary.identity_file {
        text.push_str(&format!(
            "\nThe new identity is \"{file}\". Put copies where the old one was; without it nothing \
             can be read."
        ));
    }
    text
}
