//! Ways to say which database is meant, and to prove who one is: those of libpq.

use crate::{pgkeep, repository};
use pgkeep_tests::{Certificates, Database, Dedicated, Outcome, Repository, Server};
use std::process::Command;

/// A repository and a small database to back up into it.
struct Case<'a> {
    repository: Repository,
    source: Database<'a>,
}

impl<'a> Case<'a> {
    fn on(server: &'a Server) -> Self {
        let source = server.database();
        source.query("CREATE TABLE found_me AS SELECT 1 AS id");
        Self { repository: repository(), source }
    }

    fn backup(&self) -> Command {
        let mut command = self.repository.command();
        command.arg("backup");
        command
    }

    /// Runs a backup that must be of this case's database.
    #[track_caller]
    fn assert_finds(&self, command: &mut Command) {
        let _ = Outcome::of(command).ok();
        let listing = self.repository.run(["ls", "latest"]).ok().stdout_text();
        assert!(listing.contains("found_me"), "another database was backed up:\n{listing}");
    }
}

fn port(server: &Server) -> String {
    server.port().to_string()
}

#[test]
fn keywords_options_and_variables_name_the_database() {
    let server = Server::shared(18);
    let case = Case::on(server);
    let (name, port) = (case.source.name(), port(server));
    let keywords = format!("host=127.0.0.1 port={port} user=postgres dbname={name}");
    case.assert_finds(case.backup().args(["-d", &keywords]));
    case.assert_finds(case.backup().args([
        "-h",
        "127.0.0.1",
        "-p",
        &port,
        "-U",
        "postgres",
        "-d",
        name,
    ]));
    case.assert_finds(
        case.backup()
            .env("PGHOST", "127.0.0.1")
            .env("PGPORT", &port)
            .env("PGUSER", "postgres")
            .env("PGDATABASE", name),
    );
    case.assert_finds(case.backup().env("DATABASE_URL", case.source.uri()));
    // What is said on the command line goes before what the environment says.
    case.assert_finds(
        case.backup().env("PGPORT", "1").env("PGDATABASE", "no").args(["-d", &case.source.uri()]),
    );
}

#[test]
fn unix_socket_is_used_when_the_host_is_a_directory() {
    let server = Server::shared(17);
    let case = Case::on(server);
    let directory = server.socket_directory().to_str().unwrap();
    let (name, port) = (case.source.name(), port(server));
    let arguments = ["-h", directory, "-p", &port, "-U", "postgres", "-d", name];
    case.assert_finds(case.backup().args(arguments));
    let encoded = directory.replace('/', "%2F");
    let uri = format!("postgresql://postgres@{encoded}:{port}/{name}");
    case.assert_finds(case.backup().args(["-d", &uri]));
}

#[test]
fn service_file_names_the_database() {
    let server = Server::shared(16);
    let case = Case::on(server);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("services");
    let (name, port) = (case.source.name(), port(server));
    let text = format!(
        "[other]\nport=1\n\n# ours\n[ours]\nhost=127.0.0.1\nport={port}\nuser=postgres\ndbname={name}\n"
    );
    std::fs::write(&file, text).unwrap();
    case.assert_finds(case.backup().env("PGSERVICEFILE", &file).env("PGSERVICE", "ours"));
    case.assert_finds(case.backup().env("PGSERVICEFILE", &file).args(["-d", "service=ours"]));
    let missing = Outcome::of(case.backup().env("PGSERVICEFILE", &file).env("PGSERVICE", "no"));
    assert!(missing.code(2).stderr.contains("\"no\""));
}

/// A server that asks everybody but the superuser on the socket for a password.
fn with_password(major: u32, method: &str) -> Server {
    let authentication = format!("local all postgres trust\nhost all all 127.0.0.1/32 {method}\n");
    let options = Dedicated {
        settings: &[("password_encryption", method)],
        authentication: &authentication,
        ..Default::default()
    };
    let server = Server::dedicated(major, &options);
    server.query("CREATE ROLE keeper SUPERUSER LOGIN PASSWORD 'p@ss:word\\'");
    server
}

