//! Values that clap reads for several commands: durations, pairs.

use super::repository::Sse;
use pgkeep_engine::catalog::Provider;
use pgkeep_engine::export::RestrictKey;
use pgkeep_engine::forget::TagRule;
use pgkeep_engine::history::Condition;
use pgkeep_engine::store::{LockMode, RATE_MIN};
use pgkeep_format::entry::Section;
use pgkeep_format::id::PackId;
use std::num::{NonZeroU32, NonZeroU64, NonZeroUsize};
use std::time::Duration;

/// Reads a duration as PostgreSQL's settings are written: a whole number, then `ms`, `s`,
/// `min` or `h`; milliseconds without a unit.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let unit_at = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(unit_at);
    let number: u64 = number.parse().map_err(|_| expected_duration())?;
    let millis = match unit.trim() {
        "" | "ms" => 1,
        "s" => 1_000,
        "min" => 60_000,
        "h" => 3_600_000,
        _ => return Err(expected_duration()),
    };
    // The server keeps lock_timeout as a signed 32-bit count of milliseconds.
    number
        .checked_mul(millis)
        .filter(|total| i32::try_from(*total).is_ok())
        .map(Duration::from_millis)
        .ok_or_else(|| "longer than the server can wait (24 days)".to_owned())
}

/// Reads how long something may take: a whole number, then `s`, `m` or `min`, `h` or `d`.
pub(super) fn budget(text: &str) -> Result<Duration, String> {
    let expected = || "expected a whole number with s, m, h or d, such as 10m".to_owned();
    let text = text.trim();
    let unit_at = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(unit_at);
    let number: u64 = number.parse().map_err(|_| expected())?;
    let seconds = match unit.trim() {
        "s" => 1,
        "m" | "min" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return Err(expected()),
    };
    number.checked_mul(seconds).map(Duration::from_secs).ok_or_else(expected)
}

/// Reads an age: whole numbers with `y`, `m` (months), `w`, `d` and `h`, such as `1y6m`. A year is
/// taken for 366 days and a month for 31: rather too long than too short.
pub(super) fn age(text: &str) -> Result<Duration, String> {
    let expected = || "expected whole numbers with y, m, w, d or h, such as 10d or 1y6m".to_owned();
    let (mut rest, mut hours) = (text.trim(), 0_u64);
    if rest.is_empty() {
        return Err(expected());
    }
    while !rest.is_empty() {
        let unit_at = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(expected)?;
        let (number, unit) = rest.split_at(unit_at);
        let number: u64 = number.parse().map_err(|_| expected())?;
        let unit_hours = match unit.chars().next() {
            Some('y') => 366 * 24,
            Some('m') => 31 * 24,
            Some('w') => 7 * 24,
            Some('d') => 24,
            Some('h') => 1,
            _ => return Err(expected()),
        };
        rest = &unit[1..];
        hours = number
            .checked_mul(unit_hours)
            .and_then(|more| hours.checked_add(more))
            .filter(|hours| *hours < 1_000_000_000)
            .ok_or_else(expected)?;
    }
    Ok(Duration::from_secs(hours * 3600))
}

/// Reads `TAG=AGE`; the tag may be a pair with an equals sign of its own.
pub(super) fn tag_rule(text: &str) -> Result<TagRule, String> {
    match text.rsplit_once('=') {
        Some((tag, text)) if !tag.is_empty() => {
            Ok(TagRule { tag: tag.to_owned(), age: age(text)? })
        }
        _ => Err("expected TAG=AGE, such as deploy=1y".to_owned()),
    }
}

fn expected_duration() -> String {
    "expected a whole number with ms, s, min or h, such as 30s".to_owned()
}

/// Reads `KEY=VALUE`; the value may be empty and may hold more equals signs.
pub(super) fn tag(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("expected KEY=VALUE, such as reason=deploy".to_owned()),
    }
}

