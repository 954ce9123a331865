//! A scratch database: filled and asked with `psql`, dumped with `pg_dump`, dropped at the
//! end.

use crate::digest::{self, Digest};
use crate::server::{Server, run};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// A database of one test.
#[derive(Debug)]
pub struct Database<'a> {
    server: &'a Server,
    name: String,
}

impl<'a> Database<'a> {
    pub(crate) fn create(server: &'a Server, options: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("test_{}_{number}", std::process::id());
        server.query(&format!("CREATE DATABASE {name} TEMPLATE template0 {options}"));
        Self { server, name }
    }

    /// Takes over a database that something else made under this name, or will make; it is
    /// dropped at the end all the same.
    #[must_use]
    pub fn adopt(server: &'a Server, name: &str) -> Self {
        Self { server, name: name.to_owned() }
    }

    /// Its server.
    #[must_use]
    pub fn server(&self) -> &'a Server {
        self.server
    }

    /// Its name, which needs no quotes unless it was adopted.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its connection URI for the superuser.
    #[must_use]
    pub fn uri(&self) -> String {
        self.server.uri(&self.name)
    }

    /// Its connection URI for a role.
    #[must_use]
    pub fn uri_of(&self, role: &str) -> String {
        self.server.uri_of(role, &self.name)
    }

    /// Runs SQL as the superuser with `psql`, statement by statement, stopping at the first
    /// error; returns the rows, one a line, fields separated by `|`.
    pub fn query(&self, sql: &str) -> String {
        psql(self.server, &self.name, sql)
    }

    /// As [`Self::query`], for SQL that is meant to fail: returns the error.
    ///
    /// # Panics
    /// When it does not fail.
    pub fn query_error(&self, sql: &str) -> String {
        try_psql(self.server, &self.name, sql).expect_err("the SQL should have failed")
    }

    /// Runs a file of `tests/fixtures` with psql variables.
    pub fn load(&self, fixture: &str, variables: &[(&str, &str)]) {
        let mut command = self.psql_command();
        for (name, value) in variables {
            command.arg("-v").arg(format!("{name}={value}"));
        }
        run(command.arg("-f").arg(crate::fixture(fixture)));
    }

    /// Runs `NAME.sql` of `tests/fixtures`, then what each major version up to the server's
    /// adds to it: `NAME-15.sql` and so on.
    pub fn load_for_version(&self, name: &str) {
        self.load(&format!("{name}.sql"), &[]);
        for major in 15..=self.server.major() {
            let file = format!("{name}-{major}.sql");
            if crate::fixture(&file).exists() {
                self.load(&file, &[]);
            }
        }
    }

    /// A `psql` that stops at errors and prints bare rows, for a test to add to.
    #[must_use]
    pub fn psql_command(&self) -> Command {
        psql_command(self.server, &self.name)
    }

    /// The whole schema as `pg_dump` 18 writes it, without its remarks on versions.
    #[must_use]
    pub fn schema(&self) -> String {
        self.dump(&["--schema-only"])
    }

    /// What `pg_dump` 18 writes with these arguments, without its remarks on versions, and
    /// the same each time for the same database.
    #[must_use]
    pub fn dump(&self, arguments: &[&str]) -> String {
        let mut command = self.server.client_program("pg_dump");
        command.arg("--restrict-key=test").args(arguments).args(["-d", &self.name]);
        let text = String::from_utf8_lossy(&run(&mut command)).into_owned();
        let telling = |line: &&str| !line.starts_with("-- Dumped ");
        text.lines().filter(telling).collect::<Vec<_>>().join("\n")
    }

    /// Count and digest of every table, materialized view, sequence and of the large objects,
    /// by qualified name, as the server computes them.
    #[must_use]
    pub fn digests(&self) -> BTreeMap<String, Digest> {
        digest::of_database(self)
    }

    /// The server's size of the database, in bytes.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        let size = self.query("SELECT pg_database_size(current_database())");
        size.trim().parse().expect("a size")
    }

    /// Writes both schemas out and fails when a line differs, showing the first ones that do.
    ///
    /// # Panics
    /// When they differ.
    pub fn assert_same_schema(&self, copy: &Database<'_>) {
        assert_same_text(&self.schema(), &copy.schema());
    }

    /// Compares rows, sequences and large objects by their digests.
    ///
    /// # Panics
    /// When they differ; the message names each table that does.
    pub fn assert_same_rows(&self, copy: &Database<'_>) {
        let (left, right) = (self.digests(), copy.digests());
        assert!(!left.is_empty(), "there is nothing to compare");
        let names = left.keys().chain(right.keys()).collect::<std::collections::BTreeSet<_>>();
        let differing: Vec<_> = names
            .into_iter()
            .filter(|&name| left.get(name) != right.get(name))
            .map(|name| format!("{name}: {:?} became {:?}", left.get(name), right.get(name)))
            .collect();
        assert!(differing.is_empty(), "rows differ:\n{}", differing.join("\n"));
    }
}

impl Drop for Database<'_> {
    fn drop(&mut self) {
        let name = self.name.replace('"', "\"\"");
        let sql = format!("DROP DATABASE IF EXISTS \"{name}\" WITH (FORCE)");
        // A test that killed its server has nothing to drop.
        let _ = try_psql(self.server, "postgres", &sql);
    }
}

/// Fails when two texts differ, showing the lines that do.
///
/// # Panics
/// When they differ.
#[track_caller]
pub fn assert_same_text(left: &str, right: &str) {
    if left == right {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory to compare in");
    let (before, after) = (directory.path().join("source"), directory.path().join("copy"));
    std::fs::write(&before, left).expect("text to compare");
    std::fs::write(&after, right).expect("text to compare");
    let difference = Command::new("diff").args(["-U4"]).args([before, after]).output();
    let difference = difference.expect("diff").stdout;
    let shown: Vec<_> =
        String::from_utf8_lossy(&difference).lines().take(120).map(str::to_owned).collect();
    panic!("the text differs:\n{}", shown.join("\n"));
}

/// Runs SQL in a database and returns what it printed; panics with the error.
pub(crate) fn psql(server: &Server, database: &str, sql: &str) -> String {
    match try_psql(server, database, sql) {
        Ok(rows) => rows,
        Err(error) => panic!("{error}\nin: {sql}"),
    }
}

fn try_psql(server: &Server, database: &str, sql: &str) -> Result<String, String> {
    let mut command = psql_command(server, database);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("psql");
    let mut input = child.stdin.take().expect("a pipe");
    let sql = sql.to_owned();
    // psql may leave at an error with SQL still unread, which breaks the pipe.
    let writer = std::thread::spawn(move || drop(input.write_all(sql.as_bytes())));
    let output = child.wait_with_output().expect("psql's output");
    writer.join().expect("the writer");
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

fn psql_command(server: &Server, database: &str) -> Command {
    let mut command = server.client_program("psql");
    command.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"]).env("PGDATABASE", database);
    // A server that is short of a megabyte should say so, not psql's caller wait for ever.
    command.env("PGCONNECT_TIMEOUT", "30").current_dir(Path::new("/"));
    command
}
