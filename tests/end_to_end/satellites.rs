//! What is said about objects comes back with them, or a warning says what does not:
//! comments on types that nobody made, security labels, privileges of roles that are gone.

use crate::repository;
use pgkeep_tests::{Server, every_major};

every_major!(
    comments_on_types_that_came_with_something_come_back,
    security_labels_are_in_the_backup,
    privileges_of_a_role_that_is_gone_are_named,
);

fn comments_on_types_that_came_with_something_come_back(server: &Server) {
    let (source, copy) = (server.database(), server.database());
    source.query(
        "CREATE TYPE span AS RANGE (SUBTYPE = float8, MULTIRANGE_TYPE_NAME = spans);
         COMMENT ON TYPE spans IS 'a multirange';
         CREATE TABLE t (); COMMENT ON TYPE t IS 'a row type';
         CREATE VIEW v AS SELECT 1; COMMENT ON TYPE v IS 'a view''s row type'",
    );
    let repository = repository();
    repository.backup(&source.uri(), &[]);
    repository.restore(&copy.uri(), &[]);
    let comments = "SELECT objoid::regtype, description FROM pg_description
                    WHERE classoid = 'pg_type'::regclass AND objoid >= 16384 ORDER BY 1::text";
    assert_eq!(source.query(comments).lines().count(), 3);
    assert_eq!(source.query(comments), copy.query(comments));
}

/// No server here has a provider of labels, so they are put where one would have put them.
fn security_labels_are_in_the_backup(server: &Server) {
    let source = server.database();
    source.query(
        "CREATE TABLE t (a int, \"odd \"\"column\" int); CREATE FUNCTION f(int) RETURNS int LANGUAGE sql AS 'SELECT 1';
         SET allow_system_table_mods = on;
         INSERT INTO pg_seclabel VALUES
           ('t'::regclass, 'pg_class'::regclass, 0, 'a \"provider\"', 'it''s secret'),
           ('t'::regclass, 'pg_class'::regclass, 2, 'a \"provider\"', 'column'),
           ('f'::regproc, 'pg_proc'::regclass, 0, 'other', '')",
    );
    let repository = repository();
    repository.backup(&source.uri(), &[]);
    let sql = repository.run(["export"]).ok().stdout_text();
    let labels: Vec<_> = sql.lines().filter(|line| line.starts_with("SECURITY LABEL")).collect();
    assert_eq!(
        labels,
        [
            "SECURITY LABEL FOR \"other\" ON FUNCTION \"public\".\"f\"(integer) IS '';",
            "SECURITY LABEL FOR \"a \"\"provider\"\"\" ON COLUMN \"public\".\"t\".\"odd \"\"column\" IS 'column';",
            "SECURITY LABEL FOR \"a \"\"provider\"\"\" ON TABLE \"public\".\"t\" IS 'it''s secret';",
        ]
    );
}

fn privileges_of_a_role_that_is_gone_are_named(server: &Server) {
    let source = server.database();
    source.query(
        "CREATE TABLE t (a int); GRANT SELECT ON t TO PUBLIC;
         SET allow_system_table_mods = on;
         UPDATE pg_class SET relacl = relacl || makeaclitem(4000000000, relowner, 'SELECT', false)
         WHERE oid = 't'::regclass",
    );
    let repository = repository();
    let backup = repository.run(["backup", "--json", "-d", &source.uri()]).code(3).json();
    let warning = "privileges on TABLE \"public\".\"t\" that name \"4000000000\" are not in the backup: \
                   there is no such role";
    assert_eq!(backup["warnings"], serde_json::json!([warning]));
    let copy = server.database();
    repository.restore(&copy.uri(), &[]);
    let public = "SELECT has_table_privilege('pg_monitor', 't', 'SELECT')";
    assert_eq!(copy.query(public), "t\n");
}
