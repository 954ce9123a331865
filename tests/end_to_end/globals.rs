//! Roles, tablespaces and all databases of a server: in one backup, and back on another server
//! as `pg_dumpall` sees them.

use crate::repository;
use pgkeep_tests::{Database, Dedicated, Outcome, Server, assert_same_text, every_major};
use serde_json::Value;
use std::process::Stdio;

every_major!(
    server_comes_back_as_pg_dumpall_sees_it,
    globals_alone_come_back_onto_what_is_there,
    ordinary_role_takes_globals_without_passwords_and_says_so,
);

const SETTINGS: &[(&str, &str)] = &[("allow_in_place_tablespaces", "on")];

/// Passwords are asked of everybody who comes by TCP but the superuser.
const PASSWORDS: &str = "local all all trust\n\
                         host all postgres 127.0.0.1/32 trust\n\
                         host all all 127.0.0.1/32 scram-sha-256\n";

/// An empty server of its own for a test.
fn empty(major: u32) -> Server {
    let options = Dedicated { settings: SETTINGS, authentication: PASSWORDS, ..<_>::default() };
    Server::dedicated(major, &options)
}

/// One with something of all that belongs to no database.
fn full(major: u32) -> Server {
    let server = empty(major);
    // Dropping it at the end fails: it is where that is asked from.
    Database::adopt(&server, "postgres").load_for_version("globals");
    server
}

/// The kinds of `ls --globals --json`, or of a restore's globals.
fn kinds(listed: &Value) -> Vec<&str> {
    let entries = listed.as_array().expect("entries").iter();
    entries.map(|entry| entry["kind"].as_str().expect("a kind")).collect()
}

fn server_comes_back_as_pg_dumpall_sees_it(shared: &Server) {
    let (source, copy) = (full(shared.major()), empty(shared.major()));
    let repository = repository();
    let arguments = ["--all-databases", "--exclude-database", "left_*"];
    let uri = source.uri("postgres");
    // One database lets nobody in, which is said.
    let backup = repository.run(["backup", "--json", "-d", &uri].iter().chain(&arguments)).code(3);
    let backup = backup.json();
    let names = ["latin", "mould", "postgres", "shop of 'x' \"y\" \\", "template1"];
    assert_eq!(backup["databases"], Value::from(names.to_vec()));
    assert_eq!(backup["globals"], true);
    let warnings = backup["warnings"].as_array().unwrap();
    assert!(warnings.len() == 1 && warnings[0].as_str().unwrap().contains("\"closed\""));
    let verified = repository.run(["verify", "--json"]).ok().json();
    assert_eq!(verified["problems"], Value::Array(Vec::new()));

    let listed = repository.run(["ls", "--globals", "--json"]).ok().json();
    let kinds = kinds(&listed["objects"]).join(" ");
    for kind in ["ROLE", "ROLE ATTRIBUTES", "ROLE MEMBERSHIP", "ROLE SETTING", "TABLESPACE"] {
        assert!(kinds.contains(kind), "{kind}: {kinds}");
    }

    let restored = repository.restore(&copy.uri("postgres"), &["--all-databases"]);
    assert_eq!(restored["databases"].as_array().unwrap().len(), names.len());
    source.query("DROP DATABASE left_out");
    source.query("DROP DATABASE closed");
    assert_same_text(&source.dump_all(&[]), &copy.dump_all(&[]));
    password_lets_in(&copy);
}

/// The password that was backed up as a SCRAM secret is the same password.
fn password_lets_in(server: &Server) {
    let connect = |password: &str| {
        let mut psql = server.client_program("psql");
        psql.args(["-X", "-d", "postgres", "-U", "keeper", "-h", "127.0.0.1", "-c", "SELECT 1"]);
        psql.env("PGPASSWORD", password).stdin(Stdio::null());
        Outcome::of(&mut psql).status.success()
    };
    assert!(connect("open'sesame"));
    assert!(!connect("open sesame"));
}

