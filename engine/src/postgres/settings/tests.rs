//! Which value counts, on a world made of a map.

use super::*;
use std::collections::HashMap;
use std::io;
use std::path::Path;

#[derive(Default)]
struct World {
    variables: HashMap<&'static str, &'static str>,
    files: HashMap<&'static str, (&'static str, u32)>,
}

impl World {
    fn with(variables: &[(&'static str, &'static str)]) -> Self {
        let mut world = Self { variables: variables.iter().copied().collect(), ..Self::default() };
        world.variables.insert("HOME", "/home/ann");
        world
    }

    fn file(mut self, path: &'static str, text: &'static str, mode: u32) -> Self {
        self.files.insert(path, (text, mode));
        self
    }
}

impl Surroundings for World {
    fn variable(&self, name: &str) -> Option<String> {
        self.variables.get(name).map(|value| (*value).to_owned())
    }

    fn read(&self, path: &Path) -> io::Result<FileContents> {
        let (text, mode) = path
            .to_str()
            .and_then(|path| self.files.get(path))
            .ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        Ok(FileContents { text: (*text).to_owned(), mode: *mode })
    }

    fn exists(&self, path: &Path) -> bool {
        path.to_str().is_some_and(|path| self.files.contains_key(path))
    }

    fn user_name(&self) -> Option<String> {
        Some("ann".to_owned())
    }
}

fn asked(database: &str) -> Asked {
    Asked { database: Some(database.to_owned()), ..Asked::default() }
}

fn settle(asked: &Asked, world: &World) -> Settings {
    resolve(asked, world).unwrap().settings
}

fn refused(text: &str, world: &World) -> String {
    format!("{:?}", resolve(&asked(text), world).unwrap_err())
}

fn password(settings: &Settings) -> Option<&str> {
    settings.password_for(&settings.hosts[0]).map(Password::reveal)
}

#[test]
fn with_nothing_said_it_is_the_local_socket_and_the_users_own_name() {
    let settings = settle(&Asked::default(), &World::with(&[]));
    assert_eq!(settings.hosts, [Host { address: Address::DefaultUnix, port: 5432 }]);
    assert_eq!((settings.user(), settings.database()), ("ann", "ann"));
    assert_eq!(settings.tls.mode, SslMode::Prefer);
    assert_eq!(settings.connect_timeout, Some(Duration::from_secs(30)));
}

#[test]
fn options_outrank_the_string_which_outranks_service_and_environment() {
    let world = World::with(&[
        ("PGHOST", "env"),
        ("PGUSER", "env"),
        ("PGDATABASE", "env"),
        ("PGAPPNAME", "env"),
        ("PGSERVICE", "s"),
    ])
    .file(
        "/home/ann/.pg_service.conf",
        "[s]\nhost=service\nuser=service\ndbname=service\n",
        0o644,
    );
    let asked = Asked {
        database: Some("postgres://string:5433?user=string".to_owned()),
        host: Some("option".to_owned()),
        ..Asked::default()
    };
    let settings = settle(&asked, &world);
    assert_eq!(
        settings.to_string(),
        "database \"service\" as user \"string\" at host \"option\", port 5433"
    );
    assert_eq!(settings.application_name.as_deref(), Some("env"));
}

#[test]
fn a_plain_name_is_a_database_and_the_other_two_forms_are_known_by_their_marks() {
    let world = World::with(&[]);
    assert_eq!(settle(&asked("my db"), &world).database(), "my db");
    assert_eq!(settle(&asked("dbname=x user=y"), &world).user(), "y");
    assert_eq!(settle(&asked("postgresql:///x"), &world).database(), "x");
    assert!(refused("mysql://h/d", &world).contains("postgresql://"));
}

#[test]
fn database_url_counts_only_when_nothing_else_names_a_server_or_database() {
    let url = ("DATABASE_URL", "postgres://app:pw@web/shop");
    let settings = settle(&Asked::default(), &World::with(&[url]));
    assert_eq!(
        settings.to_string(),
        "database \"shop\" as user \"app\" at host \"web\", port 5432"
    );
    assert_eq!(password(&settings), Some("pw"));

    assert_eq!(settle(&Asked::default(), &World::with(&[url, ("PGHOST", "db")])).user(), "ann");
    assert_eq!(settle(&asked("other"), &World::with(&[url])).user(), "ann");
    let role = Asked { user: Some("admin".to_owned()), ..Asked::default() };
    assert_eq!(settle(&role, &World::with(&[url])).database(), "shop");
}

