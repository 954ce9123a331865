//! Parts of a database: what is asked for is restored, and nothing else is touched.

use crate::{platform, repository};
use pgkeep_tests::{Database, Server, assert_same_text, every_major};

every_major!(lost_table_is_restored_alone, clean_replaces_what_is_there);

fn tables(database: &Database<'_>) -> String {
    database.query(
        "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables
         WHERE schemaname NOT IN ('pg_catalog', 'information_schema') ORDER BY 1",
    )
}

fn lost_table_is_restored_alone(server: &Server) {
    let source = platform(server, "0.01");
    let repository = repository();
    repository.backup(&source.uri(), &[]);
    let rows = source.digests();
    let definition = source.dump(&["--schema-only", "-t", "jobs", "-t", "open_jobs"]);
    source.query("DROP TABLE jobs CASCADE; UPDATE clients SET name = 'later' WHERE id = 1");
    let clients = source.digests()["public.clients"].clone();
    repository.restore(&source.uri(), &["-t", "jobs", "-t", "open_jobs"]);
    let restored = source.digests();
    assert_eq!(restored["public.jobs"], rows["public.jobs"]);
    assert_eq!(restored["public.jobs_id_seq"], rows["public.jobs_id_seq"]);
    assert_eq!(restored["public.clients"], clients, "another table was touched");
    let restored = source.dump(&["--schema-only", "-t", "jobs", "-t", "open_jobs"]);
    assert_same_text(&definition, &restored);
}

fn clean_replaces_what_is_there(server: &Server) {
    let source = platform(server, "0.005");
    let repository = repository();
    repository.backup(&source.uri(), &[]);
    let copy = server.database();
    repository.restore(&copy.uri(), &[]);
    copy.query("UPDATE clients SET name = name || ' changed'; DROP TABLE jobs CASCADE");
    let refused = repository.run(["restore", "-d", &copy.uri()]).code(1);
    assert!(refused.stderr.contains("--clean"), "no hint at --clean: {}", refused.stderr);
    repository.restore(&copy.uri(), &["--clean", "--if-exists"]);
    source.assert_same_rows(&copy);
    source.assert_same_schema(&copy);
}

#[test]
fn schema_of_a_name_is_restored_alone() {
    let source = platform(Server::shared(18), "0.01");
    let repository = repository();
    repository.backup(&source.uri(), &[]);
    let copy = source.server().database();
    copy.query("CREATE EXTENSION citext; CREATE DOMAIN email_address AS citext");
    repository.restore(&copy.uri(), &["-n", "auth"]);
    assert_eq!(tables(&copy), "auth.users\n");
    assert_eq!(copy.digests()["auth.users"], source.digests()["auth.users"]);
}

#[test]
fn schema_only_then_data_only_make_the_whole() {
    let source = platform(Server::shared(18), "0.01");
    let repository = repository();
    repository.backup(&source.uri(), &[]);
    let copy = source.server().database();
    repository.restore(&copy.uri(), &["--schema-only"]);
    source.assert_same_schema(&copy);
    assert_eq!(copy.digests()["public.jobs"].rows, 0);
    repository.restore(&copy.uri(), &["--data-only"]);
    let (source_rows, mut copy_rows) = (source.digests(), copy.digests());
    // Constraint triggers of the copy were there while rows came in, and did their work.
    copy_rows.insert("private.audit".to_owned(), source_rows["private.audit"].clone());
    // Materialized views are no data of their own: pg_dump refreshes them with the schema.
    for view in ["public.monthly_totals", "public.yearly_totals"] {
        copy_rows.insert(view.to_owned(), source_rows[view].clone());
    }
    assert_eq!(source_rows, copy_rows);
}

#[test]
fn backup_of_chosen_tables_holds_only_them() {
    let source = platform(Server::shared(17), "0.01");
    let repository = repository();
    repository.backup(&source.uri(), &["-t", "schedules", "-t", "user_*", "-t", "\"jobs\""]);
    let listing = repository.run(["ls", "latest"]).ok().stdout_text();
    for table in ["schedules", "user_clients", "jobs"] {
        assert!(listing.contains(table), "{table} is not in the backup:\n{listing}");
    }
    assert!(!listing.contains("transactions"), "{listing}");
}