fn globals_alone_come_back_onto_what_is_there(shared: &Server) {
    let (source, copy) = (full(shared.major()), empty(shared.major()));
    let repository = repository();
    // A backup of one database has them too, if the role may read passwords.
    let backup = repository.backup(&source.uri("latin"), &[]);
    assert_eq!(backup["globals"], true);
    assert_eq!(repository.backup(&source.uri("latin"), &["--no-globals"])["globals"], false);
    assert_eq!(repository.backup(&source.uri("latin"), &["-t", "words"])["globals"], false);
    let (id, uri) = (backup["backup"].as_str().unwrap(), copy.uri("postgres"));
    copy.query("CREATE ROLE keeper CONNECTION LIMIT 3 PASSWORD 'other'; CREATE ROLE of_the_copy");

    let planned = repository.restore(&uri, &["--backup", id, "-g", "--dry-run"]);
    assert!(kinds(&planned["globals"]).contains(&"ROLE"));
    assert_eq!(copy.query("SELECT count(*) FROM pg_roles WHERE rolname = 'nobody'").trim(), "0");
    let restored = repository.restore(&uri, &["--backup", id, "--roles-only"]);
    assert!(!kinds(&restored["globals"]).contains(&"TABLESPACE"));
    assert_eq!(restored["databases"], Value::Array(Vec::new()));
    let restored = repository.restore(&uri, &["--backup", id, "--tablespaces-only"]);
    assert!(!kinds(&restored["globals"]).contains(&"ROLE ATTRIBUTES"));
    // Once more, onto what is there now, and with the database.
    let into = Database::adopt(&copy, "latin");
    repository.restore(&uri, &["--backup", id, "--globals", "--create"]);
    assert_eq!(into.query("SELECT word = U&'d\\00e9j\\00e0 vu' FROM words").trim(), "t");

    copy.query("DROP ROLE of_the_copy");
    assert_same_text(&source.dump_all(&["--globals-only"]), &copy.dump_all(&["--globals-only"]));
    password_lets_in(&copy);

    let without = repository.run(["restore", "-d", &uri, "--globals-only"]).code(1);
    assert!(without.stderr.contains("backup --globals"), "{}", without.stderr);
}

fn ordinary_role_takes_globals_without_passwords_and_says_so(shared: &Server) {
    let (source, copy) = (full(shared.major()), empty(shared.major()));
    let repository = repository();
    for server in [&source, &copy] {
        server.query("CREATE ROLE ordinary LOGIN CREATEROLE");
    }
    // By the socket, where no password is asked.
    let uri = |server: &Server| {
        let directory = server.socket_directory().display().to_string();
        format!("host={directory} port={} user=ordinary dbname=mould", server.port())
    };
    source.query("GRANT nobody TO ordinary");
    let quiet = repository.run(["backup", "--json", "-d", &uri(&source), "-n", "tools"]).ok();
    assert_eq!(quiet.json()["globals"], false);
    let left = repository.run(["backup", "-d", &uri(&source)]).ok();
    assert!(left.stderr.contains("--globals"), "{}", left.stderr);
    let without = ["backup", "--json", "-d", &uri(&source), "--globals", "-s"];
    let told = repository.run(without).code(3).json();
    assert!(told["warnings"].to_string().contains("without their passwords"), "{told}");
    let asked = repository.run(without.iter().chain(&["--no-role-passwords"])).ok().json();
    assert_eq!(asked["globals"], true);

    // What only superusers may do is told; the rest is done.
    let to = uri(&copy).replace("dbname=mould", "dbname=postgres");
    let restored = repository.run(["restore", "--json", "-d", &to, "--globals-only"]).code(3);
    let restored = restored.json();
    let warnings = restored["warnings"].to_string();
    assert!(warnings.contains("TABLESPACE fast 'disk'"), "{warnings}");
    assert!(warnings.contains("ROLE ATTRIBUTES second_superuser"), "{warnings}");
    assert_eq!(
        copy.query("SELECT rolconnlimit FROM pg_roles WHERE rolname = 'admin_of_roles'"),
        "7\n"
    );
}

