//! Who gets in and how: passwords, TLS, sockets, several hosts; and what is said when it
//! does not work. Every way is tried with both kinds of session, which must agree.

use pgkeep_engine::postgres::{Asked, ServerError, Session, Settings, WireSession};
use pgkeep_engine::{Error, ErrorKind, Result};
use pgkeep_tests::{Certificates, Dedicated, Server, every_major};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

every_major!(both_kinds_of_session_come_in_by_socket_and_tcp);

/// Settings from a connection string, with nothing of this process's home in them.
pub(crate) fn settings(string: &str) -> Result<Settings> {
    Settings::from_process(&Asked { database: Some(string.to_owned()), ..Asked::default() })
}

pub(crate) fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(work)
}

/// Opens both kinds of session; what TLS the first has (`f` or `t`), or the error, which is
/// the same for both.
fn enter(string: &str) -> Result<String> {
    let settings = settings(string)?;
    block_on(async {
        let wire = WireSession::connect(&settings, "test").await;
        match Session::connect(&settings, "test").await {
            Ok(mut session) => {
                wire.expect("a wire session, where the other kind came in").close().await;
                let rows = session
                    .query("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
                    .await?;
                session.close().await;
                Ok(rows[0].text("ssl")?.to_owned())
            }
            Err(error) => {
                let other = wire.err().expect("no wire session, where the other kind did not");
                assert_eq!(other.kind(), error.kind(), "{other:?} / {error:?}");
                let state = |error: &Error| error.cause().map(|e: &ServerError| e.sqlstate.clone());
                assert_eq!(state(&other), state(&error));
                Err(error)
            }
        }
    })
}

/// The kind, the SQLSTATE or nothing, and all that the error says.
#[track_caller]
fn refused(string: &str) -> (ErrorKind, String, String) {
    let error = enter(string).expect_err("this should not have come in");
    let state = error.cause::<ServerError>().map(|error| error.sqlstate.clone());
    (error.kind(), state.unwrap_or_default(), format!("{error:?} {:?}", error.hints()))
}

fn both_kinds_of_session_come_in_by_socket_and_tcp(server: &Server) {
    let database = server.database();
    assert_eq!(enter(&database.uri()).unwrap(), "f");
    let socket = format!(
        "host={} port={} user=postgres dbname={}",
        server.socket_directory().display(),
        server.port(),
        database.name()
    );
    assert_eq!(enter(&socket).unwrap(), "f");
    block_on(async {
        let session = Session::connect(&settings(&database.uri()).unwrap(), "test").await.unwrap();
        assert_eq!(session.major(), server.major());
        let rows = session.query("SELECT current_setting('application_name') AS a").await.unwrap();
        assert_eq!(rows[0].text("a").unwrap(), "pgkeep test");
    });
}

const PASSWORDS: &str = "
    local all postgres trust
    host all scrammer 127.0.0.1/32 scram-sha-256
    host all digester 127.0.0.1/32 md5
    host all clear 127.0.0.1/32 password
    hostssl all secure 127.0.0.1/32 trust
    hostnossl all naked 127.0.0.1/32 trust
";

/// A server with TLS, and a role for each kind of authentication.
fn guarded(major: u32) -> (Server, Certificates) {
    let certificates = Certificates::new();
    let options = Dedicated {
        certificates: Some(&certificates),
        authentication: PASSWORDS,
        ..Default::default()
    };
    let server = Server::dedicated(major, &options);
    server.query(
        "SET password_encryption = 'scram-sha-256';
         CREATE ROLE scrammer LOGIN PASSWORD 'right: p@ss';
         CREATE ROLE clear LOGIN PASSWORD 'right: p@ss';
         SET password_encryption = 'md5';
         CREATE ROLE digester LOGIN PASSWORD 'right: p@ss';
         CREATE ROLE secure LOGIN;
         CREATE ROLE naked LOGIN;",
    );
    (server, certificates)
}

#[test]
fn every_kind_of_password_is_proven_and_a_wrong_or_missing_one_refused() {
    for major in [14, 18] {
        let (server, _certificates) = guarded(major);
        let port = server.port();
        for role in ["scrammer", "digester", "clear"] {
            for mode in ["disable", "require"] {
                let uri = |password: &str| {
                    format!(
                        "postgresql://{role}{password}@127.0.0.1:{port}/postgres?sslmode={mode}"
                    )
                };
                assert!(enter(&uri(":right%3A%20p%40ss")).is_ok(), "{role} {mode}");
                let (kind, state, said) = refused(&uri(":wrong"));
                assert_eq!((kind, state.as_str()), (ErrorKind::Authentication, "28P01"), "{said}");
                assert!(said.contains(role) && !said.contains("wrong"), "{said}");
                let (kind, _, said) = refused(&uri(""));
                assert_eq!(kind, ErrorKind::Authentication);
                assert!(said.contains("none is given") && said.contains("PGPASSWORD"), "{said}");
            }
        }
    }
}

#[test]
fn the_password_file_is_used_unless_others_may_read_it() {
    let (server, _certificates) = guarded(17);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("passwords");
    std::fs::write(&file, "127.0.0.1:*:postgres:scrammer:right\\: p@ss\n").unwrap();
    let string = format!(
        "host=127.0.0.1 port={} user=scrammer dbname=postgres passfile={}",
        server.port(),
        file.display()
    );
    let allow = |mode| std::fs::set_permissions(&file, PermissionsExt::from_mode(mode)).unwrap();
    allow(0o600);
    assert!(enter(&string).is_ok());
    allow(0o644);
    assert!(refused(&string).2.contains("none is given"));

    let services = directory.path().join("services");
    allow(0o600);
    std::fs::write(&services, format!("[ours]\n{}\n", string.replace(' ', "\n"))).unwrap();
    assert!(enter(&format!("service=ours servicefile={}", services.display())).is_ok());
}

#[test]
fn tls_levels_mean_what_libpq_means_by_them() {
    let (server, certificates) = guarded(18);
    let stranger = Certificates::new();
    let string = |role: &str, host: &str, options: &str| {
        format!("host={host} port={} user={role} dbname=postgres {options}", server.port())
    };
    let root = |path: &Path| format!("sslrootcert={}", path.display());
    let ours = root(&certificates.authority());

    for (options, host) in [
        ("sslmode=require".to_owned(), "127.0.0.1"),
        (format!("sslmode=require {ours}"), "127.0.0.1"),
        (format!("sslmode=verify-ca {ours}"), "127.0.0.1"),
        (format!("sslmode=verify-full {ours}"), "localhost"),
        (format!("sslmode=verify-full {ours} ssl_min_protocol_version=TLSv1.3"), "localhost"),
        (format!("sslmode=verify-full {ours} sslnegotiation=direct"), "localhost"),
        ("sslmode=prefer".to_owned(), "127.0.0.1"),
        ("sslmode=allow".to_owned(), "127.0.0.1"),
    ] {
        assert_eq!(enter(&string("secure", host, &options)).unwrap(), "t", "{options}");
    }
    let theirs = root(&stranger.authority());
    for (options, host) in [
        (format!("sslmode=verify-full {ours}"), "127.0.0.1"),
        (format!("sslmode=verify-full {theirs}"), "localhost"),
        (format!("sslmode=verify-ca {theirs}"), "localhost"),
        (format!("sslmode=require {theirs}"), "localhost"),
    ] {
        let (kind, _, said) = refused(&string("secure", host, &options));
        assert_eq!(kind, ErrorKind::Untrusted, "{options}: {said}");
        assert!(said.contains("sslrootcert"), "{said}");
    }
    let (kind, ..) = refused(&string("secure", "localhost", "sslmode=verify-full sslrootcert=/no"));
    assert_eq!(kind, ErrorKind::Usage);

    for mode in ["disable", "allow", "prefer"] {
        assert_eq!(enter(&string("naked", "127.0.0.1", &format!("sslmode={mode}"))).unwrap(), "f");
    }
    let (kind, state, _) = refused(&string("naked", "127.0.0.1", "sslmode=require"));
    assert_eq!((kind, state.as_str()), (ErrorKind::Authentication, "28000"));
    let (kind, ..) = refused(&string("secure", "127.0.0.1", "sslmode=disable"));
    assert_eq!(kind, ErrorKind::Authentication);
}

#[test]
fn a_session_goes_on_in_another_runtime_when_the_one_it_was_opened_in_has_ended() {
    let (server, _certificates) = guarded(18);
    let sockets = server.socket_directory().display().to_string();
    for (host, options) in [
        ("127.0.0.1", "user=secure sslmode=require"),
        ("127.0.0.1", "user=naked sslmode=disable"),
        (sockets.as_str(), "user=postgres"),
    ] {
        let string = format!("host={host} port={} dbname=postgres {options}", server.port());
        let opened = block_on(WireSession::connect(&settings(&string).unwrap(), "test")).unwrap();
        let rows = block_on(async {
            let mut wire = opened.moved_here().unwrap();
            let rows = wire.query("SELECT i FROM generate_series(1, 20000) i").await.unwrap();
            wire.close().await;
            rows.len()
        });
        assert_eq!(rows, 20_000, "{string}");
    }
}

#[test]
fn scram_is_bound_to_the_tls_connection_where_that_is_asked_for() {
    let (server, _certificates) = guarded(16);
    let string = |role: &str, options: &str| {
        format!(
            "host=127.0.0.1 port={} user={role} dbname=postgres password='right: p@ss' {options}",
            server.port()
        )
    };
    for binding in ["disable", "prefer", "require"] {
        let options = format!("sslmode=require channel_binding={binding}");
        assert_eq!(enter(&string("scrammer", &options)).unwrap(), "t");
    }
    for (role, mode) in [("scrammer", "disable"), ("digester", "require"), ("secure", "require")] {
        let options = format!("sslmode={mode} channel_binding=require");
        let (kind, _, said) = refused(&string(role, &options));
        assert_eq!(kind, ErrorKind::Authentication, "{said}");
        assert!(said.contains("channel binding"), "{said}");
    }
}

#[test]
fn a_server_without_tls_is_used_only_where_tls_is_not_asked_for() {
    let server = Server::shared(15);
    assert_eq!(enter(&format!("{}?sslmode=prefer", server.uri("postgres"))).unwrap(), "f");
    let (kind, _, said) = refused(&format!("{}?sslmode=require", server.uri("postgres")));
    assert_eq!(kind, ErrorKind::Connection);
    assert!(
        said.contains("does not support TLS") && !said.contains("Is the server running"),
        "{said}"
    );
}

#[test]
fn what_cannot_be_reached_is_named_with_what_to_do() {
    let server = Server::shared(18);
    let (kind, state, said) = refused(&server.uri("no_such_database"));
    assert_eq!((kind, state.as_str()), (ErrorKind::NotFound, "3D000"));
    assert!(said.contains("\"no_such_database\"") && said.contains("-d"), "{said}");

    let (kind, _, said) = refused("postgresql://u:hidden@127.0.0.1:1/d");
    assert_eq!(kind, ErrorKind::Connection);
    assert!(said.contains("127.0.0.1") && said.contains("-h and -p"), "{said}");
    assert!(!said.contains("hidden"), "{said}");

    let (kind, _, said) = refused("postgresql://u@no-such-host.invalid/d");
    assert_eq!(kind, ErrorKind::Connection);
    assert!(said.contains("could not find host \"no-such-host.invalid\""), "{said}");

    let (kind, _, said) = refused("host=/no/such/directory dbname=d user=u");
    assert_eq!(kind, ErrorKind::Connection);
    assert!(said.contains("/no/such/directory/.s.PGSQL.5432"), "{said}");

    for (string, part) in [
        ("postgresql://u@h/d?sslmode=sometimes", "sslmode"),
        ("host=h prot=5432", "\"prot\""),
        ("postgresql://u@h:0/d", "port"),
        ("mysql://u@h/d", "postgresql://"),
    ] {
        let (kind, _, said) = refused(string);
        assert_eq!(kind, ErrorKind::Usage);
        assert!(said.contains(part), "{said}");
    }
}

#[test]
fn the_first_host_that_fits_is_used_and_remembered() {
    let server = Server::shared(16);
    let string = |attributes: &str| {
        format!(
            "postgresql://postgres@127.0.0.1:1,127.0.0.1:{}/postgres?target_session_attrs={attributes}",
            server.port()
        )
    };
    block_on(async {
        let all = settings(&string("read-write")).unwrap();
        let session = Session::connect(&all, "test").await.unwrap();
        assert_eq!(all.hosts().len(), 2);
        assert_eq!(session.settings().hosts().len(), 1);
        assert_eq!(session.settings().hosts()[0].port, server.port());
    });
    assert!(enter(&string("prefer-standby")).is_ok());
    for attributes in ["standby", "read-only"] {
        let (kind, _, said) = refused(&string(attributes));
        assert_eq!(kind, ErrorKind::Connection);
        assert!(said.contains("target_session_attrs"), "{said}");
    }
}

/// Listens, and answers every connection with these bytes after it has said something.
fn pretender(answers: Vec<Vec<u8>>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            for answer in &answers {
                let mut request = [0; 4096];
                if stream.read(&mut request).unwrap_or(0) == 0 {
                    break;
                }
                stream.write_all(answer).unwrap();
            }
            // Until the client has enough of it.
            let _ = stream.read_to_end(&mut Vec::new());
        }
    });
    port
}

fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap();
    [&[tag][..], &length.to_be_bytes(), body].concat()
}

#[test]
fn what_is_no_postgresql_server_is_told_apart() {
    let uri = |port: u16, options: &str| {
        format!("postgresql://u@127.0.0.1:{port}/d?connect_timeout=2{options}")
    };
    let web = pretender(vec![b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()]);
    for options in ["", "&sslmode=disable"] {
        let (kind, _, said) = refused(&uri(web, options));
        assert_eq!(kind, ErrorKind::Connection, "{said}");
    }
    let silent = pretender(vec![b"N".to_vec(), Vec::new()]);
    let (kind, _, said) = refused(&uri(silent, ""));
    assert_eq!(kind, ErrorKind::Connection);
    assert!(said.contains("within 2 seconds") && said.contains("connect_timeout"), "{said}");
}

#[test]
fn an_old_server_is_refused_by_name() {
    let column = |name: &str| [name.as_bytes(), &[0; 19]].concat();
    let value =
        |text: &str| [&[0, 0, 0, u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
    let answer = [
        message(b'T', &[vec![0, 2], column("version"), column("backend")].concat()),
        message(b'D', &[vec![0, 2], value("130014"), value("1")].concat()),
        message(b'C', b"SELECT 1\0"),
        message(b'Z', b"I"),
    ];
    let welcome = [message(b'R', &[0; 4]), message(b'Z', b"I")].concat();
    let old = pretender(vec![welcome, answer.concat()]);
    let settings = settings(&format!("postgresql://u@127.0.0.1:{old}/d?sslmode=disable")).unwrap();
    let error = block_on(Session::connect(&settings, "test")).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::UnsupportedServer);
    assert!(error.to_string().contains("PostgreSQL 13"), "{error}");
}

#[test]
fn a_message_that_never_ends_is_refused_before_it_fills_memory() {
    let hostile = pretender(vec![b"R\x7f\xff\xff\xff\0\0\0\0".to_vec()]);
    let settings =
        settings(&format!("postgresql://u@127.0.0.1:{hostile}/d?sslmode=disable")).unwrap();
    let error = block_on(WireSession::connect(&settings, "test")).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Connection);
    assert!(format!("{error:?}").contains("too long"), "{error:?}");
}