/// Reads `COLUMN=VALUE`, or a value alone. A column is a name as psql takes it; the value may hold
/// more equals signs.
pub(super) fn condition(text: &str) -> Result<Condition, String> {
    let alone = || Condition { column: None, value: text.to_owned() };
    if let Some(quoted) = text.strip_prefix('"') {
        // Two double quotes within a name are one.
        let Some((name, value)) = quoted.split_once("\"=") else { return Ok(alone()) };
        let column = Some(name.replace("\"\"", "\""));
        return Ok(Condition { column, value: value.to_owned() });
    }
    let is_name = |name: &&str| {
        name.starts_with(|c: char| c.is_alphabetic() || c == '_')
            && name.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '$')
    };
    Ok(match text.split_once('=').filter(|(name, _)| is_name(name)) {
        Some((name, value)) => {
            Condition { column: Some(name.to_lowercase()), value: value.to_owned() }
        }
        None => alone(),
    })
}

/// Reads `OLD=NEW`, both names of schemas.
pub(super) fn rename(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((old, new)) if !old.is_empty() && !new.is_empty() => {
            Ok((old.to_owned(), new.to_owned()))
        }
        _ => Err("expected OLD=NEW, two names of schemas".to_owned()),
    }
}

/// Reads a key for psql's `\restrict`.
pub(super) fn restrict_key(text: &str) -> Result<RestrictKey, String> {
    RestrictKey::new(text).map_err(|error| error.to_string())
}

/// Reads the name of a provider.
pub(super) fn provider(text: &str) -> Result<Provider, String> {
    let named = Provider::ALL.into_iter().find(|provider| provider.name() == text);
    named.ok_or_else(|| {
        let names: Vec<_> = Provider::ALL.iter().map(|provider| provider.name()).collect();
        format!("expected {}", names.join(" or "))
    })
}

/// What the parts of a restore are called.
const SECTIONS: [(&str, Section); 3] =
    [("pre-data", Section::PreData), ("data", Section::Data), ("post-data", Section::PostData)];

/// Reads the name of a part of a restore.
pub(super) fn section(text: &str) -> Result<Section, String> {
    let named = SECTIONS.into_iter().find(|(name, _)| *name == text);
    named
        .map(|(_, section)| section)
        .ok_or_else(|| "expected pre-data, data or post-data".to_owned())
}

/// The name of a part of a restore.
pub(super) fn section_name(section: Section) -> &'static str {
    SECTIONS.into_iter().find(|(_, named)| *named == section).map_or("", |(name, _)| name)
}

/// Reads `TABLE=CONDITION`; the condition may hold more equals signs.
pub(super) fn row_filter(text: &str) -> Result<(String, String), String> {
    // An equals sign in a table's name is in double quotes.
    let mut quoted = false;
    let at = text.char_indices().find(|(_, c)| {
        quoted ^= *c == '"';
        *c == '=' && !quoted
    });
    match at.map(|(at, _)| (text[..at].trim(), text[at + 1..].trim())) {
        Some((table, condition)) if !table.is_empty() && !condition.is_empty() => {
            Ok((table.to_owned(), condition.to_owned()))
        }
        _ => {
            Err("expected TABLE=CONDITION, such as app.log=at > now() - interval '90 days'"
                .to_owned())
        }
    }
}

/// Reads a number of bytes: a whole number, then `kB`, `MB`, `GB` or `TB` as PostgreSQL means
/// them, or `KiB`, `MiB`, `GiB`, `TiB`, which are the same; bytes without a unit.
pub(super) fn bytes(text: &str) -> Result<u64, String> {
    let expected = || "expected a whole number with MiB or GiB, such as 16MiB".to_owned();
    let text = text.trim();
    let unit_at = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(unit_at);
    let number: u64 = number.parse().map_err(|_| expected())?;
    let shift = match unit.trim() {
        "" | "B" => 0,
        "kB" | "KiB" => 10,
        "MB" | "MiB" => 20,
        "GB" | "GiB" => 30,
        "TB" | "TiB" => 40,
        _ => return Err(expected()),
    };
    number.checked_mul(1 << shift).ok_or_else(expected)
}

