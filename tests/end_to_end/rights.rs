//! Who may do what: ordinary roles back up and restore what is theirs, and what is restored
//! can be used by those who could use it, and by nobody else.

use crate::{platform, repository};
use pgkeep_tests::{Server, every_major};

every_major!(ordinary_role_backs_up_and_restores_what_is_its_own);

fn ordinary_role_backs_up_and_restores_what_is_its_own(server: &Server) {
    let (source, copy) = (server.database(), server.database());
    server.query(
        "DO $$ BEGIN CREATE ROLE ordinary LOGIN;
         EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$",
    );
    for database in [&source, &copy] {
        let name = database.name();
        server.query(&format!("ALTER DATABASE {name} OWNER TO ordinary"));
        database.query("GRANT CREATE ON SCHEMA public TO ordinary");
    }
    source.query(
        "SET ROLE ordinary; CREATE SCHEMA own; CREATE TYPE own.state AS ENUM ('on', 'off');
         CREATE TABLE own.parent (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, s own.state);
         CREATE TABLE public.child (id serial PRIMARY KEY, parent int REFERENCES own.parent);
         INSERT INTO own.parent (s) SELECT 'on' FROM generate_series(1, 1000);
         INSERT INTO public.child (parent) SELECT 1 + i % 1000 FROM generate_series(1, 5000) i;
         CREATE VIEW own.all_on AS SELECT * FROM own.parent WHERE s = 'on';
         CREATE FUNCTION own.f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
         CREATE TRIGGER t BEFORE UPDATE ON public.child FOR EACH ROW EXECUTE FUNCTION own.f();
         COMMENT ON SCHEMA own IS 'mine'",
    );
    let repository = repository();
    repository.backup(&source.uri_of("ordinary"), &[]);
    repository.restore(&copy.uri_of("ordinary"), &[]);
    source.assert_same_rows(&copy);
    let own = ["--schema-only", "-n", "own", "-t", "public.child"];
    pgkeep_tests::assert_same_text(&source.dump(&own), &copy.dump(&own));
    repository.restore(&copy.uri_of("ordinary"), &["--clean", "--if-exists"]);
    source.assert_same_rows(&copy);
}

#[test]
fn default_privileges_of_the_target_grant_nothing_on_what_is_restored() {
    let source = platform(Server::shared(18), "0.002");
    let repository = repository();
    repository.backup(&source.uri(), &[]);
    let copy = source.server().database();
    copy.query(
        "ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO app_user;
         ALTER DEFAULT PRIVILEGES GRANT USAGE ON SEQUENCES TO PUBLIC;
         ALTER DEFAULT PRIVILEGES GRANT CREATE ON SCHEMAS TO app_user",
    );
    repository.restore(&copy.uri(), &[]);
    copy.query(
        "ALTER DEFAULT PRIVILEGES REVOKE ALL ON TABLES FROM app_user;
         ALTER DEFAULT PRIVILEGES REVOKE USAGE ON SEQUENCES FROM PUBLIC;
         ALTER DEFAULT PRIVILEGES REVOKE CREATE ON SCHEMAS FROM app_user",
    );
    source.assert_same_schema(&copy);
}

#[test]
fn all_connections_become_the_role_that_is_asked_for() {
    let server = Server::shared(18);
    server.query(
        "DO $$ BEGIN CREATE ROLE becomes NOLOGIN;
         EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$",
    );
    let (source, copy) = (server.database(), server.database());
    source.query(
        "CREATE TABLE mine (id int); INSERT INTO mine VALUES (1); CREATE TABLE secret (id int);
         GRANT SELECT ON mine TO becomes",
    );
    copy.query("GRANT CREATE ON SCHEMA public TO becomes");
    server.query(&format!("GRANT CREATE ON DATABASE {} TO becomes", copy.name()));
    let repository = repository();
    let backup = |role: &str| repository.run(["backup", "-d", &source.uri(), "--role", role]);
    let refused = backup("becomes").code(1);
    assert!(refused.stderr.contains("secret"), "{}", refused.stderr);
    let refused = backup("nobody_of_this_name").code(1);
    assert!(refused.stderr.contains("nobody_of_this_name"), "{}", refused.stderr);
    source.query("GRANT SELECT ON secret TO becomes");
    repository.backup(&source.uri(), &["--role", "becomes"]);
    repository.restore(&copy.uri(), &["--role", "becomes", "--no-owner", "--no-privileges"]);
    source.assert_same_rows(&copy);
    let owners = "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'public'";
    assert_eq!(copy.query(owners), "becomes\n");
}
