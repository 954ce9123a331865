//! The fold of one table: rows of the backup and of changes become the rows of the moment, with
//! the columns that the table then has.
//!
//! ```text
//! rows of the backup -> columns of stage 1 -> stage 1 -> columns of stage 2 -> … -> the table's
//! changes of stage 1 ----------------------^           changes of stage 2 …
//! ```
//!
//! Most tables have one stage. Another begins where other columns identify the rows.

use super::changes::{Unit, units};
use super::copy_row::Lines;
use super::keyed::unlike;
use super::mapping::{Mapping, Missing};
use super::recovery::Recovery;
use super::row_hash::Scratch;
use super::stage::{self, Stage};
use crate::{Error, ErrorKind, Result};
use pgkeep_format::entry::Data;
use pgkeep_format::segment::RelationVersion;
use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

/// A table with changes, or with other columns than in the backup.
pub struct TableFold {
    stages: Vec<Arc<Stage>>,
    /// Into each stage, and from the last one into the table.
    mappings: Vec<Mapping>,
    name: String,
}

/// What became of the table's rows, or of a share of them.
pub struct Part {
    fold: Arc<TableFold>,
    /// By stage; absent where a truncate comes after.
    parts: Vec<Option<Arc<stage::Part>>>,
    /// The stages that begin with this part: the changes of the others were with one before, and
    /// are not all passed yet.
    fresh: Range<usize>,
}

/// What a connection keeps while rows of the backup pass through a part.
#[derive(Default)]
pub struct Passing {
    /// The beginning of a row that goes on in the next chunk.
    begun: Vec<u8>,
    /// Where the rows of a chunk begin and end.
    bounds: Vec<(usize, usize)>,
    room: Room,
}

/// Room to work in.
#[derive(Default)]
struct Room {
    scratch: Scratch,
    row: Vec<u8>,
}

impl TableFold {
    /// The fold of a table which has the columns of `target`; `base` are its rows in the backup,
    /// if it was there. Absent when they are what they were.
    ///
    /// # Errors
    /// [`ErrorKind::UnsupportedFormat`] when its rows are not known at the moment.
    pub fn open(
        recovery: &Arc<Recovery>,
        table: u32,
        base: Option<&Data>,
        target: &Data,
    ) -> Result<Option<Arc<Self>>> {
        let units = units(recovery, table);
        let name = match units.last() {
            Some(unit) => format!("{}.{}", unit.version.schema, unit.version.name),
            None => format!("{table}"),
        };
        if recovery.is_unknown(table) {
            let message = format!(
                "rows of table {name} are not known at the moment: a command rewrote or filled it \
                 after the backup, and it is large"
            );
            return Err(Error::new(ErrorKind::UnsupportedFormat, message)
                .hint("Restore to a moment before that, or after a later backup or copy by pgkeep stream.")
                .hint("Leave the table out: -T NAME"));
        }
        let none = Missing::new();
        let missing = recovery.missing(table).unwrap_or(&none);
        let to = numbers(target);
        let mut columns = base.map_or_else(|| to.clone(), numbers);
        let (mut stages, mut mappings) = (Vec::new(), Vec::new());
        let known = |unit: &Unit| {
            let (layout, version) = (recovery.layout(table, unit.index(recovery)), &unit.version);
            let from = |name: &str| match layout {
                Some(layout) => layout.iter().find(|(_, it)| it == name).map(|(number, _)| *number),
                None => number_of(base.unwrap_or(target), name),
            };
            version_numbers(version, from)
        };
        let mut with_numbers = Vec::with_capacity(units.len());
        let mut there: HashSet<i16> = base.map(numbers).into_iter().flatten().collect();
        for mut unit in units {
            let Some(numbers) = known(&unit) else {
                // Whether it counts is seen when it is read.
                unit.is_unknown = true;
                let (key, numbers) = match with_numbers.last() {
                    Some((key, numbers, _)) => (Option::clone(key), Vec::clone(numbers)),
                    None => (None, to.clone()),
                };
                with_numbers.push((key, numbers, unit));
                continue;
            };
            // The segment of the moment has changes after it: this one comes after a column was
            // dropped that is there at the moment.
            if to.iter().any(|number| there.contains(number) && !numbers.contains(number)) {
                continue;
            }
            there.extend(&numbers);
            with_numbers.push((key(&unit.version, &numbers), numbers, unit));
        }
        let of_stages: Vec<_> = with_numbers.chunk_by(|one, next| one.0 == next.0).collect();
        let memory = recovery.memory / of_stages.len().max(1);
        for of_stage in of_stages {
            let Some((key, last, _)) = of_stage.last() else { continue };
            let mapped = of_stage.iter().map(|(_, numbers, unit)| {
                let mut unit = unit.clone();
                unit.mapping = Mapping::between(numbers, last, missing);
                unit
            });
            let position = |number: &i16| last.iter().position(|other| other == number);
            let key = key.as_ref().map(|key| key.iter().filter_map(position).collect());
            mappings.push(Mapping::between(&columns, last, missing));
            stages.push(Arc::new(Stage::new(recovery, mapped.collect(), key, memory)));
            columns.clone_from(last);
        }
        mappings.push(Mapping::between(&columns, &to, missing));
        if stages.is_empty() && mappings.iter().all(Mapping::is_same) {
            return Ok(None);
        }
        Ok(Some(Arc::new(Self { stages, mappings, name })))
    }

