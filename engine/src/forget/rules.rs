//! Retention by rule: which backups of one series are kept, and why.
//!
//! The rules are restic's: of each hour, day, week, month or year that has a backup, the newest one,
//! for so many of them. Ages are counted from the newest backup of the series, not from now: a
//! clock that is wrong, or backups that stopped, forget nothing.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use std::time::Duration;

/// What is kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rules {
    /// So many of the newest.
    pub last: u32,
    /// Of so many hours, the newest backup of each.
    pub hourly: u32,
    /// Of so many days.
    pub daily: u32,
    /// Of so many weeks, which begin on Monday.
    pub weekly: u32,
    /// Of so many months.
    pub monthly: u32,
    /// Of so many years.
    pub yearly: u32,
    /// All that are not older than this.
    pub within: Option<Duration>,
    /// Those with a tag, until they are older than this.
    pub tags: Vec<TagRule>,
}

/// Backups with a tag are kept for a time of their own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagRule {
    /// The tag's key or its value, or both as `key=value`.
    pub tag: String,
    /// How long.
    pub age: Duration,
}

/// A backup as rules see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Candidate<'a> {
    /// Microseconds since 1970 UTC.
    pub(super) finished_at: i64,
    pub(super) tags: Vec<(&'a str, &'a str)>,
}

impl Rules {
    /// Whether there is none, so that nothing would be kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The reasons why each of these backups is kept, which come newest first; none where it is
    /// not.
    pub(super) fn reasons(
        &self,
        newest_first: &[Candidate<'_>],
        zone: &TimeZone,
    ) -> Vec<Vec<String>> {
        let newest = newest_first.first().map_or(0, |newest| newest.finished_at);
        let mut periods = [
            Period::new("hourly", self.hourly, |date, hour| (date, hour)),
            Period::new("daily", self.daily, |date, _| (date, 0)),
            Period::new("weekly", self.weekly, |date, _| (monday(date), 0)),
            Period::new("monthly", self.monthly, |date, _| (date.first_of_month(), 0)),
            Period::new("yearly", self.yearly, |date, _| (date.first_of_year(), 0)),
        ];
        let reasons = newest_first.iter().enumerate().map(|(position, backup)| {
            let mut reasons = Vec::new();
            if position < self.last as usize {
                reasons.push(format!("last {}", self.last));
            }
            let local = Timestamp::from_microsecond(backup.finished_at)
                .unwrap_or_default()
                .to_zoned(zone.clone())
                .datetime();
            for period in &mut periods {
                reasons.extend(period.take(local.date(), local.hour()));
            }
            let age = Duration::from_micros(newest.abs_diff(backup.finished_at));
            if self.within.is_some_and(|within| age <= within) {
                reasons.push("within".to_owned());
            }
            let tagged = self.tags.iter().filter(|rule| rule.matches(backup) && age <= rule.age);
            reasons.extend(tagged.map(|rule| format!("tag {}", rule.tag)));
            reasons
        });
        reasons.collect()
    }
}

impl TagRule {
    fn matches(&self, backup: &Candidate<'_>) -> bool {
        backup.tags.iter().any(|(key, value)| match self.tag.split_once('=') {
            Some(pair) => pair == (key, value),
            None => self.tag == *key || self.tag == *value,
        })
    }
}

/// One rule of a length of time.
struct Period {
    name: &'static str,
    left: u32,
    all: u32,
    key: fn(Date, i8) -> (Date, i8),
    last: Option<(Date, i8)>,
}

impl Period {
    fn new(name: &'static str, count: u32, key: fn(Date, i8) -> (Date, i8)) -> Self {
        Self { name, left: count, all: count, key, last: None }
    }

