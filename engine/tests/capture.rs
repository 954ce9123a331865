//! Capture of DDL: the image before a transaction and what was captured at its commit make the
//! image after it, exactly.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use pgkeep_engine::catalog::capture::{self, Change, ChangeReader, Publishing};
use pgkeep_engine::catalog::read_image;
use pgkeep_engine::postgres::{Asked, Session, Settings, Snapshot, SnapshotOptions};
use pgkeep_format::catalog_image::{Answer, CatalogImage};
use pgkeep_tests::{Database, Server, every_major};
use tokio::runtime::Runtime;

every_major!(
    every_change_of_definitions_is_captured_as_the_catalogs_have_it,
    what_rolls_back_or_is_temporary_leaves_nothing,
    a_role_without_rights_goes_on_with_its_definitions,
    a_change_tells_of_rewritten_and_filled_tables_and_of_columns,
    a_change_tells_which_others_it_does_not_know_of,
    what_is_installed_is_removed,
    indexes_that_were_made_anew_are_told_with_their_table,
    an_application_commits_also_where_capture_fails,
);

/// A database whose changes are captured, and its image as far as they tell.
struct Captured<'a> {
    database: &'a Database<'a>,
    runtime: Runtime,
    application: Session,
    image: CatalogImage,
}

fn settings(uri: String) -> Settings {
    Settings::from_process(&Asked { database: Some(uri), ..Asked::default() }).unwrap()
}

impl<'a> Captured<'a> {
    fn new(database: &'a Database<'a>) -> Self {
        let runtime = Runtime::new().unwrap();
        let image = image(&runtime, database);
        let publishing = Publishing { publication: "pgkeep".to_owned(), keyless: true };
        let setup = capture::installation(&image, &publishing).join("\n");
        database.query(&format!("CREATE PUBLICATION pgkeep; BEGIN; {setup} COMMIT;"));
        let slot =
            format!("SELECT pg_create_logical_replication_slot('{}', 'pgoutput')", database.name());
        database.query(&slot);
        let image = self::image(&runtime, database);
        let settings = settings(database.uri());
        let application = runtime.block_on(Session::connect(&settings, "test")).unwrap();
        Self { database, runtime, application, image }
    }

    /// The messages since the last time.
    fn messages(&self) -> Vec<Vec<u8>> {
        let data = self.database.query(&format!(
            "SELECT data FROM pg_logical_slot_get_binary_changes('{}', NULL, NULL,
               'proto_version', '1', 'publication_names', 'pgkeep', 'messages', 'true')",
            self.database.name()
        ));
        data.lines().filter_map(|line| message(&bytes(line))).collect()
    }

    /// What was captured since the last time.
    fn changes(&self) -> Vec<Change> {
        let mut reader = ChangeReader::default();
        let messages = self.messages();
        messages.iter().filter_map(|content| reader.read(content).unwrap()).collect()
    }

    /// Runs statements as the application does, and brings the image up to date.
    fn run(&mut self, sql: &str) -> Vec<Change> {
        let done = self.runtime.block_on(self.application.execute(sql));
        done.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        let changes = self.follow();
        assert_eq!(self.differences(), None, "after {sql}");
        changes
    }

    fn follow(&mut self) -> Vec<Change> {
        let changes = self.changes();
        for change in &changes {
            capture::apply(&mut self.image, change).unwrap();
        }
        changes
    }

    /// What is not in the image as in the catalogs; the image is made right.
    fn differences(&mut self) -> Option<String> {
        let live = image(&self.runtime, self.database);
        let followed = std::mem::replace(&mut self.image, live);
        assert_eq!(followed.answers.len(), self.image.answers.len());
        // Roles are those of the whole server, and other tests make some.
        let of_server = |answer: &Answer| answer.sql.contains("FROM pg_catalog.pg_roles");
        let answers = followed.answers.iter().zip(&self.image.answers);
        let answers = answers.filter(|(_, live)| !of_server(live));
        let different = answers.filter_map(|(followed, live)| difference(followed, live));
        Some(different.collect::<String>()).filter(|text| !text.is_empty())
    }
}

