//! Rows in the binary format of COPY: every built-in type comes back on every version from its own on,
//! is written as the text that the server writes, and is binary where that is meant.

use crate::export::psql;
use crate::repository;
use pgkeep_tests::{Database, MAJORS, Repository, Server, every_major};
use std::fmt::Write;
use std::path::Path;

every_major!(values_of_every_built_in_type_come_back_on_all_later_versions);

/// Literals of types. A type of which nothing is said here makes the test fail.
const VALUES: &[(&str, &[&str])] = &[
    ("bool", &["t", "f"]),
    ("bytea", &["", "\\x00ff5c0a09", "\\xdeadbeef"]),
    ("char", &["", "x", "\\377"]),
    ("name", &["", "plain", "with \"quotes\"\tand tabs"]),
    ("int8", &["0", "-1", "9223372036854775807", "-9223372036854775808"]),
    ("int2", &["0", "32767", "-32768"]),
    ("int2vector", &["1 2 3"]),
    ("int4", &["0", "2147483647", "-2147483648"]),
    ("regproc", &["now"]),
    ("text", &["", "\\N", "tab\tnewline\nreturn\rbackslash\\", "ünïcödé 🐘", "\\."]),
    ("oid", &["0", "4294967295"]),
    ("tid", &["(0,1)"]),
    ("xid", &["4294967295"]),
    ("cid", &["7"]),
    ("oidvector", &["1 2"]),
    ("json", &["{\"a\" :  [1, null, \"\\n\"]}", "\"\\\\\""]),
    ("jsonb", &["{\"a\": [1, null, \"\\n\"]}", "\"\\\\ \\t\"", "1.500", "null"]),
    ("xml", &["<a>b</a>"]),
    ("pg_node_tree", &[]),
    ("pg_ndistinct", &[]),
    ("pg_dependencies", &[]),
    ("pg_mcv_list", &[]),
    ("pg_brin_bloom_summary", &[]),
    ("pg_brin_minmax_multi_summary", &[]),
    ("xid8", &["18446744073709551615"]),
    ("point", &["(1.5,-2)"]),
    ("lseg", &["[(0,0),(1,1)]"]),
    ("path", &["((0,0),(1,1))", "[(0,0),(1,1)]"]),
    ("box", &["(1,1),(0,0)"]),
    ("polygon", &["((0,0),(1,1),(1,0))"]),
    ("line", &["{1,2,3}"]),
    ("float4", &["0", "-0", "1e-45", "3.4028235e+38", "123456", "1234567", "NaN", "Infinity"]),
    (
        "float8",
        &["0", "-0", "5e-324", "1.7976931348623157e+308", "0.1", "1e15", "1e-5", "-Infinity"],
    ),
    ("circle", &["<(0,0),2>"]),
    ("money", &["$1,234.56", "-$0.01"]),
    ("macaddr", &["08:00:2b:01:02:03"]),
    (
        "inet",
        &[
            "10.0.0.1",
            "10.0.0.1/8",
            "::",
            "::1",
            "2001:db8::/32",
            "::ffff:1.2.3.4",
            "::1.2.3.4",
            "1:0:0:2:0:0:0:3",
            "0:0:0:0:1:0:0:0",
            "::1:2:3:4:5",
            "1:2:3:4:5:6:7:0",
        ],
    ),
    ("cidr", &["10.0.0.0/8", "10.0.0.1/32", "2001:db8::/32", "::/0", "::ffff:0:0/96"]),
    ("macaddr8", &["08:00:2b:01:02:03:04:05"]),
    ("aclitem", &[]),
    ("bpchar", &["", "padded  "]),
    ("varchar", &["", "a\\b"]),
    (
        "date",
        &[
            "2000-01-01",
            "4713-01-01 BC",
            "0001-01-01",
            "0001-12-31 BC",
            "5874897-12-31",
            "1900-02-28",
            "2024-02-29",
            "10000-01-01",
            "infinity",
            "-infinity",
        ],
    ),
    ("time", &["00:00", "24:00", "12:34:56.000001", "23:59:59.9"]),
    (
        "timestamp",
        &[
            "2000-01-01",
            "4714-11-24 00:00:00 BC",
            "294276-12-31 23:59:59.999999",
            "1999-12-31 23:59:59.5",
            "1970-01-01",
            "infinity",
            "-infinity",
        ],
    ),
    (
        "timestamptz",
        &[
            "2000-01-01 00:00:00+02",
            "4714-11-24 00:00:00+00 BC",
            "0001-01-01 00:00:00+00",
            "294276-12-31 23:59:59.999999+00",
            "infinity",
            "-infinity",
        ],
    ),
    (
        "interval",
        &[
            "0",
            "1 year 2 mons -3 days 04:05:06.7",
            "-1 day 1 sec",
            "-1 mon 1 day",
            "-00:00:00.000001",
            "1 mon",
            "-13 mons",
            "2 days",
            "178000000 years",
            "300 hours",
        ],
    ),
    ("timetz", &["00:00+00", "24:00-15:59", "12:34:56.5+05:30", "01:02:03-03:04:05"]),
    ("bit", &["1", "0"]),
    ("varbit", &["", "1", "10101010", "110011001"]),
    (
        "numeric",
        &[
            "0",
            "0.00",
            "-12.340",
            "1e130",
            "1e-130",
            "12345678901234567890.0123456789",
            "10000",
            "99999999",
            "0.0001",
            "-0.00001",
            "1e131071",
            "NaN",
            "Infinity",
            "-Infinity",
        ],
    ),
    ("refcursor", &["c"]),
    ("regprocedure", &["now()"]),
    ("regoper", &["||/"]),
    ("regoperator", &["+(int4,int4)"]),
    ("regclass", &["pg_class"]),
    ("regcollation", &["\"C\""]),
    ("regtype", &["int4"]),
    ("regrole", &["postgres"]),
    ("regnamespace", &["pg_catalog"]),
    ("regdatabase", &["postgres"]),
    ("uuid", &["00112233-4455-6677-8899-aabbccddeeff"]),
    ("pg_lsn", &["16/B374D848"]),
    ("tsvector", &["'a':1A 'b c'"]),
    ("gtsvector", &[]),
    ("tsquery", &["'a' & !'b'"]),
    ("regconfig", &["english"]),
    ("regdictionary", &["simple"]),
    ("jsonpath", &["$.\"a\"[*]"]),
    ("txid_snapshot", &["10:20:10,14"]),
    ("pg_snapshot", &["10:20:10,14"]),
    ("int4range", &["empty", "[1,5)", "(,)"]),
    ("numrange", &["[1.5,2]", "empty"]),
    ("tsrange", &["[2000-01-01,2001-01-01)"]),
    ("tstzrange", &["[2000-01-01 00:00+00,)"]),
    ("daterange", &["[2000-01-01,2001-01-01)"]),
    ("int8range", &["[1,5)"]),
    ("int4multirange", &["{[1,3),[5,7)}"]),
    ("nummultirange", &["{[1,3),[5,7)}"]),
    ("tsmultirange", &["{}"]),
    ("tstzmultirange", &["{}"]),
    ("datemultirange", &["{}"]),
    ("int8multirange", &["{[1,3)}"]),
];

