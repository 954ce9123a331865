//! Progress of long work. The engine's events are summed up as they come, from many tasks;
//! a thread of its own looks at the sums from time to time and shows them: two lines that
//! are drawn again on a terminal, a plain line every few seconds elsewhere, JSON lines with
//! `--json`.

use super::status::{Labels, Status, Sums};
use super::{Output, json, line};
use crate::interrupt;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use pgkeep_engine::Result;
use pgkeep_engine::progress::{Event, Interrupt, Progress};
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
