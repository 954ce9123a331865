//! A position in the WAL, as PostgreSQL writes it.

use std::fmt;
use std::str::FromStr;

/// A log sequence number: bytes from the beginning of the WAL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Lsn(pub u64);

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}/{:X}", self.0 >> 32, self.0 & 0xffff_ffff)
    }
}

impl FromStr for Lsn {
    type Err = String;

    /// Reads `16/B374D848`: two hexadecimal numbers of at most eight digits.
    fn from_str(text: &str) -> Result<Self, String> {
        let half = |digits: &str| {
            let valid = (1..=8).contains(&digits.len())
                && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
            valid.then(|| u64::from_str_radix(digits, 16).ok()).flatten()
        };
        text.split_once('/')
            .and_then(|(high, low)| Some(Self(half(high)? << 32 | half(low)?)))
            .ok_or_else(|| format!("\"{text}\" is no position in the WAL, such as 16/B374D848"))
    }
}

#[cfg(test)]
mod tests {
    use super::Lsn;

    #[test]
    fn a_position_reads_back_what_it_prints_and_nothing_else_is_one() {
        for (text, lsn) in
            [("0/0", 0), ("16/B374D848", 0x16_b374_d848), ("FFFFFFFF/FFFFFFFF", u64::MAX)]
        {
            assert_eq!(text.parse(), Ok(Lsn(lsn)));
            assert_eq!(Lsn(lsn).to_string(), text);
        }
        for text in ["", "/", "1", "1/", "/1", "+1/2", "1/2/3", "123456789/0", "g/0", "1/-2"] {
            assert!(text.parse::<Lsn>().is_err(), "{text}");
        }
    }
}