impl Drop for Captured<'_> {
    fn drop(&mut self) {
        let name = self.database.name();
        self.database.query(&format!("SELECT pg_drop_replication_slot('{name}')"));
    }
}

fn image(runtime: &Runtime, database: &Database<'_>) -> CatalogImage {
    runtime.block_on(async {
        let settings = settings(database.uri());
        let snapshot = Snapshot::open(&settings, &SnapshotOptions::default()).await.unwrap();
        read_image(snapshot.session()).await.unwrap()
    })
}

fn difference(followed: &Answer, live: &Answer) -> Option<String> {
    assert_eq!(followed.sql, live.sql);
    let (mut left, mut right) = (followed.rows.clone(), live.rows.clone());
    // Rows that the server gives in no order.
    if !live.sql.contains("ORDER BY") {
        left.sort();
        right.sort();
    }
    if left == right {
        return None;
    }
    let lacks: Vec<_> = right.iter().filter(|row| !left.contains(row)).take(3).collect();
    let has: Vec<_> = left.iter().filter(|row| !right.contains(row)).take(3).collect();
    Some(format!("to {}\nthe image lacks {lacks:?}\nand has {has:?}\n", live.sql))
}

fn bytes(line: &str) -> Vec<u8> {
    let digits = line.strip_prefix("\\x").unwrap();
    (0..digits.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap())
        .collect()
}

/// The content of a logical message of pgkeep's.
fn message(bytes: &[u8]) -> Option<Vec<u8>> {
    let rest = bytes.strip_prefix(b"M\x01")?.get(8..)?;
    let rest = rest.strip_prefix(capture::PREFIX.as_bytes())?;
    let end = rest.iter().position(|byte| *byte == 0)?;
    Some(rest[end + 5..].to_vec())
}