/// Reads a rate: bytes a second as [`bytes`] reads them, or with `K`, `M` or `G` as restic's users
/// write them, which are 1024 times each other too.
pub(crate) fn rate(text: &str) -> Result<NonZeroU64, String> {
    let expected = || "expected a rate such as 500K or 10M, in bytes a second".to_owned();
    let text = text.trim();
    let number = text.strip_suffix("/s").unwrap_or(text);
    let spelled = match number.strip_suffix(['k', 'K', 'm', 'M', 'g', 'G']) {
        Some(alone) => {
            let unit = number[alone.len()..].to_ascii_uppercase();
            bytes(&format!("{alone}{unit}iB"))
        }
        None => bytes(number),
    };
    let rate = spelled.map_err(|_| expected())?;
    if rate < RATE_MIN {
        return Err(format!("expected a rate of {RATE_MIN} bytes a second or more"));
    }
    NonZeroU64::new(rate).ok_or_else(expected)
}

/// Reads how a store encrypts, by the names that S3 has for it.
pub(crate) fn sse(text: &str) -> Result<Sse, String> {
    match text {
        "AES256" => Ok(Sse::Aes256),
        "aws:kms" => Ok(Sse::Kms),
        _ => Err("expected AES256 or aws:kms".to_owned()),
    }
}

/// Reads the mode of a lock, by the names that S3 has for it.
pub(crate) fn lock_mode(text: &str) -> Result<LockMode, String> {
    match text {
        "GOVERNANCE" => Ok(LockMode::Governance),
        "COMPLIANCE" => Ok(LockMode::Compliance),
        _ => Err("expected GOVERNANCE or COMPLIANCE".to_owned()),
    }
}

/// Reads a number of days that a lock may hold.
pub(crate) fn days(text: &str) -> Result<NonZeroU32, String> {
    let days = text.parse().ok().filter(|days: &NonZeroU32| days.get() <= LOCK_DAYS_MAX);
    days.ok_or_else(|| format!("expected a number of days from 1 to {LOCK_DAYS_MAX}"))
}

/// A hundred years; stores take no longer time.
const LOCK_DAYS_MAX: u32 = 36_500;

/// Reads a time as PostgreSQL writes it or as RFC 3339 does, to microseconds since 1970 UTC; of
/// this machine's zone where none is said.
pub(super) fn time(text: &str) -> Result<i64, String> {
    let text = text.trim();
    let moment = text.parse::<jiff::Timestamp>().or_else(|_| {
        let local = text.parse::<jiff::civil::DateTime>()?;
        Ok::<_, jiff::Error>(local.to_zoned(jiff::tz::TimeZone::system())?.timestamp())
    });
    moment
        .map(|moment| moment.as_microsecond())
        .map_err(|_| "expected a time, such as '2026-11-22 14:05:00+01'".to_owned())
}

/// Reads a position in the WAL.
pub(super) fn lsn(text: &str) -> Result<u64, String> {
    text.parse::<pgkeep_engine::Lsn>().map(|lsn| lsn.0)
}

/// Reads the id of a pack, as it is or as `verify` names the pack: `packs/ab/abcd…`.
pub(super) fn pack(text: &str) -> Result<PackId, String> {
    let id = text.rsplit('/').next().unwrap_or(text);
    PackId::parse(id).map_err(|_| "expected a pack as verify names it, packs/ab/abcd…".to_owned())
}

/// Reads a number of connections.
pub(super) fn jobs(text: &str) -> Result<NonZeroUsize, String> {
    let jobs = text.parse().ok().filter(|jobs: &NonZeroUsize| jobs.get() <= JOBS_MAX);
    jobs.ok_or_else(|| format!("expected a number from 1 to {JOBS_MAX}"))
}

/// More connections than this help no server that exists.
const JOBS_MAX: usize = 256;