#[test]
fn excluded_tables_and_rows_stay_out() {
    let source = platform(Server::shared(16), "0.01");
    let repository = repository();
    let options = ["-T", "schedules", "--exclude-table-data", "transactions_2025_*"];
    repository.backup(&source.uri(), &options);
    let copy = source.server().database();
    repository.restore(&copy.uri(), &[]);
    assert!(!tables(&copy).contains("schedules"));
    let rows = copy.digests();
    assert_eq!(rows["public.transactions_2025_03"].rows, 0);
    assert_eq!(rows["public.jobs"], source.digests()["public.jobs"]);
}

#[test]
fn table_left_out_of_a_restore_is_not_there() {
    let source = platform(Server::shared(15), "0.01");
    let repository = repository();
    repository.backup(&source.uri(), &[]);
    let copy = source.server().database();
    repository.restore(&copy.uri(), &["-T", "schedules"]);
    assert_eq!(tables(&copy), tables(&source).replace("public.schedules\n", ""));
}

#[test]
fn pattern_without_a_match_is_an_error() {
    let source = platform(Server::shared(14), "0.002");
    let repository = repository();
    let nothing = repository.run(["backup", "-d", &source.uri(), "-t", "no_such_table"]).code(1);
    assert!(nothing.stderr.contains("no_such_table"), "{}", nothing.stderr);
    repository.backup(&source.uri(), &[]);
    let copy = source.server().database();
    let nothing = repository.run(["restore", "-d", &copy.uri(), "-t", "no_such_table"]).code(1);
    assert!(nothing.stderr.contains("no_such_table"), "{}", nothing.stderr);
}

#[test]
fn owners_and_privileges_can_be_left_out() {
    let source = platform(Server::shared(18), "0.002");
    let repository = repository();
    repository.backup(&source.uri(), &[]);
    let copy = source.server().database();
    repository.restore(&copy.uri(), &["--no-owner", "--no-acl"]);
    let without = ["--schema-only", "--no-owner", "--no-acl"];
    assert_same_text(&source.dump(&without), &copy.dump(&without));
    let schema = copy.schema();
    assert!(!schema.contains("OWNER TO app_owner"), "{schema}");
    assert!(!schema.contains("GRANT "), "{schema}");
}

#[test]
fn schema_is_restored_under_another_name() {
    let source = platform(Server::shared(18), "0.005");
    let repository = repository();
    repository.backup(&source.uri(), &[]);
    repository.restore(&source.uri(), &["-t", "auth.users", "--rename-schema", "auth=auth_then"]);
    let rows = source.digests();
    assert_eq!(rows["auth_then.users"], rows["auth.users"]);
}

#[test]
fn create_makes_the_database_with_its_settings() {
    let source = platform(Server::shared(17), "0.005");
    source.query(&format!(
        "COMMENT ON DATABASE {0} IS 'the platform'; ALTER DATABASE {0} SET work_mem = '8MB';
         GRANT CONNECT ON DATABASE {0} TO app_user",
        source.name()
    ));
    let repository = repository();
    repository.backup(&source.uri(), &[]);
    let other = Server::shared(18);
    other.query(&format!(
        "DO $$ BEGIN CREATE ROLE app_owner; EXCEPTION WHEN OTHERS THEN NULL; END $$;
         DO $$ BEGIN CREATE ROLE app_admin; EXCEPTION WHEN OTHERS THEN NULL; END $$;
         DO $$ BEGIN CREATE ROLE app_user; EXCEPTION WHEN OTHERS THEN NULL; END $$;
         DROP DATABASE IF EXISTS {}",
        source.name()
    ));
    let copy = Database::adopt(other, source.name());
    repository.restore(&other.uri("postgres"), &["--create"]);
    source.assert_same_rows(&copy);
    let create = ["--schema-only", "--create"];
    assert_same_text(&source.dump(&create), &copy.dump(&create));
}

#[test]
fn dry_run_touches_nothing() {
    let source = platform(Server::shared(18), "0.002");
    let repository = repository();
    repository.backup(&source.uri(), &[]);
    let copy = source.server().database();
    let plan = repository.run(["restore", "--dry-run", "-d", &copy.uri()]).ok();
    assert!(plan.stdout_text().contains("jobs"), "the plan does not name jobs");
    assert_eq!(tables(&copy), "");
}