/// Each is a transaction.
const STATEMENTS: &[&str] = &[
    "CREATE SCHEMA a",
    "CREATE TABLE a.t (id int PRIMARY KEY, name text NOT NULL DEFAULT 'x', CHECK (id > 0))",
    "CREATE TABLE a.child (id serial, t int REFERENCES a.t, UNIQUE (t))",
    "CREATE VIEW a.v AS SELECT id, name FROM a.t WHERE name <> 'y'",
    "CREATE VIEW a.w AS SELECT v.id, v.name, t.id AS other FROM a.v JOIN a.t ON t.id = v.id",
    "CREATE MATERIALIZED VIEW a.m AS SELECT name, count(*) FROM a.t GROUP BY 1 WITH NO DATA",
    "REFRESH MATERIALIZED VIEW a.m",
    "CREATE INDEX i ON a.t (name) WHERE name <> 'z'",
    "CREATE INDEX CONCURRENTLY j ON a.t (lower(name))",
    "ALTER INDEX a.j RENAME TO k",
    "ALTER INDEX a.k ALTER COLUMN 1 SET STATISTICS 77",
    "CREATE FUNCTION a.f(x int) RETURNS int LANGUAGE sql AS 'SELECT x + 1'",
    "CREATE TABLE a.g (x int, y int GENERATED ALWAYS AS (x * 2) STORED, z int DEFAULT a.f(1))",
    "ALTER FUNCTION a.f(int) RENAME TO ff",
    "CREATE OR REPLACE FUNCTION a.ff(x int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT x + 2'",
    "ALTER TABLE a.t ADD COLUMN added int",
    "ALTER TABLE a.t ADD COLUMN fast text DEFAULT 'it''s \"fast\"'",
    "ALTER TABLE a.t ADD COLUMN slow timestamptz DEFAULT clock_timestamp()",
    "ALTER TABLE a.t RENAME COLUMN name TO label",
    "ALTER TABLE a.t RENAME TO tt",
    "ALTER TABLE a.tt ALTER COLUMN added TYPE bigint",
    "ALTER TABLE a.child ALTER COLUMN id TYPE bigint, ALTER COLUMN t TYPE bigint",
    "ALTER TABLE a.tt ALTER COLUMN added SET NOT NULL",
    "ALTER TABLE a.tt ALTER COLUMN added DROP NOT NULL, ALTER COLUMN added SET DEFAULT 5",
    "ALTER TABLE a.tt ALTER COLUMN added DROP DEFAULT",
    "ALTER TABLE a.tt ALTER COLUMN label SET STORAGE EXTERNAL, ALTER COLUMN label SET STATISTICS 9",
    "ALTER TABLE a.tt SET (fillfactor = 70, toast.autovacuum_enabled = off)",
    "ALTER TABLE a.tt RESET (toast.autovacuum_enabled)",
    "ALTER TABLE a.tt ADD CONSTRAINT positive CHECK (added > 0) NOT VALID",
    "ALTER TABLE a.tt VALIDATE CONSTRAINT positive",
    "ALTER TABLE a.tt RENAME CONSTRAINT positive TO greater",
    "ALTER TABLE a.tt DROP CONSTRAINT greater",
    "ALTER TABLE a.tt DROP COLUMN added",
    "ALTER TABLE a.tt REPLICA IDENTITY FULL",
    "ALTER TABLE a.tt CLUSTER ON t_pkey",
    "ALTER PUBLICATION pgkeep DROP TABLE a.child; ALTER TABLE a.child SET UNLOGGED",
    "ALTER TABLE a.child SET LOGGED",
    "ALTER SCHEMA a RENAME TO \"a b\"",
    "ALTER SCHEMA \"a b\" RENAME TO a",
    "CREATE TYPE a.mood AS ENUM ('sad', 'ok')",
    "CREATE TABLE a.moods (m a.mood, ms a.mood[], d a.mood DEFAULT 'ok')",
    "ALTER TYPE a.mood ADD VALUE 'happy' AFTER 'sad'",
    "ALTER TYPE a.mood RENAME VALUE 'ok' TO 'fine'",
    "ALTER TYPE a.mood RENAME TO feeling",
    "CREATE TYPE a.pair AS (x int, y text)",
    "CREATE TABLE a.pairs (p a.pair)",
    "ALTER TYPE a.pair ADD ATTRIBUTE z date",
    "ALTER TYPE a.pair RENAME ATTRIBUTE x TO xx CASCADE",
    "CREATE TYPE a.span AS RANGE (subtype = float8)",
    "CREATE DOMAIN a.short AS text CHECK (length(VALUE) < 9)",
    "ALTER DOMAIN a.short ADD CONSTRAINT filled CHECK (VALUE <> '')",
    "ALTER DOMAIN a.short DROP CONSTRAINT filled",
    "ALTER DOMAIN a.short SET DEFAULT 'd'",
    "CREATE SEQUENCE a.s INCREMENT 5",
    "ALTER SEQUENCE a.s OWNED BY a.g.x",
    "ALTER SEQUENCE a.s OWNED BY NONE",
    "ALTER SEQUENCE a.s MAXVALUE 99999 CYCLE",
    "ALTER TABLE a.g ALTER x SET NOT NULL, ALTER x ADD GENERATED ALWAYS AS IDENTITY",
    "ALTER TABLE a.g ALTER x SET GENERATED BY DEFAULT",
    "ALTER TABLE a.g ALTER x DROP IDENTITY",
    "CREATE TABLE a.parted (k int, v text, PRIMARY KEY (k)) PARTITION BY RANGE (k)",
    "CREATE TABLE a.p1 PARTITION OF a.parted FOR VALUES FROM (0) TO (10)",
    "CREATE TABLE a.p2 (v text, k int NOT NULL)",
    "ALTER TABLE a.parted ATTACH PARTITION a.p2 FOR VALUES FROM (10) TO (20)",
    "CREATE INDEX ON a.parted (v)",
    "ALTER TABLE a.parted DETACH PARTITION a.p1",
    "ALTER TABLE a.parted DETACH PARTITION a.p2 CONCURRENTLY",
    "CREATE TABLE a.heir (extra int) INHERITS (a.g)",
    "ALTER TABLE a.heir NO INHERIT a.g",
    "ALTER TABLE a.heir INHERIT a.g",
    "ALTER TABLE a.g RENAME COLUMN z TO zz",
    "ALTER TABLE a.tt ENABLE ROW LEVEL SECURITY",
    "CREATE POLICY p ON a.tt FOR SELECT USING (label <> 'secret')",
    "ALTER POLICY p ON a.tt RENAME TO q",
    "ALTER POLICY q ON a.tt USING (label = 'open')",
    "ALTER TABLE a.tt RENAME COLUMN label TO mark",
    "CREATE FUNCTION a.fire() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN new; END'",
    "CREATE TRIGGER tr BEFORE UPDATE OF mark ON a.tt FOR EACH ROW WHEN (old.mark <> new.mark) EXECUTE FUNCTION a.fire()",
    "ALTER TRIGGER tr ON a.tt RENAME TO trr",
    "ALTER TABLE a.tt DISABLE TRIGGER trr",
    "ALTER FUNCTION a.fire() RENAME TO fired",
    "CREATE TRIGGER on_parts AFTER INSERT ON a.parted FOR EACH ROW EXECUTE FUNCTION a.fired()",
    "CREATE TABLE a.p3 PARTITION OF a.parted FOR VALUES FROM (30) TO (40)",
    "ALTER TABLE a.p3 DISABLE TRIGGER on_parts",
    "CREATE RULE r AS ON DELETE TO a.tt DO ALSO NOTIFY gone",
    "ALTER RULE r ON a.tt RENAME TO rr",
    "DROP RULE rr ON a.tt",
    "GRANT SELECT ON a.tt TO PUBLIC",
    "GRANT UPDATE (mark), SELECT (fast) ON a.tt TO PUBLIC",
    "REVOKE SELECT ON a.tt FROM PUBLIC",
    "GRANT USAGE ON SCHEMA a TO PUBLIC",
    "GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA a TO PUBLIC",
    "REVOKE EXECUTE ON FUNCTION pg_catalog.pg_sleep(float8) FROM PUBLIC",
    "GRANT EXECUTE ON FUNCTION pg_catalog.pg_sleep(float8) TO PUBLIC",
    "ALTER DEFAULT PRIVILEGES IN SCHEMA a GRANT SELECT ON TABLES TO PUBLIC",
    "ALTER DEFAULT PRIVILEGES IN SCHEMA a REVOKE SELECT ON TABLES FROM PUBLIC",
    "COMMENT ON TABLE a.tt IS 'it''s \"a\\table\", {with} (everything)'",
    "COMMENT ON COLUMN a.tt.mark IS 'line\nbreak'",
    "COMMENT ON CONSTRAINT t_pkey ON a.tt IS 'key'",
    "COMMENT ON TABLE a.tt IS NULL",
    "CREATE STATISTICS a.st (ndistinct) ON id, mark FROM a.tt",
    "ALTER STATISTICS a.st SET STATISTICS 55",
    "DROP STATISTICS a.st",
    "CREATE PUBLICATION pub FOR TABLE a.tt, a.g",
    "ALTER PUBLICATION pub DROP TABLE a.g",
    "ALTER PUBLICATION pub SET (publish = 'insert')",
    "ALTER PUBLICATION pub RENAME TO publ",
    "CREATE AGGREGATE a.total(int) (sfunc = int4pl, stype = int)",
    "CREATE OPERATOR a.=== (leftarg = int, rightarg = int, function = int4eq, commutator = OPERATOR(a.===))",
    "CREATE OPERATOR a.<<>> (leftarg = int, rightarg = int, function = int4ne, negator = OPERATOR(a.===))",
    "CREATE OPERATOR FAMILY a.fam USING btree",
    "CREATE OPERATOR CLASS a.cls FOR TYPE int USING btree FAMILY a.fam AS OPERATOR 1 <, FUNCTION 1 btint4cmp(int, int)",
    "ALTER OPERATOR FAMILY a.fam USING btree ADD OPERATOR 1 < (int, bigint)",
    "ALTER OPERATOR FAMILY a.fam USING btree DROP OPERATOR 1 (int, bigint)",
    "CREATE CAST (a.feeling AS int) WITH INOUT",
    "CREATE COLLATION a.c (provider = libc, locale = 'C')",
    "CREATE TABLE a.collated (x text COLLATE a.c)",
    "ALTER COLLATION a.c RENAME TO cc",
    "CREATE TEXT SEARCH DICTIONARY a.dict (TEMPLATE = simple)",
    "CREATE TEXT SEARCH CONFIGURATION a.conf (COPY = simple)",
    "ALTER TEXT SEARCH CONFIGURATION a.conf ALTER MAPPING FOR word WITH a.dict",
    "ALTER TEXT SEARCH DICTIONARY a.dict RENAME TO dictionary",
    "ALTER TEXT SEARCH CONFIGURATION a.conf DROP MAPPING FOR word",
    "CREATE FOREIGN DATA WRAPPER wrapper",
    "CREATE SERVER remote FOREIGN DATA WRAPPER wrapper OPTIONS (host 'h')",
    "CREATE USER MAPPING FOR PUBLIC SERVER remote OPTIONS (password 'p')",
    "CREATE FOREIGN TABLE a.ft (x int OPTIONS (o 'v')) SERVER remote OPTIONS (t 'x')",
    "ALTER SERVER remote RENAME TO faraway",
    "ALTER FOREIGN TABLE a.ft OPTIONS (SET t 'y')",
    "CREATE PROCEDURE a.proc(INOUT x int) LANGUAGE sql AS 'SELECT x'",
    "CREATE TABLE a.ctas AS SELECT 1 AS one, 'two'::text AS two",
    "SELECT 1 AS one INTO a.into_table",
    "CREATE TABLE a.\"odd \"\"name\\\" (\"col,umn {1}\" text DEFAULT E'back\\\\slash')",
    "ALTER VIEW a.v RENAME COLUMN name TO title",
    "CREATE OR REPLACE VIEW a.v AS SELECT id, mark AS title, fast FROM a.tt",
    "ALTER VIEW a.v OWNER TO CURRENT_USER",
    "CREATE EXTENSION IF NOT EXISTS plpgsql",
    "DO 'BEGIN EXECUTE ''CREATE TABLE a.hidden (x int)''; EXECUTE ''ALTER TABLE a.hidden ADD y text''; END'",
    "BEGIN; CREATE TABLE a.b1 (x int); ALTER TABLE a.b1 ADD y int; DROP TABLE a.ctas; INSERT INTO a.b1 VALUES (1, 2); ALTER TABLE a.b1 DROP COLUMN y; COMMIT",
    "BEGIN; SAVEPOINT s; CREATE TABLE a.gone (x int); ROLLBACK TO s; CREATE TABLE a.stays (x int); SAVEPOINT q; ALTER TABLE a.stays ADD y int; RELEASE q; COMMIT",
    "BEGIN; CREATE TABLE a.b2 (x int); SAVEPOINT s; ALTER TABLE a.b2 ADD y int; DROP TABLE a.stays; ROLLBACK TO s; COMMIT",
    "BEGIN; CREATE TABLE a.never (x int); DROP TABLE a.never; COMMIT",
    "BEGIN; SET CONSTRAINTS ALL IMMEDIATE; CREATE TABLE a.now (x int); ALTER TABLE a.now ADD y int; DROP TABLE a.b2; COMMIT",
    "BEGIN ISOLATION LEVEL SERIALIZABLE; CREATE TABLE a.strict (x int); ALTER TABLE a.strict ADD y int; COMMIT",
    "SET session_replication_role = replica; ALTER TABLE a.now RENAME TO later; RESET session_replication_role",
    "CREATE TEMP TABLE temporary (x int); CREATE VIEW a_view AS SELECT 1",
    "ALTER TABLE a.tt RENAME COLUMN mark TO final",
    "ALTER TABLE a.tt SET SCHEMA public",
    "ALTER TABLE public.tt SET SCHEMA a",
    "DROP FUNCTION a.ff(int) CASCADE",
    "CREATE FUNCTION a.less(int, bigint) RETURNS bool LANGUAGE internal IMMUTABLE AS 'int48lt'",
    "CREATE OPERATOR a.<<< (leftarg = int, rightarg = bigint, function = a.less)",
    "ALTER OPERATOR FAMILY a.fam USING btree ADD OPERATOR 1 a.<<< (int, bigint)",
    "DROP OPERATOR a.<<< (int, bigint) CASCADE",
    "ALTER TABLE a.child ADD CONSTRAINT odd CHECK (id <> 13)",
    "DROP VIEW a.w",
    "DROP INDEX CONCURRENTLY a.k",
    "DROP TABLE a.tt CASCADE",
    "DROP TYPE a.feeling CASCADE",
    "DROP SERVER faraway CASCADE",
    "DROP PUBLICATION publ",
    "DROP SCHEMA a CASCADE",
];

