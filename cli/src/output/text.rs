//! Numbers, sizes, times and names as people read them.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::fmt::Write;
use std::time::Duration;

const UNITS: [&str; 6] = ["kB", "MB", "GB", "TB", "PB", "EB"];

/// A size in decimal units, three digits at least: `999 B`, `1.23 MB`, `45.6 GB`.
pub(crate) fn bytes(bytes: u64) -> String {
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    let mut value = bytes as f64 / 1000.0;
    let mut unit = 0;
    // 999.5 would be shown as 1000.
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    let digits = if value < 9.995 { 2 } else { usize::from(value < 99.95) };
    format!("{value:.digits$} {}", UNITS[unit])
}

/// A count with its thousands apart: `1,234,567`.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3 + 1);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A count of things: `1 table`, `1,234 tables`.
pub(crate) fn counted(number: u64, thing: &str) -> String {
    format!("{} {thing}{}", count(number), if number == 1 { "" } else { "s" })
}

/// A duration: `0.4 s`, `12.3 s`, `4:05 min`, `2:03:04 h`.
pub(crate) fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..60 => format!("{:.1} s", duration.as_secs_f64()),
        60..3600 => format!("{}:{:02} min", seconds / 60, seconds % 60),
        _ => format!("{} h", clock(seconds)),
    }
}

/// Seconds as a clock shows them: `0:07`, `12:34`, `1:02:03`.
pub(crate) fn clock(seconds: u64) -> String {
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match hours {
        0 => format!("{minutes}:{seconds:02}"),
        _ => format!("{hours}:{minutes:02}:{seconds:02}"),
    }
}

/// A moment, microseconds since 1970 UTC, in this machine's zone: `2026-11-23 01:22:38`.
pub(crate) fn local_time(micros: i64) -> String {
    in_zone(micros, TimeZone::system())
}

fn in_zone(micros: i64, zone: TimeZone) -> String {
    Timestamp::from_microsecond(micros).map_or_else(
        |_| "out of range".to_owned(),
        |moment| moment.to_zoned(zone).strftime("%Y-%m-%d %H:%M:%S").to_string(),
    )
}

/// A moment, microseconds since 1970 UTC, for programs: `2026-11-23T01:22:38.123456Z`.
/// Absent beyond the year 9999.
pub(crate) fn rfc3339(micros: i64) -> Option<String> {
    let moment = Timestamp::from_microsecond(micros).ok()?;
    Some(moment.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string())
}

/// Text from outside made harmless to a terminal, on one line: what controls it is shown
/// as an escape.
pub(crate) fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if is_control(character) {
            let _infallible = write!(shown, "{}", character.escape_default());
        } else {
            shown.push(character);
        }
    }
    shown
}

/// As [`printable`], with line ends and tabs left as they are.
pub(crate) fn printable_lines(text: &str) -> String {
    let lines = text.split('\n');
    let shown: Vec<String> =
        lines.map(|line| line.split('\t').map(printable).collect::<Vec<_>>().join("\t")).collect();
    shown.join("\n")
}

/// Control characters, and those that turn the direction of text.
fn is_control(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_has_three_digits_and_the_right_unit() {
        for (size, expected) in [
            (0, "0 B"),
            (999, "999 B"),
            (1_000, "1.00 kB"),
            (999_499, "999 kB"),
            (999_500, "1.00 MB"),
            (9_994_000, "9.99 MB"),
            (9_996_000, "10.0 MB"),
            (123_456_789, "123 MB"),
            (2_900_000_000, "2.90 GB"),
            (u64::MAX, "18.4 EB"),
        ] {
            assert_eq!(bytes(size), expected, "{size}");
        }
    }

    #[test]
    fn thousands_stand_apart() {
        for (number, expected) in
            [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")]
        {
            assert_eq!(count(number), expected);
        }
    }

    #[test]
    fn one_thing_is_no_plural() {
        assert_eq!(counted(1, "table"), "1 table");
        assert_eq!(counted(0, "row"), "0 rows");
        assert_eq!(counted(1_000, "row"), "1,000 rows");
    }

    #[test]
    fn durations_grow_from_seconds_to_hours() {
        for (seconds, expected) in
            [(0.42, "0.4 s"), (59.9, "59.9 s"), (245.0, "4:05 min"), (7384.0, "2:03:04 h")]
        {
            assert_eq!(duration(Duration::from_secs_f64(seconds)), expected);
        }
    }

    #[test]
    fn a_moment_is_shown_in_its_zone_and_kept_to_the_microsecond() {
        let micros = 1_795_396_958_000_001;
        let zone = TimeZone::fixed(jiff::tz::offset(2));
        assert_eq!(in_zone(micros, zone), "2026-11-23 03:22:38");
        assert_eq!(rfc3339(micros).as_deref(), Some("2026-11-23T01:22:38.000001Z"));
        assert_eq!(rfc3339(i64::MAX), None);
        assert_eq!(local_time(i64::MIN), "out of range");
    }

    #[test]
    fn text_from_outside_cannot_steer_the_terminal() {
        assert_eq!(printable("a\u{1b}[2Jb\nc"), "a\\u{1b}[2Jb\\nc");
        assert_eq!(printable("größe 表"), "größe 表");
        assert_eq!(printable("\u{202e}txt"), "\\u{202e}txt");
        assert_eq!(printable_lines("a\n\tb\r"), "a\n\tb\\r");
    }
}
