//! Dates and times as PostgreSQL writes them with DateStyle ISO, IntervalStyle postgres, in UTC.

use super::number::padded;
use super::{append, invalid, number};
use pgkeep_format::FormatError;

const DAY_MICROS: i64 = 86_400_000_000;
/// 2000-01-01, in days since 1970-01-01.
const EPOCH_DAYS: i64 = 10_957;

/// Days since 2000-01-01.
pub(super) fn date(days: i32, text: &mut Vec<u8>) {
    match days {
        i32::MAX => text.extend_from_slice(b"infinity"),
        i32::MIN => text.extend_from_slice(b"-infinity"),
        _ => {
            let is_before_christ = civil(days.into(), text);
            era(is_before_christ, text);
        }
    }
}

/// Microseconds since 2000-01-01, and what follows the time of day.
pub(super) fn timestamp(micros: i64, zone: &str, text: &mut Vec<u8>) {
    match micros {
        i64::MAX => text.extend_from_slice(b"infinity"),
        i64::MIN => text.extend_from_slice(b"-infinity"),
        _ => {
            let is_before_christ = civil(micros.div_euclid(DAY_MICROS), text);
            text.push(b' ');
            clock(micros.rem_euclid(DAY_MICROS), text);
            text.extend_from_slice(zone.as_bytes());
            era(is_before_christ, text);
        }
    }
}

/// Microseconds since midnight.
pub(super) fn time(micros: i64, text: &mut Vec<u8>) -> Result<(), FormatError> {
    if !(0..=DAY_MICROS).contains(&micros) {
        return Err(invalid("a time of day is not within a day"));
    }
    clock(micros, text);
    Ok(())
}

/// Seconds west of Greenwich.
pub(super) fn zone(seconds: i32, text: &mut Vec<u8>) -> Result<(), FormatError> {
    if seconds.unsigned_abs() >= 86_400 {
        return Err(invalid("a time zone is a day away"));
    }
    let (sign, seconds) = (if seconds > 0 { '-' } else { '+' }, seconds.abs());
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    append(text, format_args!("{sign}{hours:02}"));
    if minutes != 0 || seconds != 0 {
        append(text, format_args!(":{minutes:02}"));
    }
    if seconds != 0 {
        append(text, format_args!(":{seconds:02}"));
    }
    Ok(())
}

/// As `EncodeInterval`.
pub(super) fn interval(micros: i64, days: i32, months: i32, text: &mut Vec<u8>) {
    match (micros, days, months) {
        (i64::MAX, i32::MAX, i32::MAX) => return text.extend_from_slice(b"infinity"),
        (i64::MIN, i32::MIN, i32::MIN) => return text.extend_from_slice(b"-infinity"),
        _ => {}
    }
    let start = text.len();
    let mut was_negative = false;
    for (count, unit) in [(months / 12, "year"), (months % 12, "mon"), (days, "day")] {
        if count == 0 {
            continue;
        }
        let space = if text.len() > start { " " } else { "" };
        let plus = if was_negative && count > 0 { "+" } else { "" };
        let plural = if count == 1 { "" } else { "s" };
        append(text, format_args!("{space}{plus}{count} {unit}{plural}"));
        was_negative = count < 0;
    }
    if micros == 0 && text.len() > start {
        return;
    }
    if text.len() > start {
        text.push(b' ');
    }
    match micros < 0 {
        true => text.push(b'-'),
        false if was_negative => text.push(b'+'),
        false => {}
    }
    let micros = micros.unsigned_abs();
    append(text, format_args!("{:02}", micros / 3_600_000_000));
    minutes(micros % 3_600_000_000, text);
}

/// Appends year, month and day, a day counted from 2000-01-01; whether that is before Christ.
fn civil(days: i64, text: &mut Vec<u8>) -> bool {
    let (year, month, day) = civil_of(days + EPOCH_DAYS);
    // There is no year 0: it is 1 BC.
    let shown = if year > 0 { year } else { 1 - year };
    if (0..10_000).contains(&shown) {
        padded::<4>(shown.unsigned_abs(), text);
    } else {
        number::integer(shown, text);
    }
    text.push(b'-');
    padded::<2>(month, text);
    text.push(b'-');
    padded::<2>(day, text);
    year <= 0
}

/// Year, month and day of the Gregorian calendar, also before it was made; from days since
/// 1970-01-01. Years begin in March here, so that the leap day is the last one.
fn civil_of(days: i64) -> (i64, u64, u64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (year_of_era + era * 400 + next, month.unsigned_abs(), day.unsigned_abs())
}

fn era(is_before_christ: bool, text: &mut Vec<u8>) {
    if is_before_christ {
        text.extend_from_slice(b" BC");
    }
}

/// The time of day.
fn clock(micros: i64, text: &mut Vec<u8>) {
    let micros = micros.unsigned_abs();
    padded::<2>(micros / 3_600_000_000, text);
    minutes(micros % 3_600_000_000, text);
}

/// Minutes, seconds and fractions of seconds without zeros at their end.
fn minutes(micros: u64, text: &mut Vec<u8>) {
    text.push(b':');
    padded::<2>(micros / 60_000_000, text);
    text.push(b':');
    padded::<2>(micros / 1_000_000 % 60, text);
    let fraction = micros % 1_000_000;
    if fraction != 0 {
        text.push(b'.');
        padded::<6>(fraction, text);
        while text.last() == Some(&b'0') {
            text.pop();
        }
    }
}