fn every_change_of_definitions_is_captured_as_the_catalogs_have_it(server: &Server) {
    let database = server.database();
    database.load_for_version("objects");
    let mut captured = Captured::new(&database);
    let mut wrong = Vec::new();
    for sql in STATEMENTS {
        match captured.runtime.block_on(captured.application.execute(sql)) {
            Ok(()) => {
                captured.follow();
                wrong.extend(captured.differences().map(|text| format!("after {sql}\n{text}")));
            }
            Err(error) => wrong.push(format!("{sql}\n{error:?}")),
        }
    }
    assert!(wrong.is_empty(), "{} are wrong:\n{}", wrong.len(), wrong.join("\n"));
}

fn what_rolls_back_or_is_temporary_leaves_nothing(server: &Server) {
    let database = server.database();
    let mut captured = Captured::new(&database);
    for sql in [
        "BEGIN; CREATE TABLE t (x int); ROLLBACK",
        "CREATE TEMP TABLE t (x serial PRIMARY KEY); ALTER TABLE t ADD y text; DROP TABLE t",
        "CREATE SCHEMA IF NOT EXISTS public",
        "DROP TABLE IF EXISTS nothing",
    ] {
        assert_eq!(captured.run(sql), [], "{sql}");
    }
    assert_eq!(database.query("SELECT count(*) FROM pgkeep.armed, pgkeep.touched").trim(), "0");
    assert_eq!(captured.run("CREATE TABLE t (x int)").len(), 1);
    assert_eq!(database.query("TABLE pgkeep.armed"), "");
    assert_eq!(database.query("TABLE pgkeep.touched"), "");
}

