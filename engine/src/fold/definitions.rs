//! Definitions at the moment: an image of them, and what transactions after it changed.

use super::chain::Run;
use super::changes::Read;
use super::mapping::Missing;
use super::recovery::{Counts, Seen};
use super::target::Cut;
use crate::catalog::capture::{self, Change, ChangeReader, Layout};
use crate::postgres::{Visible, copy_text};
use crate::repository::{Repository, Segment};
use crate::{Error, ErrorKind, Result};
use pgkeep_format::catalog_image::CatalogImage;
use pgkeep_format::limits::CATALOG_IMAGE_LEN_MAX;
use pgkeep_format::segment::{ClearPart, DEFINITIONS, Image, SealedPart, Transaction};
use std::collections::{HashMap, HashSet};

/// Earlier changes that each is compared with.
const COMPARED_MAX: usize = 64;

/// Definitions at the moment, and what of their past rows need.
#[derive(Debug)]
pub(super) struct Definitions {
    /// As of the moment.
    pub(super) image: CatalogImage,
    /// The columns that tables had after a transaction of a segment, in order.
    layouts: HashMap<u32, Vec<(usize, Layout)>>,
    /// By table.
    missing: HashMap<u32, Missing>,
    /// Tables whose rows are not known after a transaction.
    unknown: Vec<(u32, Transaction)>,
    /// What the user should look at, a sentence each.
    pub(super) warnings: Vec<String>,
}

/// What a transaction captured.
struct Captured {
    /// Position of its segment in the run.
    segment: usize,
    transaction: Transaction,
    /// Absent where the server could not.
    change: Option<Change>,
}

impl Definitions {
    /// Those at a cut; absent when the run has none. Looks back at least to the segment `from`,
    /// with which the backup's changes begin.
    pub(super) async fn at(
        repository: &Repository,
        run: &Run,
        cut: &Cut,
        from: usize,
    ) -> Result<Option<Self>> {
        let mut image: Option<(CatalogImage, Visible)> = None;
        let mut captured: Vec<Captured> = Vec::new();
        let last =
            if cut.transactions > 0 { Some(cut.segments) } else { cut.segments.checked_sub(1) };
        let mut at = match last {
            Some(last) => newest(run, &run.read(repository, last).await?.clear)?,
            None => newest(run, &run.begin)?,
        };
        while let Some(place) = at {
            let segment = place.read(repository, run).await?;
            let sealed = segment.sealed_part()?;
            let position = place.position();
            if image.is_none()
                && let Some(there) = sealed.image.as_ref().filter(|it| it.lsn <= cut.end)
            {
                let read = read_image(repository, &segment.clear, there).await?;
                let visible = Visible::parse(&read.snapshot)?;
                image = Some((read, visible));
            }
            let is_cut = place == Place::At(cut.segments);
            let before = if is_cut { cut.transactions } else { usize::MAX };
            let counted = Counts::of(sealed, before, |_| false);
            let mut found =
                read_changes(repository, &segment.clear, sealed, &counted, position).await?;
            found.append(&mut captured);
            captured = found;
            // What the image does not know may have committed a while before it was read.
            let is_enough = image
                .as_ref()
                .is_some_and(|(_, visible)| segment.clear.greatest_xid < visible.least_running());
            at = match place {
                Place::Begin => None,
                Place::At(index) if is_enough && index <= from => None,
                Place::At(0) => newest(run, &run.begin)?,
                Place::At(index) => newest(run, &run.read(repository, index - 1).await?.clear)?,
            };
        }
        let Some((image, visible)) = image else { return Ok(None) };
        let mut definitions = Self {
            image,
            layouts: HashMap::new(),
            missing: HashMap::new(),
            unknown: Vec::new(),
            warnings: Vec::new(),
        };
        definitions.follow(&captured, &visible)?;
        Ok(Some(definitions))
    }

    fn follow(&mut self, captured: &[Captured], visible: &Visible) -> Result<()> {
        let mut earlier: Vec<&Change> = Vec::new();
        for one in captured {
            let xid = one.transaction.xid;
            let after_image = !visible.sees(xid);
            let Some(change) = &one.change else {
                if after_image {
                    self.warnings.push(format!(
                        "definitions may be those before transaction {xid}: the server could not \
                         capture what it changed"
                    ));
                }
                continue;
            };
            self.learn(one, change);
            earlier.push(change);
            if !after_image {
                continue;
            }
            // Also with those that the image sees: this may have been captured before them.
            for other in earlier.iter().rev().skip(1).take(COMPARED_MAX) {
                if change.conflicts_with(other) {
                    self.warnings.push(format!(
                        "definitions may not be exact: transactions {} and {xid} changed them at \
                         the same time",
                        other.xid
                    ));
                }
            }
            capture::apply(&mut self.image, change)?;
        }
        Ok(())
    }

