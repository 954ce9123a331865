//! An S3 server of a test's own over a directory, which can be killed and comes back with what it
//! had. `make tools` installs it.

use crate::s3_access::{BUCKET, S3Access};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const KEY: &str = "test-key";
const SECRET: &str = "test-secret";

/// How long a server may take to answer.
const START_LIMIT: Duration = Duration::from_secs(20);

/// A bucket on a server of its own; both go with the value.
#[derive(Debug)]
pub struct Bucket {
    root: tempfile::TempDir,
    port: u16,
    server: Option<Child>,
}

impl Bucket {
    /// Starts a server with an empty bucket.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn start() -> Self {
        let root = tempfile::tempdir().expect("a directory for a bucket");
        std::fs::create_dir(root.path().join(BUCKET)).expect("a bucket");
        let mut bucket = Self { root, port: crate::server::free_port(), server: None };
        bucket.restart();
        bucket
    }

    /// The way to the bucket.
    #[must_use]
    pub fn access(&self) -> S3Access {
        S3Access { port: self.port, key: KEY.to_owned(), secret: SECRET.to_owned() }
    }

    /// The address of a place in the bucket, for `--repo`.
    #[must_use]
    pub fn address(&self, prefix: &str) -> String {
        self.access().address(prefix)
    }

    /// The endpoint of the server.
    #[must_use]
    pub fn endpoint(&self) -> String {
        self.access().endpoint()
    }

    /// Variables of the environment that lead to the server.
    #[must_use]
    pub fn variables(&self) -> Vec<(String, String)> {
        self.access().variables()
    }

    /// The directory that holds the objects of the bucket.
    #[must_use]
    pub fn directory(&self) -> PathBuf {
        self.root.path().join(BUCKET)
    }

    /// Kills the server with SIGKILL.
    pub fn kill(&mut self) {
        if let Some(mut server) = self.server.take() {
            server.kill().expect("to kill the S3 server");
            server.wait().expect("the S3 server to end");
        }
    }

    /// Starts it again, on the same port with what it had.
    ///
    /// # Panics
    /// When it does not start.
    pub fn restart(&mut self) {
        let binary = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.pgkeep-dev/tools/bin/s3s-fs");
        assert!(binary.exists(), "there is no {}; run: make tools", binary.display());
        // It ends with us, however we end.
        let server = Command::new("setpriv")
            .args(["--pdeathsig", "KILL"])
            .arg(&binary)
            .args(["--host", "127.0.0.1", "--access-key", KEY, "--secret-key", SECRET])
            .args(["--port", &self.port.to_string()])
            .arg(self.root.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        self.server = Some(server.expect("the S3 server"));
        let deadline = Instant::now() + START_LIMIT;
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(Instant::now() < deadline, "the S3 server does not answer");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Bucket {
    fn drop(&mut self) {
        self.kill();
    }
}