    /// Units of changes.
    #[must_use]
    pub fn units(&self) -> usize {
        self.stages.iter().map(|stage| stage.units()).sum()
    }

    /// The first unit of a stage.
    fn offset(&self, stage: usize) -> usize {
        self.stages.iter().take(stage).map(|stage| stage.units()).sum()
    }

    /// Whether all of it fits into memory at once, as far as the number of changes tells.
    #[must_use]
    pub fn fits(&self) -> bool {
        self.stages.iter().all(|stage| stage.fits())
    }

    /// Learns what became of all rows.
    ///
    /// # Errors
    /// What reading changes gives; [`ErrorKind::Damaged`] when they make no sense.
    pub async fn whole(self: &Arc<Self>) -> Result<Part> {
        let mut parts: Vec<Option<Arc<stage::Part>>> = vec![None; self.stages.len()];
        for (number, stage) in self.stages.iter().enumerate().rev() {
            let part = stage.whole().await?;
            let is_end = part.is_without_base();
            parts[number] = Some(Arc::new(part));
            if is_end {
                break;
            }
        }
        Ok(Part { fold: self.clone(), parts, fresh: 0..self.stages.len() })
    }

    /// Learns what became of the rows share by share, each as large as fits into memory.
    #[must_use]
    pub fn parts(self: &Arc<Self>) -> Parts {
        let count = self.stages.len();
        let shares = (0..count).map(|_| None).collect();
        Parts { fold: self.clone(), shares, current: vec![None; count], begun: false }
    }

    /// Lets a row pass through the stages from one on, and become one of the table; false when
    /// it is no more.
    fn pass(
        &self,
        parts: &[Option<Arc<stage::Part>>],
        from: usize,
        line: &[u8],
        room: &mut Room,
        rows: &mut Vec<u8>,
    ) -> Result<bool> {
        let mut row = std::mem::take(&mut room.row);
        row.clear();
        row.extend_from_slice(line);
        for (stage, part) in parts.iter().enumerate().skip(from) {
            let Some(part) = part else { return Ok(false) };
            let mapped = self.mappings[stage].row(&row).ok_or_else(unlike)?.into_owned();
            row.clear();
            let one = [(0, mapped.len())];
            if part.pass(Lines::new(&mapped, &one), &mut room.scratch, &mut row)? == 0 {
                room.row = row;
                return Ok(false);
            }
            // Without the newline.
            row.pop();
        }
        let last = &self.mappings[self.stages.len()];
        rows.extend_from_slice(&last.row(&row).ok_or_else(unlike)?);
        rows.push(b'\n');
        room.row = row;
        Ok(true)
    }

    /// Whether rows that come from a stage are those of the table.
    fn is_end(&self, stage: usize) -> bool {
        stage + 1 == self.stages.len() && self.mappings[stage + 1].is_same()
    }
}