fn a_role_without_rights_goes_on_with_its_definitions(server: &Server) {
    let database = server.database();
    let role = format!("plain_{}", database.name());
    database.query(&format!("CREATE ROLE {role} LOGIN; CREATE SCHEMA own AUTHORIZATION {role}"));
    let mut captured = Captured::new(&database);
    let settings = settings(database.uri_of(&role));
    let ordinary = captured.runtime.block_on(Session::connect(&settings, "test")).unwrap();
    captured.application = ordinary;
    assert_eq!(captured.run("CREATE TABLE own.t (x serial PRIMARY KEY)").len(), 1);
    assert_eq!(captured.run("ALTER TABLE own.t ADD y text DEFAULT 'y'").len(), 1);
    assert_eq!(captured.run("DROP TABLE own.t").len(), 1);
    for sql in ["TABLE pgkeep.armed", "SELECT pgkeep.say('{}')"] {
        let refused = captured.runtime.block_on(captured.application.execute(sql)).unwrap_err();
        assert!(format!("{refused:?}").contains("permission denied"), "{refused:?}");
    }
    drop(captured);
    database.query(&format!("DROP OWNED BY {role} CASCADE; DROP ROLE {role}"));
}

fn a_change_tells_of_rewritten_and_filled_tables_and_of_columns(server: &Server) {
    let database = server.database();
    let mut captured = Captured::new(&database);
    let one = |changes: Vec<Change>| -> Change {
        let [change] = changes.try_into().unwrap();
        change
    };
    one(captured.run("CREATE TABLE t (gone int, a int, \"odd, (name)\" text)"));
    captured.run("INSERT INTO t VALUES (1, 2, 'three')");
    let oid: u32 = database.query("SELECT 't'::regclass::oid").trim().parse().unwrap();
    let change = one(captured.run("ALTER TABLE t ADD fast text DEFAULT '{\"f\"}', DROP gone"));
    assert!(change.rewritten.is_empty() && change.filled.is_empty());
    assert!(change.touched["pg_class"].contains(&oid));
    let columns: Vec<_> = change.columns.iter().filter(|column| column.table == oid).collect();
    let names: Vec<_> = columns.iter().map(|it| (it.number, it.name.as_str())).collect();
    assert_eq!(names, [(2, "a"), (3, "odd, (name)"), (4, "fast")]);
    assert_eq!(columns[2].missing.as_deref(), Some("{\"f\"}"));
    assert_eq!(columns[1].missing, None);
    let change = one(captured.run("ALTER TABLE t ALTER a TYPE bigint"));
    assert!(change.rewritten.contains(&oid));
    let change = one(captured.run("CREATE TABLE filled AS SELECT * FROM t"));
    let filled: u32 = database.query("SELECT 'filled'::regclass::oid").trim().parse().unwrap();
    assert!(change.filled.contains(&filled));
}

