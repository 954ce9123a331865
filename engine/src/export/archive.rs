//! The table of contents (`toc.dat`) of an archive in PostgreSQL's directory format, version
//! 1.16, which `pg_restore` 17 and later read. Bytes only; nothing here knows a backup.
//!
//! ```text
//! "PGDMP" version format compression | time, database, versions | count | entry …
//! integer = sign byte, 4 bytes little endian        string = length, bytes; absent: -1
//! ```

use crate::{Error, ErrorKind, Result};

/// Major, minor and revision.
const VERSION: [u8; 3] = [1, 16, 0];
/// Bytes of an integer, without its sign.
const INTEGER_LEN: u8 = 4;
/// Bytes of an offset; a directory has none.
const OFFSET_LEN: u8 = 8;
/// The code of the tar format, which stands also for a directory.
const FORMAT: u8 = 3;
const NO_COMPRESSION: u8 = 0;

/// What an archive says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header<'a> {
    /// When it was taken, seconds since 1970 UTC.
    pub(super) taken_at: i64,
    pub(super) database: &'a str,
    /// The server's version as people write it.
    pub(super) server: &'a str,
    /// The program that made it.
    pub(super) program: &'a str,
}

/// Which part of a restore an entry is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    /// That of the entry before it.
    Same = 1,
    PreData = 2,
    Data = 3,
    PostData = 4,
}

/// An entry of the table of contents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Item<'a> {
    pub(super) id: i32,
    /// Its name, and what it is, as `pg_restore -l` shows them.
    pub(super) tag: &'a str,
    pub(super) kind: &'a str,
    pub(super) part: Part,
    pub(super) create: &'a str,
    pub(super) drop: &'a str,
    /// The COPY statement for its rows.
    pub(super) copy: &'a str,
    pub(super) schema: Option<&'a str>,
    /// The tablespace that `pg_restore` sets before it; empty for the database's own.
    pub(super) tablespace: Option<&'a str>,
    /// The table access method that `pg_restore` sets before it.
    pub(super) access_method: Option<&'a str>,
    /// `pg_class.relkind`, 0 where there is none.
    pub(super) relkind: u8,
    /// Empty where no owner is set.
    pub(super) owner: &'a str,
    /// Ids of what must be there first; of rows and of what is said about an object, the
    /// table or object comes first.
    pub(super) depends_on: &'a [i32],
    /// The file with its rows.
    pub(super) file: Option<&'a str>,
}

impl Item<'_> {
    /// An item that makes nothing.
    pub(super) const EMPTY: Item<'static> = Item {
        id: 0,
        tag: "",
        kind: "",
        part: Part::PreData,
        create: "",
        drop: "",
        copy: "",
        schema: None,
        tablespace: None,
        access_method: None,
        relkind: 0,
        owner: "",
        depends_on: &[],
        file: None,
    };
}

/// A table of contents in the making.
pub(super) struct Contents {
    bytes: Vec<u8>,
    count_at: usize,
    count: i32,
}

impl Contents {
    pub(super) fn new(header: &Header<'_>) -> Result<Self> {
        let mut contents = Self { bytes: b"PGDMP".to_vec(), count_at: 0, count: 0 };
        contents.bytes.extend(VERSION);
        contents.bytes.extend([INTEGER_LEN, OFFSET_LEN, FORMAT, NO_COMPRESSION]);
        for number in broken_down(header.taken_at) {
            contents.integer(number);
        }
        contents.string(Some(header.database))?;
        contents.string(Some(header.server))?;
        contents.string(Some(header.program))?;
        contents.count_at = contents.bytes.len();
        contents.integer(0);
        Ok(contents)
    }

