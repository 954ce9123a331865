//! The floor of a backup: as many connections as a backup has drain `COPY` of all tables, in the
//! same ranges of blocks, and throw away what comes. Nothing that reads rows with `COPY` is faster
//! than this. (A backup selects binary rows, which costs the server less: docs/decisions/0023.)
//!
//! `floor SOCKET_DIRECTORY PORT DATABASE JOBS text|binary`, on a server that trusts the user
//! postgres. Prints the rows' bytes.

use std::collections::VecDeque;
use std::error::Error;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::{Mutex, PoisonError};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// As much as pgkeep reads at a time.
const READ_BYTES: usize = 256 << 10;

/// A tag byte and a length, which counts itself.
const HEADER_BYTES: usize = 5;

/// One statement for each table, or for each 16,384 blocks of it, largest table first: as
/// pgkeep's plan of a backup has them.
const PLAN: &str = "
    SELECT pg_catalog.format('COPY (SELECT * FROM ONLY %s%s) TO STDOUT (FORMAT FORMAT_NAME)',
             c.oid::pg_catalog.regclass,
             CASE WHEN parts = 1 THEN ''
                  WHEN part < parts - 1 THEN pg_catalog.format(
                       ' WHERE ctid >= ''(%s,0)'' AND ctid < ''(%s,0)''',
                       part * 16384, (part + 1) * 16384)
                  ELSE pg_catalog.format(' WHERE ctid >= ''(%s,0)''', part * 16384) END)
    FROM pg_catalog.pg_class c
    CROSS JOIN LATERAL (SELECT pg_catalog.pg_table_size(c.oid) AS bytes,
                               greatest(1, (pg_catalog.pg_relation_size(c.oid) / 8192 + 16383)
                                           / 16384) AS parts) AS size
    CROSS JOIN LATERAL pg_catalog.generate_series(0, parts - 1) AS part
    WHERE c.relkind = 'r' AND c.relnamespace::pg_catalog.regnamespace::text
          NOT IN ('pg_catalog', 'information_schema')
    ORDER BY bytes DESC, c.oid, part";

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [directory, port, database, jobs, format] = arguments.as_slice() else {
        return Err("floor SOCKET_DIRECTORY PORT DATABASE JOBS text|binary".into());
    };
    let connect = || Line::connect(&format!("{directory}/.s.PGSQL.{port}"), database);
    let statements: VecDeque<String> =
        connect()?.rows(&PLAN.replace("FORMAT_NAME", format))?.into();
    let statements = Mutex::new(statements);
    let drain = || -> Result<u64> {
        let mut line = connect()?;
        line.rows("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")?;
        let next = || statements.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        let mut bytes = 0;
        while let Some(statement) = next() {
            bytes += line.drain(&statement)?;
        }
        Ok(bytes)
    };
    let bytes = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..jobs.parse()?).map(|_| scope.spawn(drain)).collect();
        let ended =
            threads.into_iter().map(|thread| thread.join().map_err(|_| "a thread ended")?);
        ended.sum::<Result<u64>>()
    })?;
    println!("{bytes}");
    Ok(())
}

/// A connection, and what came through it and is not used yet.
struct Line {
    stream: UnixStream,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

impl Line {
    fn connect(socket: &str, database: &str) -> Result<Self> {
        let stream = UnixStream::connect(socket)?;
        let mut line = Self { stream, buffer: vec![0; READ_BYTES], start: 0, end: 0 };
        // Protocol 3.0.
        let mut startup = 196_608u32.to_be_bytes().to_vec();
        startup.extend(format!("user\0postgres\0database\0{database}\0\0").into_bytes());
        line.send(&[], &startup)?;
        line.until_ready(|_| ())?;
        Ok(line)
    }

    fn send(&mut self, tag: &[u8], body: &[u8]) -> Result<()> {
        let length = u32::try_from(body.len() + 4)?;
        Ok(self.stream.write_all(&[tag, &length.to_be_bytes(), body].concat())?)
    }

    fn query(&mut self, sql: &str) -> Result<()> {
        self.send(b"Q", format!("{sql}\0").as_bytes())
    }

    /// The rows of a query that gives one column.
    fn rows(&mut self, sql: &str) -> Result<Vec<String>> {
        let mut rows = Vec::new();
        self.query(sql)?;
        // A count of columns and the length of the first come before it.
        self.until_ready(|row| rows.push(String::from_utf8_lossy(&row[6..]).into_owned()))?;
        Ok(rows)
    }

    /// Throws a COPY's rows away; returns how many bytes they were.
    fn drain(&mut self, sql: &str) -> Result<u64> {
        self.query(sql)?;
        self.until_ready(|_| ())
    }

    /// Reads until the server waits for the next query, gives rows of a query to `on_row`, and
    /// returns the bytes of rows of a COPY, which are counted and never looked at.
    fn until_ready(&mut self, mut on_row: impl FnMut(&[u8])) -> Result<u64> {
        let mut bytes = 0;
        loop {
            while self.end - self.start < HEADER_BYTES {
                self.fill()?;
            }
            let header = &self.buffer[self.start..self.start + HEADER_BYTES];
            let tag = header[0];
            let length = u32::from_be_bytes([header[1], header[2], header[3], header[4]]);
            let length = usize::try_from(length)?.saturating_sub(4);
            self.start += HEADER_BYTES;
            match tag {
                b'd' => {
                    bytes += u64::try_from(length)?;
                    self.skip(length)?;
                }
                b'D' => on_row(&self.body(length)?),
                b'Z' => return self.skip(length).map(|()| bytes),
                b'E' => return Err(String::from_utf8_lossy(&self.body(length)?).into()),
                _ => self.skip(length)?,
            }
        }
    }

    fn skip(&mut self, mut length: usize) -> Result<()> {
        while length > self.end - self.start {
            length -= self.end - self.start;
            self.start = self.end;
            self.fill()?;
        }
        self.start += length;
        Ok(())
    }

    fn body(&mut self, length: usize) -> Result<Vec<u8>> {
        let mut body = Vec::new();
        while body.len() < length {
            if self.start == self.end {
                self.fill()?;
            }
            let piece = (length - body.len()).min(self.end - self.start);
            body.extend_from_slice(&self.buffer[self.start..self.start + piece]);
            self.start += piece;
        }
        Ok(body)
    }

    fn fill(&mut self) -> Result<()> {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        match self.stream.read(&mut self.buffer[self.end..])? {
            0 => Err("the server closed the connection".into()),
            count => {
                self.end += count;
                Ok(())
            }
        }
    }
}
