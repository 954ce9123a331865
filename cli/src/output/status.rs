//! How far a long run is: the engine's events summed up. How that looks is not told here.

use pgkeep_engine::progress::Event;
use serde::Serialize;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How far back the speed looks.
const SPEED_WINDOW: Duration = Duration::from_secs(10);
/// Samples kept for the speed: enough for the window at the quickest interval.
const SAMPLES_MAX: usize = 128;

/// What the numbers of a kind of work are called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Labels {
    /// After the plain bytes: `in`.
    pub(crate) bytes: &'static str,
    /// After the bytes of the store; absent where they are not shown.
    pub(crate) stored: Option<&'static str>,
    /// What is counted: `tables`.
    pub(crate) things: &'static str,
}

/// How far the work is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Status {
    /// What is being done, as a short text.
    pub(super) phase: String,
    /// Whole seconds since the work began.
    pub(super) seconds_elapsed: u64,
    /// Whole seconds until the rows are done, as far as can be told.
    pub(super) seconds_remaining: Option<u64>,
    /// Tables that are done.
    pub(super) tables_done: u64,
    /// Tables to do; 0 while that is not known.
    pub(super) tables_total: u64,
    /// Rows so far.
    pub(super) rows: u64,
    /// Plain bytes so far.
    pub(super) bytes: u64,
    /// Plain bytes to do, often estimated.
    pub(super) bytes_total: Option<u64>,
    /// Bytes written to or read from the store so far.
    pub(super) stored_bytes: u64,
    /// Plain bytes a second, of late.
    pub(super) bytes_per_second: u64,
    /// The tables in work.
    pub(super) in_work: Vec<String>,
    /// The last step that has a name.
    #[serde(skip)]
    pub(super) step: Option<String>,
}

impl Status {
    /// How much is done; below 100 as long as there is a status at all.
    pub(super) fn percent(&self) -> Option<u64> {
        let total = self.bytes_total.filter(|total| *total > 0)?;
        let percent = u128::from(self.bytes) * 100 / u128::from(total);
        Some(u64::try_from(percent).unwrap_or(u64::MAX).min(99))
    }
}

/// The sums of all events so far.
#[derive(Debug)]
pub(super) struct Sums {
    status: Status,
    began: Instant,
    samples: VecDeque<(Instant, u64)>,
    /// Warnings so far.
    pub(super) warnings: Vec<String>,
}

impl Sums {
    /// Nothing so far; `phase` has begun.
    pub(super) fn new(phase: &str) -> Self {
        let status = Status {
            phase: phase.to_owned(),
            seconds_elapsed: 0,
            seconds_remaining: None,
            tables_done: 0,
            tables_total: 0,
            rows: 0,
            bytes: 0,
            bytes_total: None,
            stored_bytes: 0,
            bytes_per_second: 0,
            in_work: Vec::new(),
            step: None,
        };
        Self { status, began: Instant::now(), samples: VecDeque::new(), warnings: Vec::new() }
    }

    /// Adds what an event says.
    pub(super) fn add(&mut self, event: Event) {
        let status = &mut self.status;
        match event {
            Event::Phase(phase) => {
                status.phase = phase;
                status.step = None;
            }
            Event::Plan { tables, bytes } => {
                status.tables_total = tables;
                status.bytes_total = Some(bytes);
            }
            Event::TableStarted { table } => status.in_work.push(table),
            Event::TableFinished { table, .. } => {
                status.tables_done += 1;
                if let Some(at) = status.in_work.iter().position(|name| *name == table) {
                    status.in_work.remove(at);
                }
            }
            Event::Advanced { rows, bytes, stored } => {
                status.rows = status.rows.saturating_add(rows);
                status.bytes = status.bytes.saturating_add(bytes);
                status.stored_bytes = status.stored_bytes.saturating_add(stored);
            }
            Event::Step(step) => status.step = Some(step),
            Event::Warning(text) => self.warnings.push(text),
            _ => {}
        }
    }

    /// The status as of `now`, with speed and time left.
    pub(super) fn look(&mut self, now: Instant) -> Status {
        let bytes = self.status.bytes;
        self.samples.push_back((now, bytes));
        while self.samples.len() > SAMPLES_MAX
            || self.samples.front().is_some_and(|(at, _)| now.duration_since(*at) > SPEED_WINDOW)
        {
            self.samples.pop_front();
        }
        let oldest = self.samples.front().copied().unwrap_or((now, bytes));
        let millis = now.duration_since(oldest.0).as_millis();
        let speed =
            (u128::from(bytes.saturating_sub(oldest.1)) * 1000).checked_div(millis).unwrap_or(0);
        let speed = u64::try_from(speed).unwrap_or(u64::MAX);
        let left = self.status.bytes_total.and_then(|total| total.checked_sub(bytes));
        Status {
            seconds_elapsed: now.duration_since(self.began).as_secs(),
            seconds_remaining: left
                .filter(|left| *left > 0)
                .and_then(|left| left.checked_div(speed)),
            bytes_per_second: speed,
            ..self.status.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn advanced(bytes: u64) -> Event {
        Event::Advanced { rows: 10, bytes, stored: bytes / 10 }
    }

    #[test]
    fn sums_follow_the_events() {
        let mut sums = Sums::new("starting");
        let table = || "app.jobs".to_owned();
        sums.add(Event::Phase("copying rows".into()));
        sums.add(Event::Plan { tables: 2, bytes: 1_000 });
        sums.add(Event::TableStarted { table: table() });
        sums.add(advanced(400));
        sums.add(advanced(200));
        let status = sums.look(Instant::now());
        assert_eq!((status.rows, status.bytes, status.stored_bytes), (20, 600, 60));
        assert_eq!(status.in_work, [table()]);
        assert_eq!(status.percent(), Some(60));
        sums.add(Event::TableFinished { table: table(), rows: 20, bytes: 600 });
        let status = sums.look(Instant::now());
        assert_eq!((status.tables_done, status.in_work.len()), (1, 0));
    }

    #[test]
    fn the_speed_is_that_of_late_and_gives_the_time_left() {
        let mut sums = Sums::new("copying rows");
        sums.add(Event::Plan { tables: 1, bytes: 100_000 });
        let start = Instant::now();
        sums.look(start);
        sums.add(advanced(10_000));
        let status = sums.look(start + Duration::from_secs(10));
        assert_eq!((status.bytes_per_second, status.seconds_remaining), (1_000, Some(90)));
        sums.add(advanced(40_000));
        let status = sums.look(start + Duration::from_secs(20));
        assert_eq!((status.bytes_per_second, status.seconds_remaining), (4_000, Some(12)));
        let status = sums.look(start + Duration::from_secs(40));
        assert_eq!((status.bytes_per_second, status.seconds_remaining), (0, None));
    }
}