    /// What rows need of a change.
    fn learn(&mut self, one: &Captured, change: &Change) {
        let mut layouts: HashMap<u32, Layout> = HashMap::new();
        for column in &change.columns {
            layouts.entry(column.table).or_default().push((column.number, column.name.clone()));
            if let Some(value) = &column.missing {
                let mut text = Vec::new();
                copy_text::escape(value.as_bytes(), &mut text);
                self.missing.entry(column.table).or_default().insert(column.number, text);
            }
        }
        for (table, layout) in layouts {
            self.layouts.entry(table).or_default().push((one.segment, layout));
        }
        self.unknown.extend(change.unknown.iter().map(|table| (*table, one.transaction)));
    }

    /// The columns that a table had when a segment began; absent where nothing changed them
    /// before.
    pub(super) fn layout(&self, table: u32, segment: usize) -> Option<&Layout> {
        let layouts = self.layouts.get(&table)?;
        let before = layouts.partition_point(|(at, _)| *at < segment);
        before.checked_sub(1).map(|last| &layouts[last].1)
    }

    pub(super) fn missing(&self, table: u32) -> Option<&Missing> {
        self.missing.get(&table)
    }

    /// Tables whose rows are not known after some transaction that was not `seen`.
    pub(super) fn unknown(&self, seen: &Seen) -> HashSet<u32> {
        let unseen = self.unknown.iter().filter(|(_, transaction)| !seen.has(transaction));
        unseen.map(|(table, _)| *table).collect()
    }
}

/// Where a segment is in a run.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Begin,
    At(usize),
}

impl Place {
    async fn read(self, repository: &Repository, run: &Run) -> Result<Segment> {
        match self {
            Place::Begin => run.read_begin(repository).await,
            Place::At(index) => run.read(repository, index).await,
        }
    }

    /// Its position; what begins a run has no transactions.
    fn position(self) -> usize {
        match self {
            Place::Begin => 0,
            Place::At(index) => index,
        }
    }
}

/// The newest segment that has something of definitions, up to the one with this clear part.
fn newest(run: &Run, clear: &ClearPart) -> Result<Option<Place>> {
    let Some(last) = clear.definitions else { return Ok(None) };
    // A run that was cut begins with all that was said before.
    if last <= run.begin.last {
        return Ok(Some(Place::Begin));
    }
    let index = run.names.partition_point(|name| name.last < last);
    match run.names.get(index) {
        Some(name) if name.last == last && last <= clear.last => Ok(Some(Place::At(index))),
        _ => {
            let message = "segment refers to definitions that are not in the stream";
            Err(Error::new(ErrorKind::Damaged, message).hint("Run: pgkeep verify"))
        }
    }
}

async fn read_image(
    repository: &Repository,
    clear: &ClearPart,
    image: &Image,
) -> Result<CatalogImage> {
    let mut bytes = Vec::new();
    for chunk in &image.chunks {
        bytes.extend_from_slice(&repository.change_chunk(clear, chunk).await?.plain);
        if bytes.len() > CATALOG_IMAGE_LEN_MAX {
            return Err(Error::new(ErrorKind::Damaged, "catalog image is longer than it may be"));
        }
    }
    CatalogImage::decode(&bytes).map_err(|error| Error::undecodable("catalog image", error))
}

/// What transactions of a segment captured, in the order of their commits.
async fn read_changes(
    repository: &Repository,
    clear: &ClearPart,
    sealed: &SealedPart,
    counted: &Counts,
    segment: usize,
) -> Result<Vec<Captured>> {
    let mut captured = Vec::new();
    let mut reader = ChangeReader::default();
    let is_one = |run: &&pgkeep_format::segment::Run| {
        sealed.relations.get(run.relation as usize).is_some_and(|it| it.oid == DEFINITIONS)
    };
    for run in sealed.runs.iter().filter(is_one) {
        for chunks in run.chunks.split_inclusive(|chunk| !chunk.continues) {
            let read = Read::chunks(repository, clear, chunks).await?;
            for at in 0..read.len() {
                let Some(message) = read.change(counted, at)? else { continue };
                let number = if sealed.rolled_back.is_some() { 0 } else { message.member as usize };
                let transaction = sealed.transactions.get(number).ok_or_else(|| {
                    Error::new(ErrorKind::Damaged, "change is of no transaction of its segment")
                })?;
                let one = |change| Captured { segment, transaction: *transaction, change };
                let content = copy_text::value(message.new)?.unwrap_or_default();
                match reader.read(&content) {
                    Ok(Some(change)) => captured.push(one(Some(change))),
                    Ok(None) => {}
                    Err(error) if error.kind() == ErrorKind::UnsupportedFormat => {
                        return Err(error);
                    }
                    Err(error) => {
                        tracing::warn!("{error:?}");
                        captured.push(one(None));
                    }
                }
            }
        }
    }
    Ok(captured)
}