#[test]
fn hosts_addresses_and_ports_go_together() {
    let world = World::with(&[]);
    let settings = settle(&asked("host=a,/run,[x] port=1,,3 hostaddr=127.0.0.1,,::1"), &world);
    let addresses: Vec<_> = settings.hosts.iter().map(ToString::to_string).collect();
    assert_eq!(
        addresses,
        [
            "host \"a\" (127.0.0.1), port 1",
            "socket \"/run/.s.PGSQL.5432\"",
            "host \"[x]\" (::1), port 3"
        ]
    );
    assert_eq!(settle(&asked("host=a,b port=7"), &world).hosts[1].port, 7);
    for wrong in [
        "host=a,b port=1,2,3",
        "port=0",
        "port=x",
        "host=a hostaddr=b",
        "hostaddr=1.2.3.4,::1 host=a",
    ] {
        assert!(refused(wrong, &world).starts_with("Usage"), "{wrong}");
    }
}

#[test]
fn the_password_file_is_asked_with_host_port_database_and_user() {
    let text = "db:5432:shop:ann:one\nlocalhost:5432:*:ann:two\n*:*:*:*:three\n";
    let world = World::with(&[]).file("/home/ann/.pgpass", text, 0o600);
    let shop = settle(&asked("postgres://db/shop"), &world);
    assert_eq!(password(&shop), Some("one"));
    assert_eq!(password(&shop.with_database("other")), Some("three"));
    assert_eq!(password(&settle(&asked("x"), &world)), Some("two"));
    assert_eq!(password(&settle(&asked("host=/tmp"), &world)), Some("two"));
    assert_eq!(password(&settle(&asked("host=/srv"), &world)), Some("three"));
    assert_eq!(password(&settle(&asked("postgres://:own@db/shop"), &world)), Some("own"));
}

#[test]
fn a_password_file_that_others_may_read_is_not_used_and_says_so() {
    let world = World::with(&[("PGPASSFILE", "/p")]).file("/p", "*:*:*:*:x\n", 0o640);
    let resolved = resolve(&Asked::default(), &world).unwrap();
    assert_eq!(password(&resolved.settings), None);
    assert!(resolved.warnings[0].contains("chmod 0600 \"/p\""), "{:?}", resolved.warnings);
}

#[test]
fn a_service_that_is_nowhere_is_an_error_and_the_systems_file_is_read_last() {
    let world = World::with(&[("PGSYSCONFDIR", "/sys")])
        .file("/home/ann/.pg_service.conf", "[a]\nhost=mine\n", 0o644)
        .file("/sys/pg_service.conf", "[a]\nhost=theirs\n[b]\nhost=b\n", 0o644);
    let host = |text: &str| settle(&asked(text), &world).hosts[0].to_string();
    assert_eq!(host("service=a"), "host \"mine\", port 5432");
    assert_eq!(host("service=b"), "host \"b\", port 5432");
    assert!(refused("service=c", &world).contains("service \"c\""));
}

#[test]
fn certificates_come_from_the_default_directory_when_they_are_there() {
    let world = World::with(&[])
        .file("/home/ann/.postgresql/root.crt", "", 0o644)
        .file("/home/ann/.postgresql/postgresql.crt", "", 0o644)
        .file("/home/ann/.postgresql/postgresql.key", "", 0o600);
    let tls = settle(&asked("postgres://h?sslmode=verify-full"), &world).tls;
    assert_eq!(tls.root, RootCertificates::File("/home/ann/.postgresql/root.crt".into()));
    assert!(tls.client.is_some());
    assert!(settle(&asked("sslcertmode=disable"), &world).tls.client.is_none());
    assert_eq!(
        settle(&asked("sslmode=require"), &World::with(&[])).tls.root,
        RootCertificates::Unset
    );
}

#[test]
fn tls_words_that_do_not_fit_are_refused() {
    let world = World::with(&[]);
    assert_eq!(settle(&asked("sslrootcert=system"), &world).tls.mode, SslMode::VerifyFull);
    for wrong in [
        "sslmode=no-verify",
        "sslmode=require sslrootcert=system",
        "sslnegotiation=direct",
        "sslcert=/c",
        "channel_binding=x",
        "target_session_attrs=x",
        "connect_timeout=soon",
        "sslcrl=/c",
        "ssl_min_protocol_version=SSLv3",
    ] {
        assert!(refused(wrong, &world).starts_with("Usage"), "{wrong}");
    }
}

#[test]
fn zero_is_no_limit_and_one_second_is_two() {
    let timeout = |text: &str| settle(&asked(text), &World::with(&[])).connect_timeout;
    assert_eq!(timeout("connect_timeout=0"), None);
    assert_eq!(timeout("connect_timeout=-1"), None);
    assert_eq!(timeout("connect_timeout=1"), Some(Duration::from_secs(2)));
}

#[test]
fn no_form_of_printing_shows_a_password() {
    let world = World::with(&[]).file("/home/ann/.pgpass", "*:*:*:*:filed\n", 0o600);
    for settings in [settle(&asked("postgres://u:secret@h/d"), &world), settle(&asked("d"), &world)]
    {
        let printed =
            format!("{settings} {settings:?} {:?}", settings.password_for(&settings.hosts[0]));
        assert!(!printed.contains("secret") && !printed.contains("filed"), "{printed}");
    }
}