/// As many connections as this machine has CPUs, at most [`JOBS_DEFAULT_MAX`]: a backup must
/// leave the source room to work.
pub(super) fn default_jobs() -> NonZeroUsize {
    std::thread::available_parallelism()
        .map_or(NonZeroUsize::MIN, |cpus| cpus.min(JOBS_DEFAULT_MAX))
}

const JOBS_DEFAULT_MAX: NonZeroUsize = NonZeroUsize::MIN.saturating_add(3);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_read_as_postgresql_reads_it() {
        let millis = |text| duration(text).map(|duration| duration.as_millis());
        for (text, expected) in
            [("0", 0), ("250", 250), ("250ms", 250), ("30s", 30_000), ("2 min", 120_000)]
        {
            assert_eq!(millis(text), Ok(expected), "{text}");
        }
        for text in ["", "s", "-1s", "1.5s", "1 day", "25days", "600h", "99999999999999999999"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_budget_names_its_unit() {
        let seconds = |text| budget(text).map(|budget| budget.as_secs());
        for (text, expected) in [("10m", 600), ("90s", 90), ("2h", 7_200), ("5 min", 300)] {
            assert_eq!(seconds(text), Ok(expected), "{text}");
        }
        for text in ["", "10", "m", "-1s", "1.5h", "99999999999999999999d"] {
            assert!(budget(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_age_is_a_sum_of_whole_units() {
        let day = Duration::from_secs(24 * 3600);
        assert_eq!(age("7d"), Ok(7 * day));
        assert_eq!(age("1y6m2w3d12h"), Ok((366 + 6 * 31 + 14 + 3) * day + day / 2));
        for text in ["", "7", "d", "1.5d", "7 d", "9999999999y", "1é", "-1d"] {
            assert!(age(text).is_err(), "{text}");
        }
        assert_eq!(
            tag_rule("reason=deploy=1d"),
            Ok(TagRule { tag: "reason=deploy".to_owned(), age: day })
        );
        assert!(tag_rule("=1d").is_err() && tag_rule("deploy").is_err());
    }

    #[test]
    fn a_tag_keeps_its_later_equals_signs() {
        assert_eq!(tag("a=b=c"), Ok(("a".into(), "b=c".into())));
        assert_eq!(tag("a="), Ok(("a".into(), String::new())));
        assert!(tag("=b").is_err());
        assert!(tag("a").is_err());
    }

    #[test]
    fn a_condition_names_its_column_or_is_a_value_alone() {
        for (text, column, value) in [
            ("42", None, "42"),
            ("", None, ""),
            ("2026-11-22 14:05:00+01", None, "2026-11-22 14:05:00+01"),
            ("=x", None, "=x"),
            ("Id=42", Some("id"), "42"),
            ("id=a=b", Some("id"), "a=b"),
            ("\"Odd \"\"Name\"=7", Some("Odd \"Name"), "7"),
            ("\"no name", None, "\"no name"),
        ] {
            let expected = Condition { column: column.map(str::to_owned), value: value.to_owned() };
            assert_eq!(condition(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn a_rename_needs_both_names() {
        assert_eq!(rename("app=app_old"), Ok(("app".into(), "app_old".into())));
        for text in ["app", "app=", "=app"] {
            assert!(rename(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_rate_is_bytes_a_second() {
        let read = |text| rate(text).map(NonZeroU64::get);
        for (text, expected) in [
            ("500K", 500 << 10),
            ("500k", 500 << 10),
            ("10M", 10 << 20),
            ("10MiB", 10 << 20),
            ("1G/s", 1 << 30),
            ("4096", 4096),
        ] {
            assert_eq!(read(text), Ok(expected), "{text}");
        }
        for text in ["", "0", "M", "1.5M", "-1M", "10 parsecs", "100", "99999999999G"] {
            assert!(read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn jobs_are_between_one_and_the_limit() {
        assert_eq!(jobs("1"), Ok(NonZeroUsize::MIN));
        for text in ["0", "-1", "257", "two"] {
            assert!(jobs(text).is_err(), "{text}");
        }
        assert!(default_jobs() <= JOBS_DEFAULT_MAX);
    }
}
