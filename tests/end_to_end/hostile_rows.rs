//! A server that sends rows which are none: what is written of them for other programs.

use crate::repository;
use pgkeep_tests::{Repository, Server};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};

/// What a row holds, and what is sent in its place: the end of the data, as psql and
/// `pg_restore` would read it.
const HONEST: &[u8; 12] = b"an honest12!";
const HOSTILE: &[u8; 12] = b"\\.\r\r\r\r\r\r\r\r\r\r";

/// Stands between a client and the server, and changes what the server sends.
fn lying_server(server: &Server) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (port, to) = (listener.local_addr().unwrap().port(), server.port());
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let client = client.unwrap();
            let server = TcpStream::connect(("127.0.0.1", to)).unwrap();
            let (from_client, to_server) =
                (client.try_clone().unwrap(), server.try_clone().unwrap());
            std::thread::spawn(move || pass_on(from_client, to_server, false));
            std::thread::spawn(move || pass_on(server, client, true));
        }
    });
    port
}

fn pass_on(mut from: TcpStream, mut to: TcpStream, lie: bool) {
    let mut buffer = [0; 1 << 16];
    let mut held = Vec::new();
    // Either side may go away at any time; then so does the other.
    while let Ok(len @ 1..) = from.read(&mut buffer) {
        held.extend_from_slice(&buffer[..len]);
        let mut ready = held.len();
        if lie {
            while let Some(at) = held.windows(HONEST.len()).position(|bytes| bytes == HONEST) {
                held[at..at + HONEST.len()].copy_from_slice(HOSTILE);
            }
            // What may be the beginning of it waits for the rest.
            let begins = (1..HONEST.len()).rev().find(|len| held.ends_with(&HONEST[..*len]));
            ready -= begins.unwrap_or(0);
        }
        if to.write_all(&held[..ready]).is_err() {
            break;
        }
        held.drain(..ready);
    }
    let _ = to.shutdown(Shutdown::Both);
}

/// A backup of a table with these columns, of which the server lies about a row.
fn lied_to(server: &Server, columns: &str) -> Repository {
    let source = server.database();
    let honest = std::str::from_utf8(HONEST).unwrap();
    source.query(&format!(
        "CREATE TABLE t ({columns}); INSERT INTO t VALUES ('first'), ('{honest}'), ('last')"
    ));
    let port = lying_server(server);
    let uri = format!("postgresql://postgres@127.0.0.1:{port}/{}?sslmode=disable", source.name());
    let repository = repository();
    repository.backup(&uri, &[]);
    repository
}

#[test]
fn rows_that_are_none_are_not_written_anywhere() {
    // Rows with a range are text.
    let repository = lied_to(Server::shared(18), "v text, r int4range");
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("output");
    let output = output.to_str().unwrap();
    for options in
        [&["--format", "sql"][..], &["--inserts"], &["--format", "csv"], &["--format", "directory"]]
    {
        let export = ["export", "--json", "-o", output];
        let refused = repository.run(export.iter().chain(options)).code(1);
        assert!(refused.stderr.contains("\"kind\":\"damaged\""), "{}", refused.stderr);
        assert!(refused.stderr.contains("rows of \\\"public.t\\\""), "{}", refused.stderr);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "{options:?}");
    }
}

/// In binary rows whatever is sent is a value, with its length before it: it is written as one.
#[test]
fn what_would_end_the_data_is_a_value_where_rows_are_binary() {
    let server = Server::shared(18);
    let repository = lied_to(server, "v text");
    let folder = tempfile::tempdir().unwrap();
    for option in ["--no-owner", "--inserts"] {
        let script = folder.path().join(format!("script{option}.sql"));
        let _ = repository.run(["export", "-q", option, "-o", script.to_str().unwrap()]).ok();
        let copy = server.database();
        crate::export::psql(&copy, &script, &[]);
        let hostile = "SELECT count(*) FROM t WHERE v = E'\\\\.' || repeat(E'\\r', 10)";
        assert_eq!(copy.query(hostile).trim(), "1", "{option}");
        assert_eq!(copy.query("SELECT count(*) FROM t").trim(), "3", "{option}");
    }
}