    /// Adds an item.
    ///
    /// # Errors
    /// [`ErrorKind::Damaged`] for a text that holds a zero byte or is too long to be told.
    pub(super) fn add(&mut self, item: &Item<'_>) -> Result<()> {
        self.count += 1;
        self.integer(item.id);
        self.integer(i32::from(item.file.is_some()));
        // OIDs of the catalog and of the object, which only pg_dump itself uses.
        self.string(Some("0"))?;
        self.string(Some("0"))?;
        self.string(Some(item.tag))?;
        self.string(Some(item.kind))?;
        self.integer(item.part as i32);
        self.string(Some(item.create))?;
        self.string(Some(item.drop))?;
        self.string(Some(item.copy))?;
        self.string(item.schema)?;
        self.string(item.tablespace)?;
        self.string(item.access_method)?;
        self.integer(i32::from(item.relkind));
        self.string(Some(item.owner))?;
        // Whether its table has OIDs, which no server has had since version 12.
        self.string(Some("false"))?;
        for id in item.depends_on {
            self.string(Some(&id.to_string()))?;
        }
        self.string(None)?;
        self.string(Some(item.file.unwrap_or_default()))
    }

    pub(super) fn finish(mut self) -> Vec<u8> {
        let end = self.bytes.split_off(self.count_at);
        self.integer(self.count);
        let count_len = self.bytes.len() - self.count_at;
        self.bytes.extend_from_slice(&end[count_len..]);
        self.bytes
    }

    fn integer(&mut self, number: i32) {
        self.bytes.push(u8::from(number < 0));
        self.bytes.extend(number.unsigned_abs().to_le_bytes());
    }

    fn string(&mut self, text: Option<&str>) -> Result<()> {
        let Some(text) = text else {
            self.integer(-1);
            return Ok(());
        };
        // pg_restore reads it as a C string.
        let len = i32::try_from(text.len()).ok().filter(|_| !text.contains('\0'));
        let len = len.ok_or_else(|| {
            Error::new(ErrorKind::Damaged, "text of an object cannot be written into an archive")
        })?;
        self.integer(len);
        self.bytes.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

/// Second, minute, hour, day, month from 0, years since 1900, no summer time.
fn broken_down(seconds: i64) -> [i32; 7] {
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // Counted from 1 March of year 0, a leap day is the last day of its year, and months
    // have 153 days in fives.
    let day = days + 719_468;
    let (era, day) = (day.div_euclid(146_097), day.rem_euclid(146_097));
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 2, 0) } else { (month - 10, 1) };
    let year = year + era * 400 + next;
    [second % 60, second / 60 % 60, second / 3_600, day, month, year - 1_900, 0]
        .map(|number| i32::try_from(number).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_broken_down() {
        assert_eq!(broken_down(0), [0, 0, 0, 1, 0, 70, 0]);
        assert_eq!(broken_down(951_782_399), [59, 59, 23, 28, 1, 100, 0]);
        assert_eq!(broken_down(951_782_400), [0, 0, 0, 29, 1, 100, 0]);
        assert_eq!(broken_down(1_795_478_399), [59, 59, 23, 23, 10, 126, 0]);
        assert_eq!(broken_down(-1), [59, 59, 23, 31, 11, 69, 0]);
        assert_eq!(broken_down(i64::MAX)[6], 0);
    }

    #[test]
    fn a_table_of_contents_counts_its_items() {
        let header = Header { taken_at: 0, database: "d", server: "18.4", program: "p" };
        let mut contents = Contents::new(&header).unwrap();
        let before = contents.bytes.len();
        contents.add(&Item { id: 7, tag: "t", depends_on: &[3, 4], ..Item::EMPTY }).unwrap();
        contents.add(&Item { id: 8, ..Item::EMPTY }).unwrap();
        let bytes = contents.finish();
        assert_eq!(bytes[..12], *b"PGDMP\x01\x10\x00\x04\x08\x03\x00");
        assert_eq!(bytes[before - 5..before], [0, 2, 0, 0, 0]);
        assert_eq!(bytes[before..before + 5], [0, 7, 0, 0, 0]);
    }

    #[test]
    fn a_text_with_a_zero_byte_is_refused() {
        let header = Header { taken_at: 0, database: "d\0", server: "18.4", program: "p" };
        assert_eq!(
            Contents::new(&header).err().map(|error| error.kind()),
            Some(ErrorKind::Damaged)
        );
    }
}
