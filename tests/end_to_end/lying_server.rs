//! A server that lies, about its messages or about its catalogs, gets an error or a backup of
//! its lies: the program never panics, takes no more memory than it may, and writes nowhere
//! but into its repository.

use crate::repository;
use pgkeep_tests::liar::{Heard, Liar, Said, data_row, fields, message};
use pgkeep_tests::{Database, Outcome, Repository, Server};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

/// Data that the program may hold at most, in bytes: an answer as large as it takes, as it
/// came and as rows.
const MEMORY_MAX: u64 = 2 << 30;

const DATA_ROW: u8 = b'D';

fn source(server: &Server) -> Database<'_> {
    let database = server.database();
    database.load("relations.sql", &[]);
    database
}

/// Runs the program with bounded memory where it can write nothing unseen.
#[track_caller]
fn run(repository: &Repository, arguments: &[&str]) -> Outcome {
    let nowhere = tempfile::tempdir().unwrap();
    let plain = repository.command();
    let mut command = Command::new("prlimit");
    command.arg(format!("--data={MEMORY_MAX}")).arg("--").arg(plain.get_program());
    command.env_clear().envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.env("TMPDIR", nowhere.path()).current_dir(nowhere.path()).args(arguments);
    let home = repository.directory().parent().unwrap().to_owned();
    let names = || {
        let mut names: Vec<_> =
            std::fs::read_dir(&home).unwrap().map(|file| file.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let before = names();
    let outcome = Outcome::of(&mut command);
    assert_eq!(std::fs::read_dir(nowhere.path()).unwrap().count(), 0);
    assert_eq!(names(), before);
    outcome
}

fn back_up(liar: &Liar, database: &str) -> Outcome {
    run(&repository(), &["backup", "-d", &liar.uri(database)])
}

/// A liar that says something else in place of one message.
fn instead_of(server: &Server, tag: u8, number: usize, said: Said) -> Liar {
    Liar::before(server, move |heard| {
        if (heard.tag, heard.number) == (tag, number) { said.clone() } else { Said::Truth }
    })
}

/// Asserts that a backup ends with an error that says this, wherever the lie is told.
#[track_caller]
fn assert_refused(tag: u8, said: &Said, because: &[&str]) {
    let server = Server::shared(18);
    let source = source(server);
    for number in [0, 5] {
        let outcome = back_up(&instead_of(server, tag, number, said.clone()), source.name());
        let outcome = outcome.code(1);
        let told = because.iter().any(|because| outcome.stderr.contains(because));
        assert!(told, "{said:.60?} in place of message {number}: {}", outcome.stderr);
    }
}

#[test]
fn impossible_lengths_of_messages_are_refused() {
    for length in [0u32, 3, 0x4000_0000, 0x7fff_ffff, u32::MAX] {
        let header = [&[DATA_ROW], &length.to_be_bytes()[..]].concat();
        assert_refused(DATA_ROW, &Said::Bytes(header), &["server announced a message"]);
    }
}

#[test]
fn rows_that_break_their_own_lengths_are_refused() {
    let rows = [
        message(DATA_ROW, b""),
        message(DATA_ROW, &[0, 0]),
        message(DATA_ROW, &[0xff, 0xff]),
        message(DATA_ROW, &[0, 2, 0x7f, 0xff, 0xff, 0xff, b'x']),
        data_row(&vec![None; 5000]),
    ];
    for row in rows {
        assert_refused(DATA_ROW, &Said::Bytes(row), &["connection to the server is lost"]);
    }
}

#[test]
fn answers_without_end_are_refused() {
    let notice = message(b'N', b"SNOTICE\0C00000\0Mword\0\0");
    for endless in [data_row(&[]), notice, message(b'I', b"")] {
        let said = Said::Endless(endless);
        assert_refused(b'C', &said, &["answer is too large", "connection to the server is lost"]);
    }
    let parameters = (0..20_000).map(|number| format!("name{number}\0value\0"));
    let parameters: Vec<u8> =
        parameters.flat_map(|parameter| message(b'S', parameter.as_bytes())).collect();
    assert_refused(b'C', &Said::Endless(parameters), &["server's answer is too large"]);
}

#[test]
fn rows_that_are_wide_and_empty_are_counted_by_what_they_take() {
    let server = Server::shared(18);
    let source = source(server);
    let column = [b"c\0".as_slice(), &[0; 18]].concat();
    let description = [&60_000u16.to_be_bytes()[..], &column.repeat(60_000)].concat();
    let rows = data_row(&vec![None; 60_000]).repeat(700);
    let said = Said::Bytes([message(b'T', &description), rows].concat());
    let outcome = back_up(&instead_of(server, b'T', 3, said), source.name()).code(1);
    assert!(outcome.stderr.contains("server's answer is too large"), "{}", outcome.stderr);
}

#[test]
fn copy_that_nobody_asked_for_is_refused() {
    for copy in [message(b'H', &[0, 0, 0]), message(b'G', &[0, 0, 0]), message(b'd', b"row\n")] {
        let said = Said::Bytes(copy);
        assert_refused(b'T', &said, &["connection to the server is lost", "makes no sense"]);
    }
}

#[test]
fn versions_that_cannot_be_are_refused() {
    let server = Server::shared(18);
    let source = source(server);
    for version in ["", "99", "-180000", "1e9", "99999999999999999999", &"9".repeat(10 << 20)] {
        let row = data_row(&[Some(version.into()), Some(b"1".to_vec())]);
        let liar = instead_of(server, DATA_ROW, 0, Said::Bytes(row));
        let outcome = back_up(&liar, source.name()).code(1);
        let told = ["not supported", "server returned"];
        assert!(told.iter().any(|told| outcome.stderr.contains(told)), "{}", outcome.stderr);
    }
}

#[test]
fn rows_of_copy_that_are_none_are_refused() {
    let server = Server::shared(18);
    // Points come as text.
    let source = server.database();
    source
        .query("CREATE TABLE t (p point); INSERT INTO t SELECT '(1,2)' FROM generate_series(1, 4)");
    let long = vec![b'x'; 64 << 20];
    let copies = [
        Said::Bytes(message(b'd', &long)),
        Said::Bytes(message(b'd', b"")),
        Said::Bytes(message(b'd', b"one\ntwo")),
        Said::Last([b"d", &0x7fff_ffffu32.to_be_bytes()[..], &long].concat()),
        Said::Bytes(message(b'd', &[&long[..], b"\n"].concat()).repeat(3)),
        Said::Bytes(message(b'c', b"")),
        Said::Bytes(vec![b'd', 0, 0, 0, 3]),
    ];
    for said in copies {
        let outcome = back_up(&instead_of(server, b'd', 2, said), source.name()).code(1);
        assert!(outcome.stderr.contains("server"), "{}", outcome.stderr);
    }
}

#[test]
fn rows_of_a_query_that_are_none_are_refused() {
    let server = Server::shared(18);
    let source = server.database();
    source.query("CREATE TABLE t (id int); INSERT INTO t SELECT generate_series(1, 4)");
    let long = vec![b'x'; 64 << 20];
    let rows = [
        Said::Bytes(message(DATA_ROW, b"")),
        Said::Bytes(message(DATA_ROW, b"\0")),
        Said::Bytes(message(DATA_ROW, &[&[0xff, 0xff], &long[..]].concat())),
        Said::Last([&[DATA_ROW], &0x7fff_ffffu32.to_be_bytes()[..], &long].concat()),
        Said::Bytes(message(DATA_ROW, &long).repeat(3)),
        Said::Bytes(message(b'c', b"")),
        Said::Bytes(message(b'd', b"1\n")),
        Said::Bytes(vec![DATA_ROW, 0, 0, 0, 3]),
        Said::Bytes(Vec::new()),
    ];
    for said in rows {
        // Rows of tables are those that follow a BindComplete.
        let is_next = AtomicBool::new(false);
        let liar = Liar::before(server, move |heard| match heard.tag {
            b'2' => {
                is_next.store(true, Ordering::Relaxed);
                Said::Truth
            }
            DATA_ROW if is_next.swap(false, Ordering::Relaxed) => said.clone(),
            _ => Said::Truth,
        });
        let outcome = back_up(&liar, source.name()).code(1);
        assert!(outcome.stderr.contains("server"), "{}", outcome.stderr);
    }
}

#[test]
fn a_server_that_goes_away_anywhere_is_a_lost_connection() {
    let server = Server::shared(18);
    let source = source(server);
    source.query("CREATE TABLE t (p point); INSERT INTO t VALUES ('(1,2)'), ('(3,4)')");
    let places = [(b'R', 0), (b'S', 3), (b'K', 0), (b'Z', 0), (b'T', 0), (DATA_ROW, 0), (b'C', 0)];
    let places = places.into_iter().chain([(b'T', 9), (DATA_ROW, 99), (b'C', 9), (b'd', 1)]);
    let places = places.chain([(b'1', 0), (b'2', 0)]);
    for (tag, number) in places {
        for cut in [0, 1, 4, 5, 6, 9] {
            let liar = Liar::before(server, move |heard: Heard<'_>| {
                if (heard.tag, heard.number) != (tag, number) {
                    return Said::Truth;
                }
                let whole = message(heard.tag, heard.body);
                Said::Last(whole[..cut.min(whole.len() - 1)].to_vec())
            });
            let outcome = back_up(&liar, source.name()).code(1);
            assert!(outcome.stderr.contains("server"), "{}", outcome.stderr);
        }
    }
}

/// What is done to one row of a catalog.
#[derive(Debug, Clone)]
enum Lie {
    Nothing,
    Everything(Option<Vec<u8>>),
    Field(usize, Option<Vec<u8>>),
    Digit(usize, u8),
    Leave(usize),
    Twice,
    Fields(usize),
}

impl Lie {
    fn told(&self, body: &[u8]) -> Vec<u8> {
        let mut row = fields(body);
        let count = row.len().max(1);
        match self {
            Lie::Nothing => return Vec::new(),
            Lie::Everything(value) => row.fill(value.clone()),
            Lie::Field(at, value) => {
                row.get_mut(at % count).into_iter().for_each(|field| field.clone_from(value));
            }
            // One number becomes another: an object that is not there, itself, another one.
            Lie::Digit(at, digit) => {
                let mut fields = row.iter_mut().flatten().filter(|field| !field.is_empty());
                if let Some(byte) = fields.nth(at % count).and_then(|field| field.last_mut()) {
                    *byte = *digit;
                }
            }
            Lie::Leave(at) => {
                let field = row.get_mut(at % count).and_then(Option::as_mut);
                field.into_iter().for_each(|field| field.truncate(field.len() / 2));
            }
            Lie::Twice => return data_row(&row).repeat(2),
            Lie::Fields(count) => row.resize(*count, None),
        }
        data_row(&row)
    }
}

fn values() -> impl Strategy<Value = Option<Vec<u8>>> {
    let odd: [&[u8]; 14] = [
        b"",
        b"0",
        b"-1",
        b"4294967295",
        b"99999999999999999999",
        b"t",
        b"{",
        b"{a,\"b",
        b"{{},NULL,\"\\",
        b"\xff\xfe",
        b"../../outside",
        b"x; DROP TABLE y; --\"'$$",
        b"\xe2\x80\xae\x1b[2J\r\n",
        b"postgres=r*w/keeper",
    ];
    prop_oneof![
        1 => Just(None),
        8 => prop::sample::select(odd.map(<[u8]>::to_vec).to_vec()).prop_map(Some),
        2 => any::<u32>().prop_map(|number| Some(number.to_string().into_bytes())),
        1 => Just(Some(vec![b'n'; 10 << 20])),
    ]
}

fn lies() -> impl Strategy<Value = Lie> {
    prop_oneof![
        1 => Just(Lie::Nothing),
        1 => values().prop_map(Lie::Everything),
        6 => (0usize..20, values()).prop_map(|(at, value)| Lie::Field(at, value)),
        4 => (0usize..20, b'0'..=b'9').prop_map(|(at, digit)| Lie::Digit(at, digit)),
        1 => (0usize..20).prop_map(Lie::Leave),
        2 => Just(Lie::Twice),
        1 => (0usize..30).prop_map(Lie::Fields),
    ]
}

/// Tells lies about catalogs, one in `period` rows, to runs of the program.
fn lie_at_random(cases: u32, tell: impl Fn(Liar) -> Outcome, server: &'static Server) {
    let config =
        Config { cases, max_shrink_iters: 0, failure_persistence: None, ..Config::default() };
    let case = (prop::collection::vec(lies(), 1..6), prop_oneof![1usize..20, 1usize..3000]);
    let result = TestRunner::new(config).run(&case, |(lies, period)| {
        let liar = Liar::before(server, move |heard: Heard<'_>| {
            // The first row is the server's version, which another test is about.
            if heard.tag != DATA_ROW || heard.number == 0 || !heard.number.is_multiple_of(period) {
                return Said::Truth;
            }
            Said::Bytes(lies[heard.number / period % lies.len()].told(heard.body))
        });
        let outcome = tell(liar);
        match outcome.status.code() {
            Some(0 | 3) => Ok(()),
            Some(1) if outcome.stderr.contains("error") => Ok(()),
            _ => Err(TestCaseError::fail(format!(
                "{} (signal {:?}): {:.4000}",
                outcome.status,
                outcome.status.signal(),
                outcome.stderr
            ))),
        }
    });
    if let Err(failure) = result {
        panic!("{failure}");
    }
}

#[test]
fn catalogs_full_of_lies_break_no_backup() {
    let server = Server::shared(18);
    let source = source(server);
    lie_at_random(60, |liar| back_up(&liar, source.name()), server);
}

#[test]
fn catalogs_full_of_lies_break_no_restore() {
    let server = Server::shared(18);
    let repository = repository();
    repository.backup(&source(server).uri(), &[]);
    let restore = |liar: Liar| {
        let copy = server.database();
        run(&repository, &["restore", "-d", &liar.uri(copy.name())])
    };
    lie_at_random(15, restore, server);
    // What the lies were about is as it was.
    let copy = server.database();
    repository.restore(&copy.uri(), &[]);
}
