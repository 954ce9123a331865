//! Runs of `pgkeep`, and a repository of a test's own.
//!
//! Every run has a clean environment: no connection settings, no home but the test's, no
//! repository or identity by accident.

use serde_json::Value;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

/// The program under test.
#[derive(Debug, Clone)]
pub struct Pgkeep {
    binary: PathBuf,
}

/// What a finished run of the program did.
#[derive(Debug)]
pub struct Outcome {
    /// The command line, for messages.
    pub command: String,
    /// How it ended.
    pub status: ExitStatus,
    /// Standard output: data.
    pub stdout: Vec<u8>,
    /// Standard error: everything else.
    pub stderr: String,
}

/// A repository with an identity, in a directory of its own, removed with the value; or in a
/// bucket.
#[derive(Debug)]
pub struct Repository {
    pgkeep: Pgkeep,
    home: tempfile::TempDir,
    /// Of one in a bucket: its address.
    address: Option<String>,
    variables: Vec<(String, String)>,
}

impl Pgkeep {
    /// The program at this path; tests give `env!("CARGO_BIN_EXE_pgkeep")`.
    #[must_use]
    pub fn new(binary: impl Into<PathBuf>) -> Self {
        Self { binary: binary.into() }
    }

    /// A command with a clean environment whose home is `home`.
    #[must_use]
    pub fn command(&self, home: &Path) -> Command {
        let mut command = Command::new(&self.binary);
        let foreign = |name: &str| {
            ["PG", "AWS_"].iter().any(|prefix| name.starts_with(prefix))
                || ["DATABASE_URL", "RUST_LOG", "BACKUP_BUCKET"].contains(&name)
        };
        for (name, _) in std::env::vars().filter(|(name, _)| foreign(name)) {
            command.env_remove(name);
        }
        command.env("HOME", home).env("XDG_CONFIG_HOME", home.join(".config"));
        command.stdin(Stdio::null());
        command
    }

    /// Runs it to its end with a home of its own.
    pub fn run<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Outcome {
        let home = tempfile::tempdir().expect("a home");
        Outcome::of(self.command(home.path()).args(arguments))
    }
}

