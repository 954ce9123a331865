//! `pgkeep verify`: names everything that is wrong, on standard output, and fails if anything
//! is.

use super::view::SHORT_ID_LEN;
use crate::access::{Context, Reads};
use crate::args::VerifyArgs;
use crate::exit::Exit;
use crate::output::{Labels, Running, bytes, counted, printable};
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
    /// Whether seals were opened; not without the identity.
    unsealed: bool,
    objects: u64,
    chunks: u64,
    bytes: u64,
    backups: u64,
    problems: Vec<ProblemSummary>,
}

#[derive(Debug, Serialize)]
struct ProblemSummary {
    object: String,
    message: String,
    backup: Option<String>,
    table: Option<String>,
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
    let options = VerifyOptions { backup };
    let report = verify::run(&repository, &options, &progress, interrupt).await?;
    running.finish();
    let summary = summary(repository.id().to_string(), backup.map(|id| id.to_string()), report);
    if !context.output.is_json() {
        let lines: String = summary.problems.iter().map(problem_text).collect();
        context.output.data(lines.as_bytes())?;
    }
    context.output.summary(&summary, text)?;
    match summary.problems.len() {
        0 => Ok(Exit::Done),
        1 => Err(damaged("1 problem was found".to_owned())),
        problems => Err(damaged(format!("{problems} problems were found"))),
    }
}

fn damaged(message: String) -> Error {
    Error::new(ErrorKind::Damaged, message).hint(
        "Backups that no problem names restore whole. Put damaged objects back from a copy of \
         the repository, or take a new backup.",
    )
}

fn summary(repository: String, backup: Option<String>, report: VerifyReport) -> Summary {
    let problem = |problem: Problem| ProblemSummary {
        object: problem.object,
        message: problem.message,
        backup: problem.backup.map(|id| id.to_string()),
        table: problem.table,
    };
    Summary {
        command: "verify",
        repository,
        backup,
        unsealed: report.unsealed,
        objects: report.objects,
        chunks: report.chunks,
        bytes: report.bytes,
        backups: report.backups,
        problems: report.problems.into_iter().map(problem).collect(),
    }
}

/// A line: `packs/…: checksum differs (table app.jobs of backup 3f9c2ab1)`.
fn problem_text(problem: &ProblemSummary) -> String {
    let backup = problem.backup.as_deref().map(|id| id.get(..SHORT_ID_LEN).unwrap_or(id));
    let harms = match (&problem.table, backup) {
        (Some(table), Some(backup)) => format!(" (table {table} of backup {backup})"),
        (Some(table), None) => format!(" (table {table})"),
        (None, Some(backup)) => format!(" (backup {backup})"),
        (None, None) => String::new(),
    };
    format!("{}\n", printable(&format!("{}: {}{harms}", problem.object, problem.message)))
}

fn text(summary: &Summary) -> String {
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
    if !summary.unsealed {
        text.push_str(
            "\nWithout the identity seals were not opened: checksums and signatures were checked, \
             rows were not.",
        );
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
            table: Some("app.jobs".into()),
        };
        assert_eq!(
            problem_text(&problem),
            "packs/ab/abcd: checksum differs (table app.jobs of backup 3f9c2ab1)\n"
        );
        problem.table = None;
        assert_eq!(problem_text(&problem), "packs/ab/abcd: checksum differs (backup 3f9c2ab1)\n");
    }
}