/// The parts of a table, one after another. The shares of the last stage are the outermost:
/// for each, all shares of the stage before, and so on.
pub struct Parts {
    fold: Arc<TableFold>,
    /// What is left of each stage.
    shares: Vec<Option<stage::Parts>>,
    current: Vec<Option<Arc<stage::Part>>>,
    begun: bool,
}

impl Parts {
    /// The next part.
    ///
    /// # Errors
    /// As [`TableFold::whole`].
    pub async fn next(&mut self) -> Result<Option<Part>> {
        let count = self.fold.stages.len();
        if count == 0 {
            // Nothing but other columns.
            let part = Part { fold: self.fold.clone(), parts: Vec::new(), fresh: 0..0 };
            return Ok((!std::mem::replace(&mut self.begun, true)).then_some(part));
        }
        let Some(advanced) = self.advance().await? else { return Ok(None) };
        // Those before begin again.
        for stage in (0..advanced).rev() {
            self.current[stage] = None;
            if self.current[stage + 1].as_ref().is_none_or(|part| part.is_without_base()) {
                self.shares[stage] = None;
                continue;
            }
            let mut shares = self.fold.stages[stage].parts();
            self.current[stage] = shares.next().await?.map(Arc::new);
            self.shares[stage] = Some(shares);
        }
        let parts = self.current.clone();
        Ok(Some(Part { fold: self.fold.clone(), parts, fresh: 0..advanced + 1 }))
    }

    /// Goes on to the next share of the first stage that has one; which one that is.
    async fn advance(&mut self) -> Result<Option<usize>> {
        let count = self.fold.stages.len();
        if !std::mem::replace(&mut self.begun, true) {
            self.shares[count - 1] = Some(self.fold.stages[count - 1].parts());
        }
        for stage in 0..count {
            let next = match &mut self.shares[stage] {
                Some(shares) => shares.next().await?,
                None => None,
            };
            let done = std::mem::replace(&mut self.current[stage], next.map(Arc::new));
            // All rows have passed that could.
            if let Some(done) = done {
                done.check()?;
            }
            if self.current[stage].is_some() {
                return Ok(Some(stage));
            }
        }
        Ok(None)
    }
}

impl Part {
    /// Whether no row of the backup is left.
    #[must_use]
    pub fn is_without_base(&self) -> bool {
        self.parts.iter().flatten().any(|part| part.is_without_base())
    }

    /// Units of changes that may leave rows.
    #[must_use]
    pub fn units(&self) -> Range<usize> {
        let stages = self.fresh.clone();
        let first = stages.clone().find(|stage| self.parts[*stage].is_some());
        let start = first.and_then(|first| {
            let part = self.parts[first].as_ref()?;
            Some(self.fold.offset(first) + part.units().start)
        });
        let end = self.fold.offset(stages.end);
        start.unwrap_or(end)..end
    }

    /// The rows that the changes of a unit leave in the end, as COPY text.
    ///
    /// # Errors
    /// As [`TableFold::whole`].
    pub async fn changed(&self, unit: usize) -> Result<Vec<u8>> {
        let fold = &self.fold;
        let mut stage = 0;
        while stage + 1 < fold.stages.len() && unit >= fold.offset(stage + 1) {
            stage += 1;
        }
        let none = || Error::new(ErrorKind::Internal, "changes are behind a truncate");
        let part = self.parts.get(stage).and_then(Option::as_ref).ok_or_else(none)?;
        let rows = part.changed(unit - fold.offset(stage)).await?;
        if fold.is_end(stage) {
            return Ok(rows);
        }
        let (mut passed, mut room) = (Vec::with_capacity(rows.len()), Room::default());
        for line in rows.split_inclusive(|byte| *byte == b'\n') {
            let line = line.strip_suffix(b"\n").unwrap_or(line);
            fold.pass(&self.parts, stage + 1, line, &mut room, &mut passed)?;
        }
        Ok(passed)
    }

