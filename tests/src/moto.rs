//! A fake S3 of a test's own, with object lock, and with users whose policies are enforced.
//! `make tools` installs it.

use crate::s3_access::{BUCKET, S3Access};
use serde_json::Value;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long the server may take to answer.
const START_LIMIT: Duration = Duration::from_secs(60);

/// Who may do everything.
const ALL: &str = r#"{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}}"#;

/// A bucket on a server that knows users; all goes with the value.
#[derive(Debug)]
pub struct Moto {
    port: u16,
    server: Child,
    owner: Option<S3Access>,
}

impl Moto {
    /// Starts a server with an empty bucket, and a user who may do everything.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// As [`Moto::start`], with a bucket that takes object locks.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn start_with_locks() -> Self {
        Self::start_with(&["lock"])
    }

    fn start_with(bucket: &[&str]) -> Self {
        let port = crate::server::free_port();
        // It ends with us, however we end.
        let server = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "python3", "-m", "moto.server", "-H", "127.0.0.1"])
            .args(["-p", &port.to_string()])
            .env("PYTHONPATH", packages())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let mut moto = Self { port, server: server.expect("moto"), owner: None };
        let deadline = Instant::now() + START_LIMIT;
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < deadline, "moto does not answer");
            std::thread::sleep(Duration::from_millis(20));
        }
        moto.ask(&[&["bucket", BUCKET], bucket].concat());
        moto.owner = Some(moto.user("owner", ALL));
        moto
    }

    /// The way to the bucket as the user who may do everything.
    ///
    /// # Panics
    /// Never: the user was made at the start.
    #[must_use]
    pub fn owner(&self) -> &S3Access {
        self.owner.as_ref().expect("an owner")
    }

    /// Makes a user who may do what the policy says; returns their way to the bucket.
    ///
    /// # Panics
    /// When the policy is refused.
    #[must_use]
    pub fn user(&self, name: &str, policy: &str) -> S3Access {
        let printed = self.ask(&["user", name, policy]);
        let (key, secret) = printed.trim().split_once(' ').expect("a key and its secret");
        S3Access { port: self.port, key: key.to_owned(), secret: secret.to_owned() }
    }

    /// From now on policies are enforced.
    pub fn enforce(&self) {
        self.ask(&["enforce"]);
    }

    /// What was asked for each object, by its key: `class`, `encryption`, `key`, `lock`, `days`.
    ///
    /// # Panics
    /// When the server does not say.
    #[must_use]
    pub fn objects(&self) -> Vec<(String, Value)> {
        let said: Value = serde_json::from_str(&self.ask(&["objects", BUCKET])).expect("JSON");
        let objects = said.as_object().expect("an object");
        objects.iter().map(|(key, asked)| (key.clone(), asked.clone())).collect()
    }

    /// Tries to remove every version of everything; returns how many the server refused.
    ///
    /// # Panics
    /// When it cannot be tried.
    #[must_use]
    pub fn purge(&self) -> usize {
        self.ask(&["purge", BUCKET]).trim().parse().expect("a number")
    }

    /// What a user is told who tries a `get`, `put` or `delete` of one object: the error's code, or
    /// `done`.
    #[must_use]
    pub fn attempt(&self, user: &S3Access, verb: &str, key: &str) -> String {
        self.ask_as(Some(user), &["attempt", verb, BUCKET, key]).trim().to_owned()
    }

    fn ask(&self, arguments: &[&str]) -> String {
        self.ask_as(self.owner.as_ref(), arguments)
    }

    fn ask_as(&self, user: Option<&S3Access>, arguments: &[&str]) -> String {
        let mut command = Command::new("python3");
        command.arg(crate::fixture("moto.py")).arg(self.port.to_string()).args(arguments);
        command.env("PYTHONPATH", packages());
        if let Some(user) = user {
            command.env("MOTO_KEY", &user.key).env("MOTO_SECRET", &user.secret);
        }
        crate::Outcome::of(&mut command).ok().stdout_text()
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _gone = self.server.kill();
        let _status = self.server.wait();
    }
}

fn packages() -> PathBuf {
    let packages = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.pgkeep-dev/tools/moto");
    assert!(packages.exists(), "there is no {}; run: make tools", packages.display());
    packages
}
