//! Progress of long work. The engine's events are summed up as they come, from many tasks;
//! a thread of its own looks at the sums from time to time and shows them: two lines that
//! are drawn again on a terminal, a plain line every few seconds elsewhere, JSON lines with
//! `--json`.

use super::{Output, json, line};
use crate::interrupt;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use pgkeep_engine::Result;
use pgkeep_engine::progress::{Event, Interrupt, Progress};
use serde::Serialize;
use std::collections::VecDeque;
use std::io::IsTerminal;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const TERMINAL_INTERVAL: Duration = Duration::from_millis(100);
const PLAIN_INTERVAL: Duration = Duration::from_secs(5);
const JSON_INTERVAL: Duration = Duration::from_secs(1);
/// Columns of a terminal that does not tell.
const WIDTH_DEFAULT: usize = 80;
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
struct Sums {
    status: Status,
    began: Instant,
    samples: VecDeque<(Instant, u64)>,
    warnings: Vec<String>,
}

impl Sums {
    fn new(phase: &str) -> Self {
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

    fn add(&mut self, event: Event) {
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
    fn look(&mut self, now: Instant) -> Status {
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

/// Listens to the engine.
#[derive(Debug)]
struct Meter {
    sums: Mutex<Sums>,
    output: Output,
    bars: Option<Bars>,
}

impl Meter {
    fn sums(&self) -> MutexGuard<'_, Sums> {
        // A panic elsewhere leaves sums that are still good to show.
        self.sums.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says something without tearing the lines that are being drawn again.
    fn say(&self, say: impl FnOnce()) {
        match &self.bars {
            Some(bars) => bars.all.suspend(say),
            None => say(),
        }
    }
}

impl Progress for Meter {
    fn event(&self, event: Event) {
        match &event {
            Event::Warning(text) => self.say(|| self.output.warning(text)),
            Event::Step(text) if self.output.verbose > 0 => {
                self.say(|| self.output.note(&super::printable(text)));
            }
            Event::Phase(text) if self.output.verbose > 0 => {
                self.say(|| self.output.note(&format!("{text} …")));
            }
            _ => {}
        }
        self.sums().add(event);
    }
}

/// The lines on a terminal that are drawn again and again.
#[derive(Debug)]
struct Bars {
    all: MultiProgress,
    summary: ProgressBar,
    in_work: ProgressBar,
}

impl Bars {
    fn new() -> Self {
        let all = MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
        let style = ProgressStyle::with_template("{msg}")
            .unwrap_or_else(|_| ProgressStyle::default_spinner());
        let line = || all.add(ProgressBar::no_length().with_style(style.clone()));
        let (summary, in_work) = (line(), line());
        Self { all, summary, in_work }
    }

    fn draw(&self, status: &Status, labels: Labels) {
        let width = terminal_width();
        self.summary.set_message(line::summary(status, labels, width));
        self.in_work.set_message(line::in_work(status, width));
        self.summary.tick();
        self.in_work.tick();
    }

    fn clear(&self) {
        self.summary.finish_and_clear();
        self.in_work.finish_and_clear();
    }
}

/// Columns of the terminal on standard error, asked anew because windows change.
fn terminal_width() -> usize {
    let size = terminal_size::terminal_size_of(std::io::stderr());
    // A terminal that tells no size tells 0.
    size.map(|(width, _)| usize::from(width.0)).filter(|width| *width > 0).unwrap_or(WIDTH_DEFAULT)
}

/// Work that shows its progress until it is [finished](Running::finish).
#[derive(Debug)]
pub(crate) struct Running {
    meter: Arc<Meter>,
    ticker: Option<(Sender<()>, JoinHandle<()>)>,
}

impl Running {
    /// Begins to show progress, in the way that `output` asks for.
    pub(crate) fn start(output: Output, labels: Labels, phase: &str) -> Self {
        let terminal = output.progress && !output.json && std::io::stderr().is_terminal();
        let bars = terminal.then(Bars::new);
        let meter = Arc::new(Meter { sums: Mutex::new(Sums::new(phase)), output, bars });
        let ticker = output.progress.then(|| {
            let (stop, stopped) = channel();
            let meter = Arc::clone(&meter);
            (stop, std::thread::spawn(move || show(&meter, labels, &stopped)))
        });
        Self { meter, ticker }
    }

    /// What the engine tells its progress to.
    pub(crate) fn progress(&self) -> Arc<dyn Progress> {
        let meter: Arc<Meter> = Arc::clone(&self.meter);
        meter
    }

    /// Listens to signals while the work goes on, and says so when the first one comes.
    ///
    /// # Errors
    /// As [`interrupt::listen`].
    pub(crate) fn interrupt(&self) -> Result<Interrupt> {
        let meter = Arc::clone(&self.meter);
        interrupt::listen(move || {
            let text = "stopping; a second signal ends pgkeep at once";
            meter.say(|| meter.output.note(text));
        })
    }

    /// Stops showing progress; returns the warnings that were shown.
    pub(crate) fn finish(mut self) -> Vec<String> {
        self.stop();
        std::mem::take(&mut self.meter.sums().warnings)
    }

    fn stop(&mut self) {
        if let Some((stop, ticker)) = self.ticker.take() {
            drop(stop);
            // The thread only draws; what it could not draw is no loss.
            let _drawn = ticker.join();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Shows the status from time to time until the other end of `stopped` goes away.
fn show(meter: &Meter, labels: Labels, stopped: &Receiver<()>) {
    let interval = match (&meter.bars, meter.output.json) {
        (Some(_), _) => TERMINAL_INTERVAL,
        (None, true) => JSON_INTERVAL,
        (None, false) => PLAIN_INTERVAL,
    };
    while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(interval) {
        let status = meter.sums().look(Instant::now());
        match &meter.bars {
            Some(bars) => bars.draw(&status, labels),
            None if meter.output.json => {
                // A reader that went away finds no summary either.
                let _gone = json::line(&json::Line::Status(&status));
            }
            None => meter.output.note(&line::plain(&status, labels)),
        }
    }
    if let Some(bars) = &meter.bars {
        bars.clear();
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
