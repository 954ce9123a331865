//! `pgkeep verify`: names everything that is wrong, on standard output, and fails if anything
//! is.

use super::view::{ChunksSummary, RowsSummary, SHORT_ID_LEN, lsn};
use crate::access::{Context, Reads};
use crate::args::VerifyArgs;
use crate::exit::Exit;
use crate::output::{Labels, Running, bytes, counted, local_time, printable, rfc3339};
use pgkeep_engine::verify::{self, Problem, VerifyOptions, VerifyReport};
use pgkeep_engine::{Error, ErrorKind, Result};
use serde::Serialize;

const LABELS: Labels = Labels { bytes: "read", stored: None, things: "packs" };

#[derive(Debug, Serialize)]
struct Summary {
    command: &'static str,
    repository: String,
    /// The backup that was asked for; absent for the whole repository.
    backup: Option<String>,
    /// How deep it looked: `rows` where seals were opened and names computed, else `checksums`.
    level: &'static str,
    /// Whether seals were opened; not without the identity.
    unsealed: bool,
    objects: u64,
    chunks: u64,
    bytes: u64,
    backups: u64,
    /// Which share of the packs was read; absent for one backup.
    packs: Option<PacksSummary>,
    /// References to chunks that were not read, only looked up.
    looked_up: u64,
    problems: Vec<ProblemSummary>,
    /// What `--expect-head` takes.
    head: Vec<String>,
}

#[derive(Debug, Serialize)]
struct PacksSummary {
    read: u64,
    bytes_read: u64,
    all: u64,
    bytes: u64,
    out_of_time: bool,
}

#[derive(Debug, Serialize)]
struct ProblemSummary {
    object: String,
    message: String,
    backup: Option<String>,
    database: Option<String>,
    table: Option<String>,
    chunks: Option<ChunksSummary>,
    rows: Option<RowsSummary>,
    changes: Option<ChangesSummary>,
}

#[derive(Debug, Serialize)]
struct ChangesSummary {
    stream: String,
    from_lsn: String,
    to_lsn: String,
    from: Option<String>,
    to: Option<String>,
    /// As people read them.
    #[serde(skip)]
    times: Option<(String, String)>,
}

/// Verifies a repository or a backup.
pub(super) async fn run(context: &Context, args: &VerifyArgs) -> Result<Exit> {
    let repository = context.open_for_reading(&args.repository, Reads::Clear).await?;
    let backup = match &args.backup {
        Some(wanted) => Some(repository.find(wanted).await?.clear.id),
        None => None,
    };
    let running = Running::start(context.output, LABELS, "starting");
    let (progress, interrupt) = (running.progress(), running.interrupt()?);
    let VerifyArgs { read_percent, keyless, budget, .. } = *args;
    let options = VerifyOptions { backup, read_percent, keyless, budget };
    let report = verify::run(&repository, &options, &progress, interrupt).await?;
    running.finish();
    let head = repository.head().await?.iter().map(ToString::to_string).collect();
    let id = repository.id().to_string();
    let summary = summary(id, backup.map(|id| id.to_string()), report, head);
    if !context.output.is_json() {
        let lines: String = summary.problems.iter().map(problem_text).collect();
        context.output.data(lines.as_bytes())?;
    }
    context.output.summary(&summary, |summary| text(summary, keyless))?;
    match summary.problems.len() {
        0 => Ok(Exit::Done),
        1 => Err(damaged("1 problem was found".to_owned())),
        problems => Err(damaged(format!("{problems} problems were found"))),
    }
}

fn damaged(message: String) -> Error {
    Error::new(ErrorKind::Damaged, message)
        .hint(
            "Backups that no problem names restore whole. Put damaged objects back from a copy of \
             the repository if there is one.",
        )
        .hint("Run: pgkeep repair packs; the next backup then stores again what is lost.")
        .hint("Restore what is left of a damaged backup: pgkeep restore --allow-damage")
}

fn summary(
    repository: String,
    backup: Option<String>,
    report: VerifyReport,
    head: Vec<String>,
) -> Summary {
    Summary {
        command: "verify",
        repository,
        backup,
        level: if report.unsealed { "rows" } else { "checksums" },
        unsealed: report.unsealed,
        objects: report.objects,
        chunks: report.chunks,
        bytes: report.bytes,
        backups: report.backups,
        packs: report.packs.map(|packs| PacksSummary {
            read: packs.read,
            bytes_read: packs.bytes_read,
            all: packs.all,
            bytes: packs.bytes,
            out_of_time: packs.out_of_time,
        }),
        looked_up: report.looked_up,
        problems: report.problems.into_iter().map(problem).collect(),
        head,
    }
}

