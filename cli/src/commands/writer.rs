//! `pgkeep writer`: who can write.

use super::view::SHORT_ID_LEN;
use crate::access::{Context, Reads};
use crate::args::{RepositoryArgs, WriterAction, WriterArgs};
use crate::exit::Exit;
use crate::keyfiles::refuse_inside;
use crate::output::{
    Align, Labels, Running, Table, count, counted, local_time, printable, rfc3339,
};
use pgkeep_engine::NewFile;
use pgkeep_engine::repository::{Revocation, WriterReport};
use pgkeep_engine::{Error, ErrorKind, Result};
use serde::Serialize;
use std::io::Write;
use std::path::Path;

const LABELS: Labels = Labels { bytes: "read", stored: None, things: "objects" };
/// Backups that a text names at most.
const BACKUPS_NAMED_MAX: usize = 20;

#[derive(Debug, Serialize)]
struct Added {
    repository: String,
    name: String,
    key: String,
    writer_file: String,
}

#[derive(Debug, Serialize)]
struct Listing {
    repository: String,
    writers: Vec<WriterView>,
}

#[derive(Debug, Serialize)]
struct WriterView {
    name: String,
    key: String,
    since: Option<String>,
    revoked_at: Option<String>,
    distrusted: bool,
    backups: u64,
    segments: u64,
    indexes: u64,
    #[serde(skip)]
    since_micros: Option<i64>,
    #[serde(skip)]
    revoked_micros: Option<i64>,
}

#[derive(Debug, Serialize)]
struct Revoked {
    command: &'static str,
    repository: String,
    name: String,
    key: String,
    distrusted: bool,
    /// Of the writer: believed, or refused where it is distrusted.
    backups: Vec<String>,
    segments: u64,
    indexes: u64,
    /// Objects that could not be read, so that nobody vouches for them.
    unreadable: Vec<String>,
}

/// Runs what is asked for.
pub(super) async fn run(context: &Context, args: &WriterArgs) -> Result<Exit> {
    match &args.action {
        WriterAction::Add { name, repository, out } => {
            add(context, name.as_deref(), repository, out).await
        }
        WriterAction::List { repository } => list(context, repository).await,
        WriterAction::Revoke { writer, repository, distrust, yes } => {
            revoke(context, writer, repository, *distrust, *yes).await
        }
    }
}

async fn add(
    context: &Context,
    name: Option<&str>,
    args: &RepositoryArgs,
    out: &Path,
) -> Result<Exit> {
    let place = context.place(&args.place)?;
    if let Some(path) = place.directory() {
        refuse_inside(path, out)?;
    }
    let repository = context.open_for_reading(args, Reads::Sealed).await?;
    let from_file = out.file_stem().and_then(|stem| stem.to_str());
    let writer = repository.new_writer(name.or(from_file).unwrap_or_default())?;
    // The credential is written first: a key without a place to go would be of no use.
    let file = NewFile::create(out)?;
    file.handle()?.write_all(writer.format().as_bytes()).map_err(|error| {
        let message = format!("could not write file \"{}\"", out.display());
        Error::new(ErrorKind::Store, message).because(error)
    })?;
    repository.admit(&writer).await?;
    file.keep()?;
    let added = Added {
        repository: repository.id().to_string(),
        name: writer.name.clone(),
        key: writer.signing.verify_key().to_string(),
        writer_file: out.display().to_string(),
    };
    if context.output.is_json() {
        context.output.document(&added, |_| String::new())?;
    } else {
        context.output.note(&format!(
            "writer \"{}\" was added; its credential is \"{}\".\n\
             Move it to the host that takes backups, and keep no copy: a lost one is revoked and \
             made anew.",
            printable(&added.name),
            added.writer_file
        ));
    }
    Ok(Exit::Done)
}

async fn list(context: &Context, args: &RepositoryArgs) -> Result<Exit> {
    let repository = context.open_for_reading(args, Reads::Clear).await?;
    let writers = repository.writers().await?.iter().map(view).collect();
    let listing = Listing { repository: repository.id().to_string(), writers };
    context.output.document(&listing, |listing| table(&listing.writers))?;
    Ok(Exit::Done)
}

