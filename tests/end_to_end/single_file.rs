//! A backup as one file, or on standard output, which needs no repository to be read.

use crate::{pgkeep, platform, repository};
use pgkeep_tests::{Outcome, Server, every_major};

every_major!(file_restores);

fn file_restores(server: &Server) {
    let source = platform(server, "0.01");
    let repository = repository();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("platform.pgkeep");
    let file = file.to_str().unwrap();
    repository.backup(&source.uri(), &["--file", file]);
    let copy = server.database();
    let mut restore = pgkeep().command(folder.path());
    restore.env("PGKEEP_IDENTITY", repository.identity());
    let _ = Outcome::of(restore.args(["restore", file, "-d", &copy.uri()])).ok();
    source.assert_same_rows(&copy);
    source.assert_same_schema(&copy);
}

#[test]
fn standard_output_holds_the_same_backup_and_truncation_is_noticed() {
    let source = platform(Server::shared(18), "0.005");
    let repository = repository();
    let written = repository.run(["backup", "-d", &source.uri(), "--file", "-"]).ok();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("whole");
    std::fs::write(&file, &written.stdout).unwrap();
    let copy = source.server().database();
    let restore = |file: &std::path::Path, uri: &str| {
        let mut restore = pgkeep().command(folder.path());
        restore.env("PGKEEP_IDENTITY", repository.identity());
        Outcome::of(restore.arg("restore").arg(file).args(["-d", uri]))
    };
    let _ = restore(&file, &copy.uri()).ok();
    source.assert_same_rows(&copy);
    let len = written.stdout.len();
    for cut in [0, 10, 64, len / 2, len - 33, len - 1] {
        let file = folder.path().join("cut");
        std::fs::write(&file, &written.stdout[..cut]).unwrap();
        let target = source.server().database();
        let refused = restore(&file, &target.uri()).code(1);
        assert!(!refused.stderr.contains("panicked"), "{}", refused.stderr);
        let count = target.query("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'");
        assert_eq!(count, "0\n", "something was restored from a file cut to {cut} bytes");
    }
}