#[test]
fn one_database_of_several_is_named() {
    let (source, copy) = (full(18), empty(17));
    let repository = repository();
    let uri = source.uri("postgres");
    let exclude = ["--exclude-database", "closed", "--exclude-database", "template1"];
    let all = ["--all-databases", "--exclude-database", "mould", "--no-globals"];
    repository.backup(&uri, &[&exclude[..], &all[..]].concat());
    let listed = repository.run(["list"]).ok().stdout_text();
    assert!(listed.contains("4 databases"), "{listed}");
    let shown = repository.run(["show", "--json"]).ok().json();
    assert_eq!(shown["snapshots"].as_array().unwrap().len(), 4);

    for command in ["ls", "export"] {
        let unnamed = repository.run([command]).code(2);
        assert!(unnamed.stderr.contains("--database"), "{}", unnamed.stderr);
    }
    let unknown = repository.run(["ls", "--database", "nothing"]).code(1);
    assert!(unknown.stderr.contains("\"latin\""), "{}", unknown.stderr);
    let ls = repository.run(["ls", "--database", "latin", "--json"]).ok().json();
    assert!(ls["objects"].as_array().unwrap().iter().any(|object| object["name"] == "words"));
    let sql = repository.run(["export", "--database", "latin", "--data-only"]).ok().stdout_text();
    assert!(sql.contains("COPY \"public\".\"words\""), "{sql}");

    // An older server without the roles.
    let into = copy.database();
    let options = ["--database", "latin", "--no-owner"];
    repository.restore(&into.uri(), &options);
    let latin = Database::adopt(&source, "latin");
    let rows = "SELECT convert_to(word, 'UTF8'), lo_get(4711) FROM words";
    assert_eq!(latin.query(rows), into.query(rows));
}

#[test]
fn nothing_is_changed_when_one_of_all_databases_is_not_empty() {
    let (source, copy) = (full(18), empty(18));
    let repository = repository();
    let uri = source.uri("postgres");
    repository.backup(&uri, &["--all-databases", "--exclude-database", "closed"]);
    // The last of them by name but one.
    copy.query("CREATE TABLE of_the_maintenance_database (other int)");
    let uri = copy.uri("postgres");
    let refused = repository.run(["restore", "-d", &uri, "--all-databases"]).code(1);
    assert!(refused.stderr.contains("of_the_maintenance_database"), "{}", refused.stderr);
    let count = "SELECT (SELECT count(*) FROM pg_database), (SELECT count(*) FROM pg_roles WHERE rolname !~ '^pg_')";
    assert_eq!(copy.query(count), "3|1\n");
    let clean = ["--all-databases", "--clean", "--if-exists"];
    repository.restore(&uri, &clean);
    source.query("DROP DATABASE closed");
    assert_same_text(&source.dump_all(&[]), &copy.dump_all(&[]));
    // And once more onto itself.
    repository.restore(&uri, &clean);
    assert_same_text(&source.dump_all(&[]), &copy.dump_all(&[]));
}

#[test]
fn globals_of_an_old_server_come_onto_a_new_one() {
    let (source, copy) = (full(14), empty(18));
    let directory = source.directory();
    let place = directory.path().display();
    source.query(&format!("CREATE TABLESPACE real LOCATION '{place}'"));
    let repository = repository();
    repository.backup(&source.uri("latin"), &[]);
    repository.restore(&copy.uri("postgres"), &["--globals-only"]);
    let told =
        "SELECT spcname, pg_tablespace_location(oid) FROM pg_tablespace WHERE spcname = 'real'";
    assert_eq!(source.query(told), copy.query(told));
    let members = "SELECT roleid::regrole, member::regrole, admin_option FROM pg_auth_members \
                   WHERE member::regrole::text !~ '^pg_' ORDER BY roleid::regrole::text, member::regrole::text";
    assert_eq!(source.query(members), copy.query(members));
}
