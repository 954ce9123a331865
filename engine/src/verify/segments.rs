//! Follows every segment of change streams to its last chunk, and tells which span of the stream
//! damage takes.

use super::{ChangeSpan, Findings, Problem, chain};
use crate::repository::{Repository, Segment};
use crate::store::StoredObject;
use crate::{ErrorKind, Result};
use pgkeep_format::id::PackId;
use pgkeep_format::name::{ObjectName, SegmentName};
use pgkeep_format::segment::ChangeChunk;
use std::collections::HashMap;

/// A segment, and what is wrong with it.
struct Followed {
    name: SegmentName,
    /// Up to when the stream is known with it; absent where it cannot be read.
    known_until: Option<i64>,
    /// Each with the table whose changes it takes, where it is known.
    problems: Vec<(Option<String>, String)>,
}

pub(super) async fn verify_all(
    repository: &Repository,
    objects: &[StoredObject],
    findings: &mut Findings,
) -> Result<()> {
    let mut names = Vec::new();
    let mut packs = HashMap::new();
    for object in objects {
        match object.name {
            ObjectName::Segment(name) => {
                findings.report.objects += 1;
                findings.report.bytes += object.len;
                names.push(name);
            }
            ObjectName::ChangePack(pack) => {
                packs.insert(pack, object.len);
            }
            _ => {}
        }
    }
    names.sort_unstable();
    let mut followed = Vec::with_capacity(names.len());
    for name in names {
        let mut one = Followed { name, known_until: None, problems: Vec::new() };
        match repository.segment(name).await {
            Ok(segment) => {
                one.known_until = Some(segment.clear.known_until);
                one.problems = follow(&segment, &packs, findings);
            }
            Err(error) if error.is_of_store() => return Err(error),
            // It was forgotten since it was listed.
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => one.problems.push((None, chain(&error))),
        }
        followed.push(one);
    }
    for (at, one) in followed.iter().enumerate() {
        let span = span(&followed, at);
        let problems = one.problems.iter().map(|(table, message)| Problem {
            object: ObjectName::Segment(one.name).to_string(),
            message: message.clone(),
            table: table.clone(),
            changes: Some(span),
            ..Problem::default()
        });
        findings.report.problems.extend(problems);
    }
    Ok(())
}

/// The span of a segment; its times are those of the nearest segments that can be read.
fn span(followed: &[Followed], at: usize) -> ChangeSpan {
    let name = followed[at].name;
    let of_stream = |one: &&Followed| one.name.stream == name.stream;
    let before = followed[..at].iter().rev().take_while(of_stream);
    let from_here = followed[at..].iter().take_while(of_stream);
    ChangeSpan {
        stream: name.stream,
        first: name.first,
        last: name.last,
        from: before.filter_map(|one| one.known_until).next(),
        to: from_here.filter_map(|one| one.known_until).next(),
    }
}

/// What is wrong with what a segment refers to, once for each table.
fn follow(
    segment: &Segment,
    packs: &HashMap<PackId, u64>,
    findings: &mut Findings,
) -> Vec<(Option<String>, String)> {
    let mut problems = Vec::new();
    for key in segment.clear.keys.iter().filter(|key| !findings.keys.contains(key)) {
        problems.push((None, format!("key {key} is lost, and what is sealed under it")));
    }
    for pack in segment.clear.packs.iter().filter(|pack| !packs.contains_key(pack)) {
        problems.push((None, format!("change pack {pack} is not in the repository")));
    }
    let Some(sealed) = &segment.sealed else { return problems };
    let image = sealed.image.iter().map(|image| (None, &image.chunks));
    let runs = sealed.runs.iter().map(|run| {
        let relation = sealed.relations.get(run.relation as usize);
        (relation.map(|it| format!("{}.{}", it.schema, it.name)), &run.chunks)
    });
    for (table, chunks) in runs.chain(image) {
        let is_lost = |chunk: &&ChangeChunk| match segment.clear.packs.get(chunk.pack as usize) {
            Some(pack) if findings.read.contains(pack) => {
                findings.changes.get(&(*pack, chunk.offset)) != Some(&chunk.id)
            }
            Some(pack) => !packs.contains_key(pack),
            None => true,
        };
        let lost = chunks.iter().filter(is_lost).count();
        if lost > 0 {
            let of = chunks.len();
            problems.push((table, format!("{lost} of {of} chunks of changes cannot be read")));
        }
        let unread = chunks.iter().filter(|chunk| {
            let pack = segment.clear.packs.get(chunk.pack as usize);
            pack.is_some_and(|pack| packs.contains_key(pack) && !findings.read.contains(pack))
        });
        findings.report.looked_up += unread.count() as u64;
    }
    problems
}