/// What is read as text: values whose bytes are not the same everywhere, or say nothing without the
/// catalogs, and what few tables have.
const AS_TEXT: &[&str] = &[
    "char",
    "int2vector",
    "regproc",
    "tid",
    "xid",
    "cid",
    "oidvector",
    "xml",
    "xid8",
    "point",
    "lseg",
    "path",
    "box",
    "polygon",
    "line",
    "circle",
    "money",
    "refcursor",
    "regprocedure",
    "regoper",
    "regoperator",
    "regclass",
    "regcollation",
    "regtype",
    "regrole",
    "regnamespace",
    "regdatabase",
    "pg_lsn",
    "tsvector",
    "tsquery",
    "regconfig",
    "regdictionary",
    "jsonpath",
    "txid_snapshot",
    "pg_snapshot",
    "int4range",
    "numrange",
    "tsrange",
    "tstzrange",
    "daterange",
    "int8range",
    "int4multirange",
    "nummultirange",
    "tsmultirange",
    "tstzmultirange",
    "datemultirange",
    "int8multirange",
];

fn quoted(literal: &str) -> String {
    format!("E'{}'", literal.replace('\\', "\\\\").replace('\'', "''"))
}

/// Built-in types that a column may have.
fn types(database: &Database<'_>) -> Vec<String> {
    let names = database.query(
        "SELECT typname FROM pg_type WHERE typtype IN ('b', 'r', 'm') AND typelem = 0
             AND typnamespace = 'pg_catalog'::regnamespace AND oid < 10000
         UNION SELECT typname FROM pg_type WHERE typname IN
             ('point', 'lseg', 'box', 'line', 'name', 'int2vector', 'oidvector') ORDER BY 1",
    );
    names.lines().map(str::to_owned).collect()
}

