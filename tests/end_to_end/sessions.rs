//! What sessions do: rows in bulk both ways, errors in the server's words, and an end that
//! leaves nothing behind at the server.

use crate::logins::{block_on, settings};
use pgkeep_engine::postgres::{RowsOut, ServerError, Session, WireSession};
use pgkeep_engine::{Error, ErrorKind};
use pgkeep_format::entry::RowEncoding;
use pgkeep_tests::{Database, Dedicated, Server, every_major};
use std::time::{Duration, Instant};

every_major!(
    rows_go_out_and_in_again_unchanged,
    errors_keep_the_servers_words,
    a_dropped_session_is_gone_at_the_server,
    a_command_can_be_cancelled,
);

async fn wire(database: &Database<'_>) -> WireSession {
    WireSession::connect(&settings(&database.uri()).unwrap(), "test").await.unwrap()
}

/// Begins to read the rows of a query, in text or binary format.
async fn rows_of<'a>(wire: &'a mut WireSession, sql: &str, in_text: bool) -> RowsOut<'a> {
    match in_text {
        true => wire.copy_out(&format!("COPY ({sql}) TO STDOUT")).await.unwrap(),
        false => wire.select(sql).await.unwrap(),
    }
}

fn state(error: &Error) -> &str {
    error.cause::<ServerError>().map_or("", |error| &error.sqlstate)
}

/// Waits until a query gives this; the server needs a moment to notice.
#[track_caller]
pub(crate) fn eventually(database: &Database<'_>, sql: &str, expected: &str) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while database.query(sql).trim() != expected {
        assert!(Instant::now() < deadline, "{sql} is still {}", database.query(sql));
    }
}

fn rows_go_out_and_in_again_unchanged(server: &Server) {
    let database = server.database();
    database.query(
        "CREATE TABLE source (id int, t text, b bytea, n numeric);
         INSERT INTO source SELECT i, repeat(E'\\t\\n\\\\ü', i % 50), sha256(i::text::bytea),
             CASE WHEN i % 7 > 0 THEN i * 1.5 END FROM generate_series(1, 20000) i;
         INSERT INTO source VALUES (0, repeat('long', 500000), NULL, 'NaN');
         CREATE TABLE empty (LIKE source);
         CREATE TABLE hollow (); INSERT INTO hollow SELECT FROM generate_series(1, 3);",
    );
    for (format, encoding) in [("text", RowEncoding::CopyText), ("binary", RowEncoding::CopyBinary)]
    {
        for (table, count) in [("source", 20_001), ("empty", 0), ("hollow", 3)] {
            database.query(&format!("CREATE TABLE copy (LIKE {table})"));
            let (sent, taken) = block_on(async {
                let (mut from, mut to) = (wire(&database).await, wire(&database).await);
                let sql = format!("SELECT * FROM {table}");
                let mut out = rows_of(&mut from, &sql, encoding == RowEncoding::CopyText).await;
                let sql = format!("COPY copy FROM STDIN (FORMAT {format})");
                let mut into = to.copy_in(&sql).await.unwrap();
                assert_eq!(into.encoding(), encoding);
                let (mut rows, mut ends) = (Vec::new(), 0);
                while let Some(row_ends) = out.next(&mut rows).await.unwrap() {
                    ends += row_ends.len() as u64;
                    assert!(rows.len() <= 256 << 10);
                    into.write(&rows).await.unwrap();
                    rows.clear();
                }
                assert_eq!(out.rows(), Some(ends));
                (ends, into.finish().await.unwrap())
            });
            assert_eq!((sent, taken), (count, count), "{table} {format}");
            let digests = database.digests();
            assert_eq!(digests["public.copy"], digests[&format!("public.{table}")]);
            database.query("DROP TABLE copy");
        }
    }
}

#[test]
fn a_row_of_300_megabytes_passes_through_little_memory() {
    let server = Server::shared(18);
    let database = server.database();
    let bytes = block_on(async {
        let mut wire = wire(&database).await;
        let sql = "SELECT repeat('x', 300000000)";
        let mut bytes = Vec::new();
        for in_text in [true, false] {
            let mut out = rows_of(&mut wire, sql, in_text).await;
            let (mut rows, mut len, mut ends) = (Vec::new(), 0, 0);
            while let Some(row_ends) = out.next(&mut rows).await.unwrap() {
                ends += row_ends.len();
                assert!(rows.len() <= 256 << 10);
                len += rows.len();
                rows.clear();
            }
            assert_eq!(ends, 1);
            bytes.push(len);
        }
        bytes
    });
    assert_eq!(bytes, [300_000_001, 300_000_006]);
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak_kib: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(peak_kib < 200_000, "{peak_kib} KiB");
}