fn problem(problem: Problem) -> ProblemSummary {
    ProblemSummary {
        object: problem.object,
        message: problem.message,
        backup: problem.backup.map(|id| id.to_string()),
        database: problem.database,
        table: problem.table,
        chunks: problem.lost.map(ChunksSummary::from),
        rows: problem.lost.and_then(|lost| lost.rows).map(RowsSummary::from),
        changes: problem.changes.map(|changes| ChangesSummary {
            stream: changes.stream.to_string(),
            from_lsn: lsn(changes.first),
            to_lsn: lsn(changes.last),
            from: changes.from.and_then(rfc3339),
            to: changes.to.and_then(rfc3339),
            times: changes
                .from
                .zip(changes.to)
                .map(|(from, to)| (local_time(from), local_time(to))),
        }),
    }
}

/// A line: `packs/…: checksum differs (rows 5 to 9 of table app.jobs of backup 3f9c2ab1)`.
fn problem_text(problem: &ProblemSummary) -> String {
    let backup = problem.backup.as_deref().map(|id| id.get(..SHORT_ID_LEN).unwrap_or(id));
    let mut harms: Vec<String> = problem.rows.iter().map(RowsSummary::text).collect();
    harms.extend(problem.table.as_ref().map(|table| format!("table {table}")));
    harms.extend(problem.database.as_ref().map(|database| format!("database {database}")));
    harms.extend(backup.map(|backup| format!("backup {backup}")));
    harms.extend(problem.changes.as_ref().map(changes_text));
    let harms = match harms.is_empty() {
        true => String::new(),
        false => format!(" ({})", harms.join(" of ")),
    };
    format!("{}\n", printable(&format!("{}: {}{harms}", problem.object, problem.message)))
}

/// The span of a change stream, which no moment behind it can be restored through.
fn changes_text(changes: &ChangesSummary) -> String {
    let stream = changes.stream.get(..SHORT_ID_LEN).unwrap_or(&changes.stream);
    let times = changes
        .times
        .as_ref()
        .map_or_else(String::new, |(from, to)| format!(", from {from} to {to}"));
    format!("changes {} to {}{times} of stream {stream}", changes.from_lsn, changes.to_lsn)
}

fn text(summary: &Summary, keyless: bool) -> String {
    let mut text = format!(
        "read {} with {}, {}, and followed {}",
        counted(summary.objects, "object"),
        counted(summary.chunks, "chunk"),
        bytes(summary.bytes),
        counted(summary.backups, "backup"),
    );
    if summary.problems.is_empty() {
        text.push_str(": no problem");
    }
    if let Some(packs) = summary.packs.as_ref().filter(|packs| packs.read < packs.all) {
        let over = if packs.out_of_time { "the time was over: " } else { "" };
        text.push_str(&format!(
            "\n{over}{} of {} were read, {} of {}; {} of the rest were looked up only.",
            packs.read,
            counted(packs.all, "pack"),
            bytes(packs.bytes_read),
            bytes(packs.bytes),
            counted(summary.looked_up, "chunk"),
        ));
    }
    match (summary.unsealed, keyless) {
        (true, _) => {}
        (false, true) => {
            text.push_str("\nChecksums and signatures were checked; seals were not opened.");
        }
        (false, false) => text.push_str(
            "\nWithout the identity seals were not opened: checksums and signatures were checked, \
             rows were not.",
        ),
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_names_what_it_harms() {
        let mut problem = ProblemSummary {
            object: "packs/ab/abcd".into(),
            message: "checksum differs".into(),
            backup: Some("3f9c2ab1".repeat(4)),
            database: None,
            table: Some("app.jobs".into()),
            chunks: None,
            rows: Some(RowsSummary { first: 5, last: 9, exact: true }),
            changes: None,
        };
        assert_eq!(
            problem_text(&problem),
            "packs/ab/abcd: checksum differs (rows 5 to 9 of table app.jobs of backup 3f9c2ab1)\n"
        );
        (problem.table, problem.rows) = (None, None);
        assert_eq!(problem_text(&problem), "packs/ab/abcd: checksum differs (backup 3f9c2ab1)\n");
    }
}
