//! `pgkeep prune`: what was removed, and what has to wait.

use crate::access::Context;
use crate::args::PruneArgs;
use crate::exit::Exit;
use crate::output::{Labels, Running, bytes, counted};
use pgkeep_engine::prune::{self, PruneOptions, PruneReport};
use pgkeep_engine::{Result, clock};
use serde::Serialize;

const LABELS: Labels = Labels { bytes: "copied", stored: None, things: "packs" };

#[derive(Debug, Serialize)]
struct Summary {
    command: &'static str,
    repository: String,
    dry_run: bool,
    removed_packs: u64,
    removed_bytes: u64,
    repacked_packs: u64,
    repacked_bytes: u64,
    waiting_packs: u64,
    waiting_for_writers: u64,
    dead_writers: u64,
    retained_packs: u64,
    retained_bytes: u64,
    live_bytes: u64,
    unused_bytes: u64,
    problems: Vec<ProblemView>,
}

#[derive(Debug, Serialize)]
struct ProblemView {
    pack: String,
    message: String,
}

/// Prunes a repository.
pub(super) async fn run(context: &Context, args: &PruneArgs) -> Result<Exit> {
    let repository = context.open_for_writing(&args.repository).await?;
    let running = Running::start(context.output, LABELS, "starting");
    let (progress, interrupt) = (running.progress(), running.interrupt()?);
    let options = PruneOptions {
        dry_run: args.dry_run,
        max_repack: args.max_repack,
        dead_after: args.dead_after,
        now: clock::now_micros(),
    };
    let report = prune::run(&repository, &options, &progress, interrupt).await?;
    running.finish();
    let summary = summary(repository.id().to_string(), args.dry_run, report);
    if !context.output.is_json() {
        for problem in &summary.problems {
            context.output.warning(&format!("pack {} stays: {}", problem.pack, problem.message));
        }
        if summary.retained_packs > 0 {
            context.output.warning(&retained(&summary));
        }
    }
    context.output.summary(&summary, text)?;
    Ok(Exit::done_with(summary.problems.len() + usize::from(summary.retained_packs > 0)))
}

fn summary(repository: String, dry_run: bool, report: PruneReport) -> Summary {
    let problems = report.problems.into_iter();
    Summary {
        command: "prune",
        repository,
        dry_run,
        removed_packs: report.removed_packs,
        removed_bytes: report.removed_bytes,
        repacked_packs: report.repacked_packs,
        repacked_bytes: report.repacked_bytes,
        waiting_packs: report.waiting_packs,
        waiting_for_writers: report.waiting_for,
        dead_writers: report.dead_writers,
        retained_packs: report.retained_packs,
        retained_bytes: report.retained_bytes,
        live_bytes: report.live_bytes,
        unused_bytes: report.unused_bytes,
        problems: problems
            .map(|(pack, message)| ProblemView { pack: pack.to_string(), message })
            .collect(),
    }
}

fn retained(summary: &Summary) -> String {
    format!(
        "the store does not let {} go, {}: their locks are not over, or these credentials may not \
         remove; a later prune tries again",
        counted(summary.retained_packs, "pack"),
        bytes(summary.retained_bytes),
    )
}

fn text(summary: &Summary) -> String {
    let would = if summary.dry_run { "would have " } else { "" };
    let mut text = format!(
        "{would}removed {}, {}, and copied {} of {} into new ones\n{} are needed, {} unused",
        counted(summary.removed_packs, "pack"),
        bytes(summary.removed_bytes),
        bytes(summary.repacked_bytes),
        counted(summary.repacked_packs, "pack"),
        bytes(summary.live_bytes),
        bytes(summary.unused_bytes),
    );
    if summary.waiting_packs > 0 {
        text.push_str(&format!(
            "\n{} go with a later prune, when {} at work now {} ended",
            counted(summary.waiting_packs, "pack"),
            counted(summary.waiting_for_writers, "writer"),
            if summary.waiting_for_writers == 1 { "has" } else { "have" },
        ));
    }
    if summary.dead_writers > 0 {
        text.push_str(&format!("\ntook {} for dead", counted(summary.dead_writers, "writer")));
    }
    text
}