/// A table of each type: its values and NULL, and arrays of them, of one dimension and of two.
fn tables(database: &Database<'_>) -> Vec<String> {
    let mut tables = Vec::new();
    for name in types(database) {
        let (_, values) = VALUES.iter().find(|(known, _)| *known == name).unwrap_or_else(|| {
            panic!("no values of type {name}");
        });
        if values.is_empty() {
            continue;
        }
        let of_type = format!("pg_catalog.\"{name}\"");
        let mut sql = format!("CREATE TABLE \"v_{name}\" (id int, v {of_type});");
        for (id, value) in values.iter().enumerate() {
            write!(sql, "INSERT INTO \"v_{name}\" VALUES ({id}, {}::{of_type});", quoted(value))
                .unwrap();
        }
        if name.ends_with("vector") && !name.starts_with("ts") {
            // No array is made of what is one already.
            database.query(&sql);
            tables.push(format!("v_{name}"));
            continue;
        }
        write!(
            sql,
            "INSERT INTO \"v_{name}\" VALUES (-1, NULL);
             CREATE TABLE \"v_{name}_array\" (id int, v {of_type}[]);
             INSERT INTO \"v_{name}_array\" SELECT 1, array_agg(v ORDER BY id) FROM \"v_{name}\";
             INSERT INTO \"v_{name}_array\" SELECT 2, ARRAY[array_agg(v ORDER BY id),
                 array_agg(v ORDER BY id DESC)] FROM \"v_{name}\";
             INSERT INTO \"v_{name}_array\" VALUES (3, '{{}}'), (4, NULL);
             INSERT INTO \"v_{name}_array\" SELECT 5, array_fill(v, ARRAY[2, 1], ARRAY[0, -3])
                 FROM \"v_{name}\" WHERE id = 0"
        )
        .unwrap();
        database.query(&sql);
        tables.extend([format!("v_{name}_array"), format!("v_{name}")]);
    }
    tables
}

/// How the rows of a table are stored.
fn row_formats(repository: &Repository) -> Vec<(String, String)> {
    let listing = repository.run(["ls", "latest", "--json"]).ok().json();
    let objects = listing["objects"].as_array().unwrap().iter();
    objects
        .filter_map(|object| {
            let format = object["row_format"].as_str()?.to_owned();
            Some((object["name"].as_str()?.to_owned(), format))
        })
        .collect()
}

/// Compares what is exported as CSV with what the server writes, byte by byte.
fn assert_written_as_text(source: &Database<'_>, repository: &Repository, tables: &[String]) {
    let folder = source.server().directory();
    let output = folder.path().join("csv");
    let output = output.to_str().unwrap();
    let _ = repository.run(["export", "-q", "--format", "csv", "-o", &format!("{output}/")]).ok();
    for table in tables {
        let theirs = source.query(&format!(
            "SET timezone = 'UTC'; SET intervalstyle = postgres; SET extra_float_digits = 3; \
             SET datestyle = ISO; COPY \"{table}\" TO STDOUT (FORMAT csv, HEADER)"
        ));
        let ours = std::fs::read(Path::new(output).join(format!("public.{table}.csv"))).unwrap();
        let ours = String::from_utf8_lossy(&ours);
        for (ours, theirs) in ours.split('\n').zip(theirs.split('\n')) {
            assert_eq!(ours, theirs, "{table}");
        }
        assert_eq!(ours.len(), theirs.len(), "{table}");
    }
}

fn values_of_every_built_in_type_come_back_on_all_later_versions(server: &Server) {
    let source = server.database();
    let tables = tables(&source);
    assert!(tables.len() > 120, "{} tables", tables.len());
    let repository = repository();
    repository.backup(&source.uri(), &[]);
    for (table, format) in row_formats(&repository) {
        let of_type = table.trim_start_matches("v_").trim_end_matches("_array");
        let expected = if AS_TEXT.contains(&of_type) { "text" } else { "binary" };
        assert_eq!(format, expected, "{table}");
    }
    assert_written_as_text(&source, &repository, &tables);
    for major in MAJORS.iter().filter(|major| **major >= server.major()) {
        let copy = Server::shared(*major).database();
        repository.restore(&copy.uri(), &[]);
        source.assert_same_rows(&copy);
    }
}

/// All powers of two and ten with their neighbours, and many numbers of all sizes: what is the shortest
/// text of a number is told by such.
#[test]
fn floats_are_written_with_the_digits_that_the_server_writes() {
    let source = Server::shared(18).database();
    source.query(
        "CREATE TABLE doubles (v float8); CREATE TABLE singles (v float4);
         INSERT INTO doubles SELECT ('1e' || i)::float8 FROM generate_series(-323, 308) i;
         INSERT INTO doubles SELECT 2::float8 ^ i FROM generate_series(-1070, 1023) i;
         INSERT INTO doubles SELECT v * (1 + f * 2.220446049250313e-16::float8)
             FROM doubles, unnest(ARRAY[-2, -1, -0.5, 1, 2, 3]::float8[]) f WHERE v < 1e307;
         INSERT INTO doubles SELECT i * 0.01 FROM generate_series(1, 20000) i;
         SELECT setseed(0.5);
         INSERT INTO doubles SELECT (random() - 0.5) * 10::float8 ^ (random() * 600 - 300)
             FROM generate_series(1, 40000);
         INSERT INTO singles SELECT ('1e' || i)::float4 FROM generate_series(-44, 38) i;
         INSERT INTO singles SELECT (2::float8 ^ i)::float4 FROM generate_series(-148, 127) i;
         INSERT INTO singles SELECT v * (1 + f * 1.1920929e-07::float4)
             FROM singles, unnest(ARRAY[-2, -1, -0.5, 1, 2, 3]::float4[]) f WHERE v < 1e37;
         INSERT INTO singles SELECT ((random() - 0.5) * 10::float8 ^ (random() * 70 - 35))::float4
             FROM generate_series(1, 40000)",
    );
    let repository = repository();
    repository.backup(&source.uri(), &[]);
    assert_written_as_text(&source, &repository, &["doubles".to_owned(), "singles".to_owned()]);
}

