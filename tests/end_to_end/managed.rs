//! Servers that a provider manages: an ordinary role backs up and restores what is its own,
//! and what of it lies among the provider's.

use crate::repository;
use pgkeep_tests::{Database, Dedicated, Server, assert_same_text};

#[test]
fn project_moves_with_its_users_on_postgresql_15() {
    project_moves_with_its_users(15);
}

#[test]
fn project_moves_with_its_users_on_postgresql_18() {
    project_moves_with_its_users(18);
}

/// The user's part of a schema dump.
fn own(database: &Database<'_>) -> String {
    database.dump(&["--schema-only", "-n", "public", "-n", "private", "--no-publications"])
}

fn project_moves_with_its_users(major: u32) {
    let servers = [(); 2].map(|()| Server::dedicated(major, &Dedicated::default()));
    let [source, copy] = servers.each_ref().map(Server::database);
    for database in [&source, &copy] {
        database.load("supabase.sql", &[]);
    }
    let mut as_project = source.psql_command();
    as_project.args(["-U", "project", "-f"]).arg(pgkeep_tests::fixture("supabase-project.sql"));
    assert!(as_project.status().unwrap().success());

    let repository = repository();
    let from = source.uri_of("project");
    let without = repository.run(["backup", "-d", &from]).code(1);
    assert!(without.stderr.contains("--profile supabase"), "{}", without.stderr);
    let made = repository.backup(&from, &["--profile", "supabase"]);
    let tables = made["tables"].as_array().unwrap().iter();
    let rows_of = |schema: &str, name: &str| {
        let found = tables.clone().find(|t| t["schema"] == schema && t["name"] == name);
        found.and_then(|table| table["rows"].as_u64())
    };
    assert_eq!(rows_of("auth", "users"), Some(500));
    assert_eq!(rows_of("vault", "secrets"), None);
    assert_eq!(rows_of("auth", "schema_migrations"), None);

    let to = copy.uri_of("project");
    repository.restore(&to, &["--profile", "supabase"]);
    assert_same_text(&own(&source), &own(&copy));
    let (before, after) = (source.digests(), copy.digests());
    for table in ["auth.users", "auth.identities", "storage.buckets", "storage.objects"] {
        assert_eq!(before[table], after[table], "{table}");
    }
    for (table, digest) in before.iter().filter(|(name, _)| {
        ["public.", "private.", "auth.identities_id_seq"].iter().any(|own| name.starts_with(own))
    }) {
        assert_eq!(after.get(table), Some(digest), "{table}");
    }
    let parts = "SELECT tgrelid::regclass, tgname FROM pg_trigger WHERE NOT tgisinternal \
                 UNION ALL SELECT polrelid::regclass, polname FROM pg_policy \
                 UNION ALL SELECT prrelid::regclass, 'published' FROM pg_publication_rel ORDER BY 2";
    assert_eq!(source.query(parts), copy.query(parts));
    // It lives: somebody who signs up gets a profile, and sees it alone.
    copy.query("INSERT INTO auth.users (id, email) VALUES (extensions.uuid_generate_v4(), 'new')");
    assert_eq!(copy.query("SELECT count(*) FROM public.profiles"), "501\n");
    let seen = "SELECT set_config('request.jwt.claim.sub', id::text, false) FROM auth.users \
                WHERE email = 'new'; SET ROLE authenticated; SELECT count(*) FROM public.profiles";
    assert!(copy.query(seen).ends_with("\n1\n"));

    // A server of one's own takes all of it.
    let plain = Server::dedicated(major, &Dedicated::default());
    let plain = plain.database();
    repository.restore(&plain.uri(), &["--globals"]);
    assert_same_text(&own(&source), &own(&plain));
    assert_eq!(before["auth.users"], plain.digests()["auth.users"]);

    // Rows of two projects are not mixed.
    let again = ["restore", "-d", &to, "--profile", "supabase", "--clean", "--if-exists"];
    let refused = repository.run(again).code(1);
    assert!(refused.stderr.contains("\"auth\".\"users\""), "{}", refused.stderr);
    assert_eq!(copy.query("SELECT count(*) FROM public.profiles"), "501\n");
    copy.query("DELETE FROM auth.users; DELETE FROM storage.objects; DELETE FROM storage.buckets");
    let _ = repository.run(again).ok();
    assert_same_text(&own(&source), &own(&copy));
    assert_eq!(source.digests()["auth.users"], copy.digests()["auth.users"]);
}

#[test]
fn databases_move_between_servers_whose_superuser_is_the_provider() {
    let servers = [(); 2].map(|()| Server::dedicated(17, &Dedicated::default()));
    for server in &servers {
        server.query(
            "CREATE ROLE rdsadmin SUPERUSER LOGIN; CREATE ROLE rds_superuser;
             GRANT pg_monitor, pg_read_all_data TO rds_superuser;
             REVOKE SELECT ON pg_authid FROM pg_read_all_data;
             CREATE ROLE rds_replication; CREATE ROLE rds_password;
             CREATE ROLE master LOGIN CREATEROLE CREATEDB; GRANT rds_superuser TO master;
             GRANT SET ON PARAMETER session_replication_role TO rds_superuser;
             ALTER DATABASE template1 OWNER TO rdsadmin; ALTER DATABASE postgres OWNER TO master;",
        );
        server.query("CREATE DATABASE rdsadmin OWNER rdsadmin");
        server.query("REVOKE ALL ON DATABASE rdsadmin FROM PUBLIC");
    }
    let [source, copy] = &servers;
    let master = |sql: &str, database: &str| {
        let mut psql = source.client_program("psql");
        psql.args(["-X", "-v", "ON_ERROR_STOP=1", "-U", "master", "-d", database, "-c", sql]);
        assert!(psql.status().unwrap().success(), "{sql}");
    };
    master("CREATE ROLE app LOGIN PASSWORD 'secret'", "postgres");
    master("GRANT app TO master", "postgres");
    master("ALTER ROLE app SET search_path = shop", "postgres");
    master("CREATE DATABASE shop OWNER app", "postgres");
    master("CREATE DATABASE archive", "postgres");
    master(
        "SET ROLE app; CREATE SCHEMA shop; CREATE TABLE shop.orders AS SELECT i AS id FROM \
         generate_series(1, 1000) i; ALTER TABLE shop.orders ADD PRIMARY KEY (id)",
        "shop",
    );
    master("CREATE TABLE old (i int); INSERT INTO old VALUES (1)", "archive");

    let repository = repository();
    let all = ["--all-databases", "--profile", "rds"];
    let made = repository.backup(&source.uri_of("master", "postgres"), &all);
    assert_eq!(made["databases"], serde_json::json!(["archive", "postgres", "shop", "template1"]));
    assert_eq!(made["globals"], true);
    let restored = repository.restore(&copy.uri_of("master", "postgres"), &all);
    assert!(!restored["globals"].to_string().contains("rds"), "{restored}");
    for name in ["archive", "shop"] {
        let (before, after) = (Database::adopt(source, name), Database::adopt(copy, name));
        before.assert_same_schema(&after);
        before.assert_same_rows(&after);
    }
    let role = "SELECT rolname, rolcanlogin, setconfig FROM pg_roles r \
                JOIN pg_db_role_setting ON setrole = r.oid WHERE rolname = 'app'";
    assert_eq!(source.query(role), copy.query(role));
}