impl Outcome {
    /// Runs a command to its end.
    pub fn of(command: &mut Command) -> Self {
        let output = command.output();
        let output = output.unwrap_or_else(|error| panic!("could not run {command:?}: {error}"));
        Self {
            command: format!("{command:?}"),
            status: output.status,
            stdout: output.stdout,
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Returns itself when the exit code is this one.
    ///
    /// # Panics
    /// Otherwise, with all that the program said.
    #[track_caller]
    #[must_use]
    pub fn code(self, code: i32) -> Self {
        assert!(
            self.status.code() == Some(code),
            "{} ended with {}, expected {code}\n{}\n{}",
            self.command,
            self.status,
            self.stderr,
            self.stdout_text()
        );
        self
    }

    /// Returns itself when the run succeeded, without warnings.
    ///
    /// # Panics
    /// Otherwise, with all that the program said.
    #[track_caller]
    pub fn ok(self) -> Self {
        self.code(0)
    }

    /// Standard output as text.
    #[must_use]
    pub fn stdout_text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// The last JSON value on standard output: the result of a run with `--json`.
    ///
    /// # Panics
    /// When there is none.
    #[track_caller]
    #[must_use]
    pub fn json(&self) -> Value {
        let text = self.stdout_text();
        let values = serde_json::Deserializer::from_str(&text).into_iter::<Value>();
        let values: Result<Vec<_>, _> = values.collect();
        match values {
            Ok(mut values) if !values.is_empty() => values.pop().expect("a value"),
            result => panic!("{} printed no JSON ({result:?}):\n{text}", self.command),
        }
    }
}

impl Repository {
    /// Makes one with `pgkeep init` and a new identity.
    #[must_use]
    pub fn init(pgkeep: &Pgkeep) -> Self {
        Self::init_with(pgkeep, &[])
    }

    /// Makes one with `pgkeep init`, a new identity and more arguments.
    #[must_use]
    pub fn init_with(pgkeep: &Pgkeep, arguments: &[&str]) -> Self {
        let home = tempfile::tempdir().expect("a home for the repository");
        let place = Self { pgkeep: pgkeep.clone(), home, address: None, variables: Vec::new() };
        place.made(arguments)
    }

    /// Makes one in a bucket, below a prefix, with more arguments.
    #[must_use]
    pub fn init_in(
        pgkeep: &Pgkeep,
        bucket: &crate::S3Access,
        prefix: &str,
        arguments: &[&str],
    ) -> Self {
        let home = tempfile::tempdir().expect("a home for the repository");
        let (address, variables) = (Some(bucket.address(prefix)), bucket.variables());
        Self { pgkeep: pgkeep.clone(), home, address, variables }.made(arguments)
    }

    /// From now on goes another way to its bucket: another server, or as somebody else.
    pub fn go_by(&mut self, bucket: &crate::S3Access) {
        self.variables = bucket.variables();
    }

    fn made(self, arguments: &[&str]) -> Self {
        let repository = self;
        let identity = repository.identity();
        let init = [OsStr::new("init"), "--identity-out".as_ref(), identity.as_ref()];
        let _ = repository.run(init.into_iter().chain(arguments.iter().map(OsStr::new))).ok();
        repository
    }

    /// The directory of the repository itself.
    #[must_use]
    pub fn directory(&self) -> PathBuf {
        self.home.path().join("repository")
    }

    /// The file that holds the identity.
    #[must_use]
    pub fn identity(&self) -> PathBuf {
        self.home.path().join("identity")
    }

    /// A command for this repository, which the environment names together with the
    /// identity.
    #[must_use]
    pub fn command(&self) -> Command {
        let mut command = self.pgkeep.command(self.home.path());
        match &self.address {
            Some(address) => command.env("PGKEEP_REPO", address),
            None => command.env("PGKEEP_REPO", self.directory()),
        };
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        if self.identity().exists() {
            command.env("PGKEEP_IDENTITY", self.identity());
        }
        command
    }

    /// Runs the program on this repository to its end.
    pub fn run<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Outcome {
        Outcome::of(self.command().args(arguments))
    }

    /// Backs a database up and returns what `--json` says of it.
    #[track_caller]
    pub fn backup(&self, uri: &str, arguments: &[&str]) -> Value {
        let run = self.run(["backup", "--json", "-d", uri].iter().chain(arguments));
        run.ok().json()
    }

    /// Restores into a database and returns what `--json` says of it.
    #[track_caller]
    pub fn restore(&self, uri: &str, arguments: &[&str]) -> Value {
        let run = self.run(["restore", "--json", "-d", uri].iter().chain(arguments));
        run.ok().json()
    }

    /// Prunes and returns what `--json` says of it.
    #[track_caller]
    pub fn prune(&self, arguments: &[&str]) -> Value {
        self.run(["prune", "--json"].iter().chain(arguments)).ok().json()
    }

    /// Runs the program as a host that has the writer credential and not the identity.
    #[must_use]
    pub fn run_without_identity(&self, arguments: &[&str]) -> Outcome {
        Outcome::of(self.command().env_remove("PGKEEP_IDENTITY").args(arguments))
    }

    /// The bytes of all files of the repository together.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        // One that a run removed meanwhile has none.
        let sizes = self.files().into_iter().filter_map(|path| path.metadata().ok());
        sizes.map(|file| file.len()).sum()
    }

    /// All files of the repository, in a fixed order.
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
        let (mut files, mut open) = (Vec::new(), vec![self.directory()]);
        while let Some(directory) = open.pop() {
            for entry in std::fs::read_dir(directory).expect("a directory") {
                let path = entry.expect("a directory's entry").path();
                if path.is_dir() { open.push(path) } else { files.push(path) }
            }
        }
        files.sort();
        files
    }
}