    /// What a chunk of rows of the backup has become; returns how many rows were added.
    /// `passing` keeps the beginning of a row that goes on in the next chunk.
    ///
    /// # Errors
    /// [`ErrorKind::Damaged`] when the rows have other columns than their changes.
    pub fn pass(&self, chunk: &[u8], passing: &mut Passing, rows: &mut Vec<u8>) -> Result<u64> {
        let mut count = 0;
        let mut start = 0;
        if !passing.begun.is_empty()
            && let Some(end) = memchr::memchr(b'\n', chunk)
        {
            let mut begun = std::mem::take(&mut passing.begun);
            begun.extend_from_slice(&chunk[..end]);
            count += self.pass_rows(&begun, &[(0, begun.len())], &mut passing.room, rows)?;
            start = end + 1;
        }
        let mut bounds = std::mem::take(&mut passing.bounds);
        bounds.clear();
        for end in memchr::memchr_iter(b'\n', &chunk[start..]) {
            let begins = bounds.last().map_or(start, |(_, end)| end + 1);
            bounds.push((begins, start + end));
        }
        count += self.pass_rows(chunk, &bounds, &mut passing.room, rows)?;
        let whole = bounds.last().map_or(start, |(_, end)| end + 1);
        passing.begun.extend_from_slice(&chunk[whole..]);
        passing.bounds = bounds;
        Ok(count)
    }

    fn pass_rows(
        &self,
        text: &[u8],
        bounds: &[(usize, usize)],
        room: &mut Room,
        rows: &mut Vec<u8>,
    ) -> Result<u64> {
        let fold = &self.fold;
        let lines = Lines::new(text, bounds);
        let passed = match self.parts.as_slice() {
            [Some(part)] if fold.mappings.iter().all(Mapping::is_same) => {
                part.pass(lines, &mut room.scratch, rows)
            }
            parts => lines.iter().try_fold(0, |count, line| {
                fold.pass(parts, 0, line, room, rows).map(|passes| count + u64::from(passes))
            }),
        };
        passed.map_err(|error| {
            let message = format!("could not fold the rows of table {}", fold.name);
            Error::new(error.kind(), message).because(error)
        })
    }

    /// Checks, when all rows of the backup have passed, that those were among them that the
    /// changes speak of. What [`Parts`] gives it checks itself.
    ///
    /// # Errors
    /// [`ErrorKind::Damaged`] when some were not.
    pub fn check(&self) -> Result<()> {
        self.parts.iter().flatten().try_for_each(|part| part.check())
    }
}

impl Passing {
    /// Checks that no row is left half passed.
    ///
    /// # Errors
    /// [`ErrorKind::Damaged`] when one is.
    pub fn end(&self) -> Result<()> {
        if self.begun.is_empty() { Ok(()) } else { Err(unlike()) }
    }
}

/// The numbers of the columns of rows; in their order where they are not known.
fn numbers(data: &Data) -> Vec<i16> {
    let in_order = || (1..).take(data.columns.len()).collect();
    data.numbers.clone().filter(|it| it.len() == data.columns.len()).unwrap_or_else(in_order)
}

fn number_of(data: &Data, name: &str) -> Option<i16> {
    let at = data.columns.iter().position(|column| column == name)?;
    numbers(data).get(at).copied()
}

/// The numbers of a version's columns, from their names where it does not say; absent when one
/// is not known.
fn version_numbers(
    version: &RelationVersion,
    from: impl Fn(&str) -> Option<i16>,
) -> Option<Vec<i16>> {
    let number = |column: &pgkeep_format::segment::VersionColumn| {
        column.number.or_else(|| from(&column.name))
    };
    version.columns.iter().map(number).collect()
}

/// The columns that identify a row. With the identity of a whole row all columns do, and equal
/// rows may be there more than once.
fn key(version: &RelationVersion, numbers: &[i16]) -> Option<Vec<i16>> {
    let columns = version.columns.iter().zip(numbers);
    let key: Vec<i16> =
        columns.filter(|(column, _)| column.is_key).map(|(_, number)| *number).collect();
    (version.replica_identity != "f" && !key.is_empty()).then_some(key)
}
