//! Databases in other encodings than UTF8.

use crate::{assert_rows_come_back, repository};
use pgkeep_tests::{Database, Server, every_major};

every_major!(latin1_comes_back, euc_jp_comes_back, sql_ascii_comes_back_byte_by_byte);

fn database<'a>(server: &'a Server, encoding: &str) -> Database<'a> {
    server.database_with(&format!("ENCODING '{encoding}' LOCALE 'C'"))
}

fn assert_comes_back(server: &Server, encoding: &str, sql: &str) {
    let (source, copy) = (database(server, encoding), database(server, encoding));
    source.query(sql);
    assert_rows_come_back(&source, &copy);
    source.assert_same_schema(&copy);
}

fn latin1_comes_back(server: &Server) {
    let sql = "SET client_encoding = 'UTF8';
        CREATE TABLE \"tablé\" (id int, \"ñame\" text DEFAULT 'ÿ');
        COMMENT ON TABLE \"tablé\" IS 'Ümläut';
        INSERT INTO \"tablé\" SELECT i, 'é' || i || chr(233) FROM generate_series(1, 1000) i;";
    assert_comes_back(server, "LATIN1", sql);
}

fn euc_jp_comes_back(server: &Server) {
    let sql = "SET client_encoding = 'UTF8';
        CREATE TABLE 表 (id int, 名前 text DEFAULT '既定');
        COMMENT ON COLUMN 表.名前 IS '列の説明';
        INSERT INTO 表 SELECT i, '日本語' || i || E'\\t能\\\\表' FROM generate_series(1, 1000) i;";
    assert_comes_back(server, "EUC_JP", sql);
}

fn sql_ascii_comes_back_byte_by_byte(server: &Server) {
    let sql = "CREATE TABLE bytes (i int, v text);
        INSERT INTO bytes SELECT i, chr(i) FROM generate_series(1, 127) i;
        INSERT INTO bytes SELECT i, convert_from(set_byte('\\x00', 0, i), 'SQL_ASCII')
            FROM generate_series(128, 255) i;";
    assert_comes_back(server, "SQL_ASCII", sql);
}

#[test]
fn latin1_moves_into_a_utf8_database() {
    let server = Server::shared(18);
    let source = database(server, "LATIN1");
    source.query(
        "SET client_encoding = 'UTF8'; CREATE TABLE t (v text);
         INSERT INTO t VALUES ('Ünïcode ÿ')",
    );
    let copy = server.database();
    let repository = repository();
    repository.backup(&source.uri(), &[]);
    repository.restore(&copy.uri(), &[]);
    assert_eq!(copy.query("SELECT v FROM t"), "Ünïcode ÿ\n");
}