fn assert_password_is_asked_and_found(major: u32, method: &str) {
    let server = with_password(major, method);
    let case = Case::on(&server);
    let (name, port) = (case.source.name(), port(&server));
    let place = format!("host=127.0.0.1 port={port} user=keeper dbname={name}");
    case.assert_finds(case.backup().env("PGPASSWORD", "p@ss:word\\").args(["-d", &place]));
    let uri = format!("postgresql://keeper:p%40ss%3Aword%5C@127.0.0.1:{port}/{name}");
    case.assert_finds(case.backup().args(["-d", &uri]));
    // A password file, with the characters that it escapes, in the place that libpq looks.
    let file = case.repository.directory().with_file_name(".pgpass");
    std::fs::write(&file, format!("*:1:*:*:no\n127.0.0.1:{port}:*:keeper:p@ss\\:word\\\\\n"))
        .unwrap();
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    case.assert_finds(case.backup().args(["-d", &place]));
    let wrong = Outcome::of(case.backup().env("PGPASSWORD", "wrong-secret").args(["-d", &place]));
    let wrong = wrong.code(1);
    assert!(wrong.stderr.contains("keeper"), "{}", wrong.stderr);
    assert!(!wrong.stderr.contains("wrong-secret"), "the password was printed");
}

#[test]
fn scram_password_comes_from_variable_uri_or_file() {
    assert_password_is_asked_and_found(18, "scram-sha-256");
}

#[test]
fn md5_password_comes_from_variable_uri_or_file() {
    assert_password_is_asked_and_found(14, "md5");
}

#[test]
fn missing_password_is_asked_for_in_words() {
    let server = with_password(16, "scram-sha-256");
    let uri = server.uri_of("keeper", "postgres");
    let refused = repository().run(["backup", "-d", &uri]).code(1);
    assert!(refused.stderr.contains("password"), "{}", refused.stderr);
}

#[test]
fn tls_modes_do_what_libpq_says() {
    let certificates = Certificates::new();
    let options = Dedicated {
        certificates: Some(&certificates),
        authentication: "local all postgres trust\nhostssl all all all trust\n",
        settings: &[("listen_addresses", "127.0.0.1")],
        ..Default::default()
    };
    let server = Server::dedicated(18, &options);
    let case = Case::on(&server);
    let authority = certificates.authority();
    let authority = authority.to_str().unwrap();
    let uri = |host: &str, options: &str| {
        format!("postgresql://postgres@{host}:{}/{}?{options}", server.port(), case.source.name())
    };
    let verify_full = format!("sslmode=verify-full&sslrootcert={authority}");
    let verify_ca = format!("sslmode=verify-ca&sslrootcert={authority}");
    for (host, options) in [
        ("localhost", verify_full.as_str()),
        ("127.0.0.1", &verify_ca),
        ("127.0.0.1", "sslmode=require"),
        ("127.0.0.1", "sslmode=prefer"),
        ("127.0.0.1", ""),
    ] {
        case.assert_finds(case.backup().args(["-d", &uri(host, options)]));
    }
    let stranger = Certificates::new();
    let stranger = stranger.authority();
    let by_stranger = format!("sslmode=verify-full&sslrootcert={}", stranger.display());
    for (host, options) in [
        ("127.0.0.1", verify_full.as_str()),
        ("localhost", &by_stranger),
        ("127.0.0.1", "sslmode=disable"),
    ] {
        let refused = Outcome::of(case.backup().args(["-d", &uri(host, options)])).code(1);
        assert!(!refused.stderr.contains("panicked"), "{options}: {}", refused.stderr);
    }
}

#[test]
fn tls_that_is_required_but_not_offered_is_an_error() {
    let server = Server::shared(18);
    let uri = format!("{}?sslmode=require", server.uri("postgres"));
    let refused = repository().run(["backup", "-d", &uri]).code(1);
    let text = refused.stderr.to_lowercase();
    assert!(text.contains("tls") || text.contains("ssl"), "{text}");
}

#[test]
fn unreachable_and_misspelt_places_are_named() {
    let repository = repository();
    for (uri, told) in [
        ("postgresql://postgres@127.0.0.1:1/x", "127.0.0.1"),
        ("postgresql://postgres@no-such-host.invalid/x", "no-such-host.invalid"),
        ("host=/nowhere dbname=x", "/nowhere"),
    ] {
        let refused = repository.run(["backup", "-d", uri]).code(1);
        assert!(refused.stderr.contains(told), "{uri}: {}", refused.stderr);
    }
    for uri in ["postgresql://[::1/x", "postgresql://host:99999/x", "port=abc", "no_such_keyword=1"]
    {
        let refused = repository.run(["backup", "-d", uri]);
        assert!(matches!(refused.status.code(), Some(1 | 2)), "{refused:?}");
        assert!(!refused.stderr.contains("panicked"), "{}", refused.stderr);
    }
    let uri = Server::shared(18).uri("no_such_database");
    let refused = repository.run(["backup", "-d", &uri]).code(1);
    assert!(refused.stderr.contains("no_such_database"), "{}", refused.stderr);
}

#[test]
fn nothing_named_is_a_question_of_usage() {
    let home = tempfile::tempdir().unwrap();
    let outcome = Outcome::of(pgkeep().command(home.path()).arg("backup"));
    let _ = outcome.code(2);
}