fn view(report: &WriterReport) -> WriterView {
    WriterView {
        name: report.name.clone(),
        key: report.key.to_string(),
        since: report.since.and_then(rfc3339),
        revoked_at: report.revoked_at.and_then(rfc3339),
        distrusted: report.distrusted,
        backups: report.backups,
        segments: report.segments,
        indexes: report.indexes,
        since_micros: report.since,
        revoked_micros: report.revoked_at,
    }
}

fn table(writers: &[WriterView]) -> String {
    let mut table = Table::new(&[
        ("name", Align::Left),
        ("key", Align::Left),
        ("since", Align::Left),
        ("backups", Align::Right),
        ("segments", Align::Right),
        ("indexes", Align::Right),
        ("revoked", Align::Left),
    ]);
    for writer in writers {
        let revoked = match (writer.revoked_micros, writer.distrusted) {
            (None, _) => String::new(),
            (Some(at), false) => local_time(at),
            (Some(at), true) => format!("{}, distrusted", local_time(at)),
        };
        table.row(vec![
            printable(&writer.name),
            writer.key.get(..SHORT_ID_LEN).unwrap_or(&writer.key).to_owned(),
            writer.since_micros.map_or_else(String::new, local_time),
            count(writer.backups),
            count(writer.segments),
            count(writer.indexes),
            revoked,
        ]);
    }
    table.render()
}

async fn revoke(
    context: &Context,
    wanted: &str,
    args: &RepositoryArgs,
    distrust: bool,
    yes: bool,
) -> Result<Exit> {
    let repository = context.open_for_reading(args, Reads::Clear).await?;
    let running = Running::start(context.output, LABELS, "starting");
    let (progress, mut interrupt) = (running.progress(), running.interrupt()?);
    let plan = tokio::select! {
        biased;
        () = interrupt.wait() => {
            return Err(Error::new(ErrorKind::Interrupted, "revoking was interrupted"));
        }
        plan = repository.plan_revocation(wanted, &progress) => plan?,
    };
    running.finish();
    if distrust && !yes {
        return Err(unconfirmed(&plan));
    }
    repository.revoke(&plan, distrust).await?;
    let revoked = Revoked {
        command: "writer revoke",
        repository: repository.id().to_string(),
        name: plan.writer.name.clone(),
        key: plan.writer.key.to_string(),
        distrusted: distrust,
        backups: plan.backups.iter().map(ToString::to_string).collect(),
        segments: plan.segments,
        indexes: plan.indexes,
        unreadable: plan.unreadable.iter().map(|(name, _)| name.to_string()).collect(),
    };
    if !context.output.is_json() {
        for (name, error) in &plan.unreadable {
            context.output.warning(&format!("{name} is not vouched for: {error}"));
        }
    }
    context.output.summary(&revoked, text)?;
    Ok(Exit::done_with(revoked.unreadable.len()))
}

/// What would be refused from then on.
fn unconfirmed(plan: &Revocation) -> Error {
    let message = format!(
        "{} and {} of writer \"{}\" would be refused from now on: {}",
        counted(plan.backups.len() as u64, "backup"),
        counted(plan.segments, "segment"),
        printable(&plan.writer.name),
        named(&plan.backups.iter().map(ToString::to_string).collect::<Vec<_>>())
    );
    Error::new(ErrorKind::Usage, message)
        .hint("To revoke the writer and still believe them, leave --distrust out.")
        .hint("To do it, add --yes.")
}

fn named(backups: &[String]) -> String {
    let short = |id: &String| id.get(..SHORT_ID_LEN).unwrap_or(id).to_owned();
    let mut names: Vec<String> = backups.iter().take(BACKUPS_NAMED_MAX).map(short).collect();
    if backups.len() > BACKUPS_NAMED_MAX {
        names.push("…".to_owned());
    }
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

fn text(revoked: &Revoked) -> String {
    let becomes = if revoked.distrusted { "are refused" } else { "stay good" };
    format!(
        "writer \"{}\" was revoked: its {} and {} {becomes}, nothing that it signs from now on is \
         accepted.\nIts credential still tells the naming key: with it somebody can tell whether \
         the repository has a certain chunk.",
        printable(&revoked.name),
        counted(revoked.backups.len() as u64, "backup"),
        counted(revoked.segments, "segment"),
    )
}