fn errors_keep_the_servers_words(server: &Server) {
    let database = server.database();
    database.query("CREATE TABLE t (id int CHECK (id <> 5000))");
    block_on(async {
        let session = Session::connect(&settings(&database.uri()).unwrap(), "test").await.unwrap();
        let mut wire = wire(&database).await;
        for sql in ["SELECT 1; SELECT nonsense", "COPY nowhere TO STDOUT"] {
            let by_session = session.query(sql).await.err().unwrap();
            let by_wire = wire.execute(sql).await.unwrap_err();
            assert_eq!(by_session.cause::<ServerError>(), by_wire.cause::<ServerError>());
        }
        let error = session.execute("SELECT 1; SELECT nonsense").await.unwrap_err();
        let words = error.cause::<ServerError>().unwrap();
        assert_eq!((words.sqlstate.as_str(), words.position), ("42703", Some(18)));

        // Half way through the rows, and the session goes on.
        let sql = "SELECT 1 / (i - 5000) FROM generate_series(1, 9000) i";
        for in_text in [true, false] {
            let mut out = rows_of(&mut wire, sql, in_text).await;
            let mut rows = Vec::new();
            let error = loop {
                match out.next(&mut rows).await {
                    Ok(ends) => assert!(ends.is_some(), "it ended without its error"),
                    Err(error) => break error,
                }
            };
            assert_eq!(state(&error), "22012");
            assert!(out.next(&mut rows).await.unwrap().is_none() && out.rows().is_none());
            wire.execute("SELECT 1").await.unwrap();
        }
        for (sql, expected) in [("SELECT nonsense", "42703"), ("SELECT 1; SELECT 2", "42601")] {
            assert_eq!(state(&wire.select(sql).await.err().unwrap()), expected);
            wire.execute("SELECT 1").await.unwrap();
        }

        // While rows are being sent, long before their end, and the session goes on.
        let row_lines: String = (1..100_000).map(|id| format!("{id}\n")).collect();
        let mut into = wire.copy_in("COPY t FROM STDIN").await.unwrap();
        let mut sent = 0;
        let error = loop {
            sent += 1;
            if let Err(error) = into.write(row_lines.as_bytes()).await {
                break error;
            }
            assert!(sent < 1000, "the server has refused long ago");
        };
        assert_eq!(state(&error), "23514");
        assert!(format!("{error:?}").contains("COPY t, line 5000"), "{error:?}");
        assert!(into.finish().await.is_err());

        let mut into = wire.copy_in("COPY t FROM STDIN").await.unwrap();
        into.write(b"1\n2\n").await.unwrap();
        into.fail("enough").await.unwrap();
        let into = wire.copy_in("COPY t FROM STDIN (FORMAT binary)").await.unwrap();
        assert_eq!(into.finish().await.unwrap(), 0);
    });
    assert_eq!(database.query("SELECT count(*) FROM t").trim(), "0");
}

#[test]
fn a_server_that_talks_while_it_takes_rows_does_not_stop_them() {
    let server = Server::shared(17);
    let database = server.database();
    database.query(
        "CREATE TABLE t (id int);
         CREATE FUNCTION talk() RETURNS trigger LANGUAGE plpgsql AS
         $$ BEGIN RAISE NOTICE '%', repeat('word ', 400); RETURN NEW; END $$;
         CREATE TRIGGER talk BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION talk();",
    );
    let rows = block_on(async {
        let mut wire = wire(&database).await;
        let mut into = wire.copy_in("COPY t FROM STDIN").await.unwrap();
        // Some 40 MB come back, more than any socket holds.
        let row_lines = "1\n".repeat(20_000);
        into.write(row_lines.as_bytes()).await.unwrap();
        into.finish().await.unwrap()
    });
    assert_eq!(rows, 20_000);
}