fn a_change_tells_which_others_it_does_not_know_of(server: &Server) {
    let database = server.database();
    let mut captured = Captured::new(&database);
    captured.run("CREATE TABLE t (a int); CREATE TABLE u (a int)");
    let settings = settings(database.uri());
    let other = captured.runtime.block_on(Session::connect(&settings, "test")).unwrap();
    // It sees the database as it is now, whatever is committed before it.
    let late = "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1";
    captured.runtime.block_on(other.execute(late)).unwrap();
    let early = captured.run("ALTER TABLE t ADD b int");
    captured.runtime.block_on(other.execute("ALTER TABLE u ADD b int; COMMIT")).unwrap();
    let late = captured.follow();
    assert!(!late[0].knows_of(early[0].xid));
    assert!(late[0].knows_of(late[0].xid));
    let next = captured.run("ALTER TABLE t ADD c int");
    assert!(next[0].knows_of(late[0].xid) && next[0].knows_of(early[0].xid));
}

/// No server tells of the indexes that this drops.
fn indexes_that_were_made_anew_are_told_with_their_table(server: &Server) {
    let database = server.database();
    let mut captured = Captured::new(&database);
    captured.run("CREATE TABLE t (x int PRIMARY KEY, y text); CREATE INDEX i ON t (y)");
    let reindex = captured.application.execute("REINDEX TABLE CONCURRENTLY t");
    captured.runtime.block_on(reindex).unwrap();
    captured.run("ALTER TABLE t ADD z int");
}

fn what_is_installed_is_removed(server: &Server) {
    let database = server.database();
    let before = database.schema();
    let captured = Captured::new(&database);
    assert_ne!(database.schema(), before);
    drop(captured);
    database.query("DROP PUBLICATION pgkeep");
    database.query(&capture::removal().join("\n"));
    assert_eq!(database.schema(), before);
    database.query(&capture::removal().join("\n"));
}

fn an_application_commits_also_where_capture_fails(server: &Server) {
    let database = server.database();
    let captured = Captured::new(&database);
    database.query("ALTER TABLE pgkeep.catalog_query RENAME TO lost");
    database.query("CREATE TABLE t (x int)");
    assert_eq!(database.query("SELECT count(*) FROM t").trim(), "0");
    let (mut failed, mut reader) = (0, ChangeReader::default());
    for content in captured.messages() {
        failed += usize::from(reader.read(&content).is_err());
    }
    assert_eq!(failed, 1);
}
