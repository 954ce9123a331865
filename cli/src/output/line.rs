//! How far the work is, as lines of text. Pure: numbers in, text out.

use super::status::{Labels, Status};
use super::text::{bytes, clock, count, printable};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Cells of the bar.
const BAR_WIDTH: usize = 16;

/// The first line on a terminal: what is done, how far, how fast, how long yet. On a narrow
/// terminal the least important parts are left out.
pub(super) fn summary(status: &Status, labels: Labels, width: usize) -> String {
    // Importance, greatest first; the order on the line is that of the list.
    let mut parts: Vec<(u8, String)> = vec![(9, status.phase.clone())];
    if let Some(percent) = status.percent() {
        parts.push((2, bar(percent)));
        parts.push((8, format!("{percent} %")));
    }
    if status.rows > 0 {
        parts.push((3, format!("{} rows", count(status.rows))));
    }
    if status.bytes > 0 {
        parts.push((5, format!("{} {}", bytes(status.bytes), labels.bytes)));
    }
    if let (Some(stored), true) = (labels.stored, status.stored_bytes > 0) {
        parts.push((4, format!("{} {stored}", bytes(status.stored_bytes))));
    }
    if status.bytes_per_second > 0 {
        parts.push((6, format!("{}/s", bytes(status.bytes_per_second))));
    }
    match status.seconds_remaining {
        Some(seconds) => parts.push((7, format!("{} left", clock(seconds)))),
        None => parts.push((1, clock(status.seconds_elapsed))),
    }
    while parts.len() > 1 && joined(&parts).width() > width {
        let least = parts.iter().enumerate().min_by_key(|(_, (importance, _))| *importance);
        let Some(at) = least.map(|(at, _)| at) else { break };
        parts.remove(at);
    }
    shorten(&joined(&parts), width)
}

fn joined(parts: &[(u8, String)]) -> String {
    parts.iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>().join("  ")
}

fn bar(percent: u64) -> String {
    let filled = usize::try_from(percent).unwrap_or(100).min(100) * BAR_WIDTH / 100;
    format!("[{}{}]", "#".repeat(filled), "-".repeat(BAR_WIDTH - filled))
}

/// The second line on a terminal: the tables in work; empty without any.
pub(super) fn in_work(status: &Status, width: usize) -> String {
    let names: Vec<String> = status.in_work.iter().map(|name| printable(name)).collect();
    let done = match status.tables_total {
        0 => String::new(),
        total => format!("{}/{total}", status.tables_done),
    };
    let text = match (names.is_empty(), &status.step) {
        (false, _) => format!("  {done} {}", names.join(", ")),
        (true, Some(step)) => format!("  {done} {}", printable(step)),
        (true, None) => return String::new(),
    };
    shorten(&text, width)
}

/// One plain line, for logs.
pub(super) fn plain(status: &Status, labels: Labels) -> String {
    let mut parts = vec![status.phase.clone()];
    if let Some(percent) = status.percent() {
        parts.push(format!("{percent} %"));
    }
    if status.tables_total > 0 {
        parts.push(format!("{}/{} {}", status.tables_done, status.tables_total, labels.things));
    }
    if status.rows > 0 {
        parts.push(format!("{} rows", count(status.rows)));
    }
    if status.bytes > 0 {
        parts.push(format!("{} {}", bytes(status.bytes), labels.bytes));
    }
    if let (Some(stored), true) = (labels.stored, status.stored_bytes > 0) {
        parts.push(format!("{} {stored}", bytes(status.stored_bytes)));
    }
    if status.bytes_per_second > 0 {
        parts.push(format!("{}/s", bytes(status.bytes_per_second)));
    }
    if let Some(seconds) = status.seconds_remaining {
        parts.push(format!("{} left", clock(seconds)));
    }
    format!("[{}] {}", clock(status.seconds_elapsed), parts.join(", "))
}

/// Cuts text to the width of a terminal; an ellipsis shows that something is missing.
fn shorten(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut shown = String::new();
    let mut used = 0;
    for character in text.chars() {
        used += character.width().unwrap_or(0);
        if used >= width {
            break;
        }
        shown.push(character);
    }
    if width > 0 {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status() -> Status {
        Status {
            phase: "copying rows".into(),
            tables_done: 3,
            tables_total: 12,
            rows: 1_234_567,
            bytes: 430_000_000,
            bytes_total: Some(1_000_000_000),
            stored_bytes: 90_000_000,
            bytes_per_second: 52_000_000,
            seconds_elapsed: 8,
            seconds_remaining: Some(11),
            in_work: vec!["app.jobs".into(), "app.\u{1b}x".into()],
            step: None,
        }
    }

    const LABELS: Labels = Labels { bytes: "in", stored: Some("stored"), things: "tables" };

    #[test]
    fn a_wide_terminal_shows_everything() {
        assert_eq!(
            summary(&status(), LABELS, 120),
            "copying rows  [######----------]  43 %  1,234,567 rows  430 MB in  90.0 MB stored  \
             52.0 MB/s  0:11 left"
        );
        assert_eq!(in_work(&status(), 80), "  3/12 app.jobs, app.\\u{1b}x");
    }

    #[test]
    fn a_narrow_terminal_shows_what_matters_most_and_never_wraps() {
        assert_eq!(summary(&status(), LABELS, 30), "copying rows  43 %  0:11 left");
        for width in 0..130 {
            assert!(summary(&status(), LABELS, width).width() <= width, "{width}");
            assert!(in_work(&status(), width).width() <= width, "{width}");
        }
    }

    #[test]
    fn a_log_line_holds_the_numbers() {
        assert_eq!(
            plain(&status(), LABELS),
            "[0:08] copying rows, 43 %, 3/12 tables, 1,234,567 rows, 430 MB in, 90.0 MB stored, \
             52.0 MB/s, 0:11 left"
        );
    }

    #[test]
    fn an_estimate_that_was_too_low_never_shows_a_hundred_percent() {
        let status = Status { bytes_total: Some(1_000), ..status() };
        assert_eq!(status.percent(), Some(99));
        assert_eq!(Status { bytes_total: Some(0), ..status }.percent(), None);
    }
}