fn a_dropped_session_is_gone_at_the_server(server: &Server) {
    let database = server.database();
    database.query("CREATE TABLE t ()");
    let ours = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = '{}' AND \
         application_name = 'pgkeep test'",
        database.name()
    );
    let locked_and_busy = "BEGIN; LOCK TABLE t; SELECT pg_sleep(600)";
    block_on(async {
        let session = Session::connect(&settings(&database.uri()).unwrap(), "test").await.unwrap();
        let mut wire = wire(&database).await;
        // One is left idle with its lock, one in the middle of a command.
        session.execute("BEGIN; LOCK TABLE t").await.unwrap();
        let waiting = wire.execute(locked_and_busy);
        tokio::time::timeout(Duration::from_millis(200), waiting).await.unwrap_err();
        assert_eq!(wire.execute("SELECT 1").await.unwrap_err().kind(), ErrorKind::Connection);
        drop(session);
        drop(wire);
        // The cancel request is sent from a task of this runtime.
        eventually(&database, &ours, "0");

        let session = Session::connect(&settings(&database.uri()).unwrap(), "test").await.unwrap();
        let busy = session.execute(locked_and_busy);
        tokio::time::timeout(Duration::from_millis(200), busy).await.unwrap_err();
        assert_eq!(session.execute("SELECT 1").await.unwrap_err().kind(), ErrorKind::Connection);
        drop(session);
        eventually(&database, &ours, "0");

        let mut session =
            Session::connect(&settings(&database.uri()).unwrap(), "test").await.unwrap();
        session.close().await;
        session.close().await;
        assert_eq!(session.execute("SELECT 1").await.unwrap_err().kind(), ErrorKind::Connection);
    });
    eventually(&database, &ours, "0");
}

fn a_command_can_be_cancelled(server: &Server) {
    let database = server.database();
    block_on(async {
        let session = Session::connect(&settings(&database.uri()).unwrap(), "test").await.unwrap();
        let mut wire = wire(&database).await;
        let (cancel, cancel_wire) = (session.cancel(), wire.cancel());
        let sleeping = format!(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = '{}' AND wait_event = 'PgSleep'",
            database.name()
        );
        let (by_session, by_wire, ()) = tokio::join!(
            session.execute("SELECT pg_sleep(600)"),
            wire.execute("SELECT pg_sleep(600)"),
            async {
                tokio::task::block_in_place(|| eventually(&database, &sleeping, "2"));
                cancel.send().await.unwrap();
                cancel_wire.send().await.unwrap();
            }
        );
        assert_eq!(state(&by_session.unwrap_err()), "57014");
        assert_eq!(state(&by_wire.unwrap_err()), "57014");
        session.execute("SELECT 1").await.unwrap();
        wire.execute("SELECT 1").await.unwrap();
    });
}

#[test]
fn a_server_that_dies_in_the_middle_is_a_lost_connection() {
    let mut server = Server::dedicated(15, &Dedicated::default());
    let uri = server.uri("postgres");
    block_on(async {
        let settings = settings(&uri).unwrap();
        let session = Session::connect(&settings, "test").await.unwrap();
        let mut wire = WireSession::connect(&settings, "test").await.unwrap();
        let mut other = WireSession::connect(&settings, "test").await.unwrap();
        session.execute("CREATE TABLE t (id int)").await.unwrap();
        let mut out =
            wire.copy_out("COPY (SELECT generate_series(1, 1000000000)) TO STDOUT").await.unwrap();
        let mut into = other.copy_in("COPY t FROM STDIN").await.unwrap();
        let mut rows = Vec::new();
        out.next(&mut rows).await.unwrap().unwrap();
        // It is stuck with what we do not read, and so sees its postmaster go.
        let stuck = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'ClientWrite'";
        let deadline = Instant::now() + Duration::from_secs(20);
        while server.query(stuck).trim() != "1" {
            assert!(Instant::now() < deadline, "the server is never stuck");
        }
        server.kill();
        let error = loop {
            rows.clear();
            match out.next(&mut rows).await {
                Ok(ends) => assert!(ends.is_some(), "it ended without an error"),
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), ErrorKind::Connection, "{error:?}");
        let error = loop {
            if let Err(error) = into.write(&b"1\n".repeat(100_000)).await {
                break error;
            }
        };
        assert_eq!(error.kind(), ErrorKind::Connection, "{error:?}");
        let error = session.execute("SELECT 1").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Connection, "{error:?}");
    });
}