/// Values of domains and enums are binary as those of what they are made of; a table with one column
/// that is not known is text.
#[test]
fn domains_and_enums_are_binary_and_come_back() {
    let server = Server::shared(18);
    let source = server.database();
    source.query(
        "CREATE TYPE mood AS ENUM ('sad', 'so so', 'it''s ok');
         CREATE DOMAIN feeling AS mood; CREATE DOMAIN deeper AS feeling CHECK (VALUE::text <> 'sad');
         CREATE DOMAIN positive AS int CHECK (VALUE > 0); CREATE DOMAIN words AS text[];
         CREATE TABLE own (m mood, f feeling, d deeper, p positive, w words, c varchar(5), n numeric(6, 2));
         INSERT INTO own VALUES ('so so', 'sad', 'it''s ok', 7, ARRAY['a b', NULL], 'abc', 12.5);
         INSERT INTO own (m) VALUES (NULL);
         CREATE TABLE mixed (m mood, ms mood[]); INSERT INTO mixed VALUES ('sad', ARRAY['sad']::mood[]);
         CREATE TABLE composite (r own); INSERT INTO composite SELECT own FROM own",
    );
    let repository = repository();
    repository.backup(&source.uri(), &[]);
    let formats = row_formats(&repository);
    let format = |name: &str| formats.iter().find(|(known, _)| known == name).unwrap().1.clone();
    assert_eq!(["own", "mixed", "composite"].map(format), ["binary", "text", "text"]);
    assert_written_as_text(&source, &repository, &["own".to_owned(), "mixed".to_owned()]);
    let copy = server.database();
    repository.restore(&copy.uri(), &[]);
    source.assert_same_rows(&copy);
}

/// Binary values mean nothing to a column of another type, and eight bytes of one may be those of
/// another: into tables that were there, rows go as text.
#[test]
fn rows_go_into_tables_with_other_types_as_text_does() {
    let server = Server::shared(18);
    let source = server.database();
    source.query(
        "CREATE TABLE t (id int, at timestamptz, n bigint, b bytea);
         INSERT INTO t SELECT i, to_timestamp(i * 1e5), i * 1e9::bigint, sha256(i::text::bytea)
             FROM generate_series(1, 1000) i",
    );
    let repository = repository();
    repository.backup(&source.uri(), &[]);
    let copy = server.database();
    copy.query("CREATE TABLE t (n numeric, id bigint, b bytea, at text)");
    repository.restore(&copy.uri(), &["--data-only"]);
    let sums =
        "SELECT count(*), sum(id), sum(n), md5(string_agg(at::timestamptz::text, ',' ORDER BY id)),
                       md5(string_agg(encode(b, 'hex'), ',' ORDER BY id)) FROM t";
    assert_eq!(copy.query(sums), source.query(sums));
}

/// All that is exported as SQL loads, large objects among it.
#[test]
fn sql_of_binary_rows_loads() {
    let server = Server::shared(18);
    let source = server.database();
    source.query(
        "CREATE TABLE t (id int PRIMARY KEY, j jsonb, b bytea, a text[], at timestamp);
         INSERT INTO t SELECT i, jsonb_build_object('k', E'\\\\ \\n' || i), sha256(i::text::bytea),
             ARRAY[E'a\\\\b', NULL, '']::text[], timestamp '2000-01-01' + i * interval '1.5 s'
             FROM generate_series(1, 5000) i;
         SELECT lo_from_bytea(4711, decode(repeat('00ff5c0a', 1000), 'hex'))",
    );
    let repository = repository();
    repository.backup(&source.uri(), &[]);
    let folder = server.directory();
    for option in ["--no-owner", "--inserts"] {
        let script = folder.path().join(format!("script{option}.sql"));
        let arguments = ["export", "-q", option, "-o", script.to_str().unwrap()];
        let _ = repository.run(arguments).ok();
        let copy = server.database();
        psql(&copy, &script, &[]);
        source.assert_same_rows(&copy);
    }
}