    /// The reason, where this backup is the newest of a period that counts.
    fn take(&mut self, date: Date, hour: i8) -> Option<String> {
        let key = (self.key)(date, hour);
        if self.left == 0 || self.last == Some(key) {
            return None;
        }
        self.last = Some(key);
        self.left -= 1;
        Some(format!("{} {}", self.name, self.all - self.left))
    }
}

fn monday(date: Date) -> Date {
    let days = i64::from(date.weekday().to_monday_zero_offset());
    date.checked_sub(jiff::Span::new().days(days)).unwrap_or(date)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> i64 {
        text.parse::<Timestamp>().unwrap().as_microsecond()
    }

    /// Which of these moments, newest first, are kept.
    fn kept<'a>(rules: &Rules, moments: &[&'a str], zone: &TimeZone) -> Vec<&'a str> {
        let candidates: Vec<_> = moments
            .iter()
            .map(|moment| Candidate { finished_at: at(moment), tags: Vec::new() })
            .collect();
        let reasons = rules.reasons(&candidates, zone);
        let kept = moments.iter().zip(reasons).filter(|(_, reasons)| !reasons.is_empty());
        kept.map(|(moment, _)| *moment).collect()
    }

    const DAYS: [&str; 6] = [
        "2026-03-02T23:30:00Z",
        "2026-03-02T04:00:00Z",
        "2026-03-01T04:00:00Z",
        "2026-02-28T04:00:00Z",
        "2026-01-15T04:00:00Z",
        "2025-12-31T04:00:00Z",
    ];

    #[test]
    fn the_newest_of_each_period_is_kept_for_so_many_periods() {
        let zone = TimeZone::UTC;
        let daily = Rules { daily: 2, ..Rules::default() };
        assert_eq!(kept(&daily, &DAYS, &zone), [DAYS[0], DAYS[2]]);
        let weekly = Rules { weekly: 2, ..Rules::default() };
        assert_eq!(kept(&weekly, &DAYS, &zone), [DAYS[0], DAYS[2]], "1 March 2026 is a Sunday");
        let monthly = Rules { monthly: 3, ..Rules::default() };
        assert_eq!(kept(&monthly, &DAYS, &zone), [DAYS[0], DAYS[3], DAYS[4]]);
        let yearly = Rules { yearly: 9, ..Rules::default() };
        assert_eq!(kept(&yearly, &DAYS, &zone), [DAYS[0], DAYS[5]]);
        let hourly = Rules { hourly: 2, ..Rules::default() };
        assert_eq!(kept(&hourly, &DAYS, &zone), DAYS[..2]);
        let last = Rules { last: 1, monthly: 1, ..Rules::default() };
        assert_eq!(kept(&last, &DAYS, &zone), DAYS[..1]);
    }

    #[test]
    fn a_day_is_one_of_the_machines_time_zone() {
        let daily = Rules { daily: 1, last: 0, ..Rules::default() };
        let zone = TimeZone::fixed(jiff::tz::offset(2));
        // Half past one on the third, local time.
        assert_eq!(kept(&daily, &DAYS[..2], &zone), DAYS[..1]);
        let two = Rules { daily: 2, ..Rules::default() };
        assert_eq!(kept(&two, &DAYS[..2], &zone), DAYS[..2]);
    }

    #[test]
    fn ages_count_from_the_newest_backup() {
        let day = Duration::from_secs(24 * 3600);
        let within = Rules { within: Some(3 * day), ..Rules::default() };
        assert_eq!(kept(&within, &DAYS, &TimeZone::UTC), DAYS[..4]);
    }

    #[test]
    fn tags_are_kept_for_their_time() {
        let day = Duration::from_secs(24 * 3600);
        let rule = |tag: &str| Rules {
            tags: vec![TagRule { tag: tag.to_owned(), age: 40 * day }],
            ..Rules::default()
        };
        let tagged = |moment: &str, tags| Candidate { finished_at: at(moment), tags };
        let backups = [
            tagged(DAYS[0], vec![]),
            tagged(DAYS[3], vec![("reason", "deploy")]),
            tagged(DAYS[5], vec![("reason", "deploy")]),
        ];
        for tag in ["deploy", "reason", "reason=deploy"] {
            let reasons = rule(tag).reasons(&backups, &TimeZone::UTC);
            assert_eq!(reasons[1], [format!("tag {tag}")]);
            assert!(reasons[0].is_empty() && reasons[2].is_empty());
        }
        assert!(rule("reason=other").reasons(&backups, &TimeZone::UTC)[1].is_empty());
    }
}
