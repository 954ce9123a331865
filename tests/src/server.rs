//! PostgreSQL servers: one shared by all test processes for each major version, or one for a
//! test alone.
//!
//! Shared servers are started by `tests/servers start` when the first test wants one, and end
//! by themselves when no test process holds the lock on their `.use` file any more. A
//! dedicated server is a child of the test process and dies with it.

use crate::{Certificates, Database};
use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::io::ErrorKind;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// The supported major versions, oldest first.
pub const MAJORS: [u32; 5] = [14, 15, 16, 17, 18];

/// The major version before the supported ones.
const TOO_OLD: u32 = 13;

/// How long a server may take until it answers.
const START_LIMIT: Duration = Duration::from_secs(60);

/// What a dedicated server is started with unless the test says otherwise: a scratch server
/// that can be replicated from.
const DEDICATED_SETTINGS: [(&str, &str); 5] = [
    ("listen_addresses", "127.0.0.1"),
    ("fsync", "off"),
    ("wal_level", "logical"),
    ("max_prepared_transactions", "10"),
    ("timezone", "UTC"),
];

/// A running server. The superuser is `postgres`; shared servers ask for no password.
#[derive(Debug)]
pub struct Server {
    major: u32,
    port: u16,
    socket_directory: PathBuf,
    programs: Programs,
    own: Option<Process>,
    /// Held for as long as this process lives: a keeper ends its server when nobody holds it.
    _in_use: Option<File>,
}

/// How a dedicated server differs from a plain one.
#[derive(Debug, Default)]
pub struct Dedicated<'a> {
    /// Settings by name.
    pub settings: &'a [(&'a str, &'a str)],
    /// The lines of `pg_hba.conf`; empty means that everybody is trusted. The superuser
    /// must be able to come in by the Unix socket without a password.
    pub authentication: &'a str,
    /// Server key and certificate: turns TLS on.
    pub certificates: Option<&'a Certificates>,
    /// An empty directory to hold the data directory; a fresh one when not given.
    pub directory: Option<&'a Path>,
}

#[derive(Debug, Clone)]
struct Programs {
    server: PathBuf,
    client: PathBuf,
    /// The command, with its arguments, that runs a program as the server's user.
    run_as: Vec<String>,
}

#[derive(Debug)]
struct Process {
    child: Child,
    data: PathBuf,
    arguments: Vec<String>,
    _home: tempfile::TempDir,
}

impl Server {
    /// The shared server of a major version, started if it does not run. Tests have databases
    /// of their own there; roles and other things of the whole server they share.
    #[must_use]
    pub fn shared(major: u32) -> &'static Self {
        static SERVERS: [OnceLock<Server>; MAJORS.len()] = [const { OnceLock::new() }; 5];
        let position = MAJORS.iter().position(|&known| known == major);
        SERVERS[position.expect("a supported major version")].get_or_init(|| Self::join(major))
    }

    /// The shared server of a major version that is too old to be supported.
    #[must_use]
    pub fn too_old() -> &'static Self {
        static SERVER: OnceLock<Server> = OnceLock::new();
        SERVER.get_or_init(|| Self::join(TOO_OLD))
    }

    fn join(major: u32) -> Self {
        let state_path = checkout().join(".pgkeep-dev/run").join(major.to_string());
        fs::create_dir_all(state_path.parent().expect("a directory")).expect("state directory");
        let in_use = File::create(state_path.with_extension("use")).expect("use file");
        in_use.lock_shared().expect("lock on the use file");
        let mut state = read_state(&state_path).filter(answers);
        if state.is_none() {
            let script = checkout().join("tests/servers");
            let mut start = Command::new(script);
            run(start.args(["start", &major.to_string()]));
            state = read_state(&state_path);
        }
        let state = state.expect("a state file after the start");
        Self {
            major,
            port: state["port"].parse().expect("port"),
            socket_directory: PathBuf::from(&state["socket"]),
            programs: Programs {
                server: PathBuf::from(&state["bin"]),
                client: PathBuf::from(&state["client"]),
                run_as: state["run_as"].split(' ').map(str::to_owned).collect(),
            },
            own: None,
            _in_use: Some(in_use),
        }
    }

    /// Starts a server for this test alone. Call it from the test's own thread: the server
    /// dies with the thread that started it.
    #[must_use]
    pub fn dedicated(major: u32, options: &Dedicated<'_>) -> Self {
        let programs = Self::shared(major).programs.clone();
        let home = programs.home();
        let parent = options.directory.unwrap_or(home.path());
        let data = parent.join("data");
        fs::create_dir(&data).expect("data directory");
        fs::set_permissions(&data, Permissions::from_mode(0o700)).expect("permissions");
        programs.give(&data);
        run(programs.server_program("initdb").arg("-D").arg(&data).args([
            "-U",
            "postgres",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--locale=C",
            "-N",
        ]));
        if !options.authentication.is_empty() {
            fs::write(data.join("pg_hba.conf"), options.authentication).expect("pg_hba.conf");
        }
        let mut arguments = vec![format!("--unix_socket_directories={}", home.path().display())];
        if let Some(certificates) = options.certificates {
            arguments.push("--ssl=on".to_owned());
            for (setting, file) in certificates.install(&data) {
                programs.give(&file);
                arguments.push(format!("--{setting}={}", file.display()));
            }
        }
        let settings = DEDICATED_SETTINGS.iter().chain(options.settings);
        arguments.extend(settings.map(|(name, value)| format!("--{name}={value}")));
        Self::start(major, programs, data, arguments, home)
    }

    /// Starts a server of PostgreSQL 15 for this test alone that has the database
    /// `regression`: what PostgreSQL's own regression tests leave behind. Its `pg_dump` is of
    /// the server's own release. PostgreSQL's test provider of security labels,
    /// `dummy`, is loaded. As [`Server::dedicated`], to be called from the test's thread.
    ///
    /// # Panics
    /// When `tests/regression-database install` was not run.
    #[must_use]
    pub fn regression() -> Self {
        let script = checkout().join("tests/regression-database");
        let prepared = run(Command::new(script).arg("path"));
        let prepared = PathBuf::from(String::from_utf8_lossy(&prepared).trim());
        let programs = Programs {
            server: prepared.join("root/usr/lib/postgresql/15/bin"),
            client: prepared.join("bin"),
            run_as: Self::shared(15).programs.run_as.clone(),
        };
        let home = programs.home();
        let data = home.path().join("data");
        // With its owner, who is the server's user.
        run(Command::new("cp").arg("-a").arg(prepared.join("data")).arg(&data));
        let settings = DEDICATED_SETTINGS.iter().map(|(name, value)| format!("--{name}={value}"));
        let provider = prepared.join("source/src/test/regress/dummy_seclabel");
        let own = [
            format!("--unix_socket_directories={}", home.path().display()),
            format!("--session_preload_libraries={}", provider.display()),
        ];
        Self::start(15, programs, data, settings.chain(own).collect(), home)
    }

    fn start(
        major: u32,
        programs: Programs,
        data: PathBuf,
        arguments: Vec<String>,
        home: tempfile::TempDir,
    ) -> Self {
        let (child, port) = programs.start(&data, &arguments, home.path());
        Self {
            major,
            port,
            socket_directory: home.path().to_owned(),
            programs,
            own: Some(Process { child, data, arguments, _home: home }),
            _in_use: None,
        }
    }

    /// The major version.
    #[must_use]
    pub fn major(&self) -> u32 {
        self.major
    }

    /// The TCP port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The directory of the server's Unix socket.
    #[must_use]
    pub fn socket_directory(&self) -> &Path {
        &self.socket_directory
    }

    /// The connection URI of a database for the superuser.
    #[must_use]
    pub fn uri(&self, database: &str) -> String {
        self.uri_of("postgres", database)
    }

    /// The connection URI of a database for a role.
    #[must_use]
    pub fn uri_of(&self, role: &str, database: &str) -> String {
        format!("postgresql://{role}@127.0.0.1:{}/{database}", self.port)
    }

    /// Makes an empty UTF8 database, dropped when the returned value is.
    #[must_use]
    pub fn database(&self) -> Database<'_> {
        self.database_with("")
    }

    /// As [`Self::database`], with options of `CREATE DATABASE`, such as `ENCODING 'LATIN1'`.
    /// It is made from `template0`.
    #[must_use]
    pub fn database_with(&self, options: &str) -> Database<'_> {
        Database::create(self, options)
    }

    /// Runs SQL in the database `postgres`, for things of the whole server.
    pub fn query(&self, sql: &str) -> String {
        crate::database::psql(self, "postgres", sql)
    }

    /// A command for one of the client programs of version 18, such as `pgbench`, that
    /// connects here as the superuser.
    #[must_use]
    pub fn client_program(&self, name: &str) -> Command {
        let mut command = Command::new(self.programs.client.join(name));
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("PG")) {
            command.env_remove(name);
        }
        command.env("PGHOST", &self.socket_directory).env("PGPORT", self.port.to_string());
        command.env("PGUSER", "postgres");
        command
    }

    /// The whole server as `pg_dumpall` 18 writes it with these arguments, without its remarks
    /// on versions and when it ran.
    #[must_use]
    pub fn dump_all(&self, arguments: &[&str]) -> String {
        let mut command = self.client_program("pg_dumpall");
        let text = run(command.arg("--restrict-key=test").args(arguments));
        let text = String::from_utf8_lossy(&text).into_owned();
        text.lines().filter(|line| !line.starts_with("-- Dumped ")).collect::<Vec<_>>().join("\n")
    }

    /// An empty directory that the server may write to, such as the place of a tablespace.
    #[must_use]
    pub fn directory(&self) -> tempfile::TempDir {
        self.programs.home()
    }

    /// Ends a dedicated server as a power cut would: SIGKILL to the postmaster, whose
    /// children then notice and leave.
    ///
    /// # Panics
    /// When the server is shared.
    pub fn kill(&mut self) {
        let process = self.own.as_mut().expect("a dedicated server");
        process.child.kill().expect("the server to be killed");
        process.child.wait().expect("the server to end");
    }

    /// Makes a standby of a dedicated server, which is stopped and started again for it, on
    /// another port.
    ///
    /// # Panics
    /// When the server is shared.
    #[must_use]
    pub fn standby(&mut self, settings: &[(&str, &str)]) -> Self {
        let process = self.own.as_mut().expect("a dedicated server");
        run(Command::new("kill").args(["-INT", &process.child.id().to_string()]));
        process.child.wait().expect("the server to end");
        let home = self.programs.home();
        let data = home.path().join("data");
        // With its owner, who is the server's user.
        run(Command::new("cp").arg("-a").arg(&process.data).arg(&data));
        fs::write(data.join("standby.signal"), "").expect("standby.signal");
        self.programs.give(&data.join("standby.signal"));
        let sockets = format!("--unix_socket_directories={}", self.socket_directory.display());
        let mut arguments = process.arguments.clone();
        arguments.retain(|argument| *argument != sockets);
        self.restart();
        arguments.push(format!("--unix_socket_directories={}", home.path().display()));
        let primary = format!("host=127.0.0.1 port={} user=postgres dbname=postgres", self.port);
        arguments.push(format!("--primary_conninfo={primary}"));
        arguments.extend(settings.iter().map(|(name, value)| format!("--{name}={value}")));
        Self::start(self.major, self.programs.clone(), data, arguments, home)
    }

    /// Starts a dedicated server again after [`Self::kill`], on another port.
    ///
    /// # Panics
    /// When the server is shared.
    pub fn restart(&mut self) {
        let process = self.own.as_mut().expect("a dedicated server");
        // The killed postmaster's children may live a moment longer; they hold its memory.
        let _ = fs::remove_file(process.data.join("postmaster.pid"));
        let (child, port) =
            self.programs.start(&process.data, &process.arguments, &self.socket_directory);
        process.child = child;
        self.port = port;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(process) = &mut self.own {
            let id = process.child.id().to_string();
            // An immediate shutdown; the data directory goes with it.
            let _ = Command::new("kill").args(["-QUIT", &id]).stderr(Stdio::null()).status();
            let _ = process.child.wait();
        }
    }
}

impl Programs {
    fn server_program(&self, name: &str) -> Command {
        let mut command = Command::new(&self.run_as[0]);
        command.args(&self.run_as[1..]).arg(self.server.join(name));
        command
    }

    /// A directory for a server and its Unix socket.
    fn home(&self) -> tempfile::TempDir {
        let home = tempfile::Builder::new().prefix("pgkeep-test-server-").tempdir();
        let home = home.expect("a directory for the server");
        fs::set_permissions(home.path(), Permissions::from_mode(0o755)).expect("permissions");
        self.give(home.path());
        home
    }

    /// Makes the server's user the owner of a file or directory of ours.
    fn give(&self, path: &Path) {
        let number = |option: &str| {
            let given = self.run_as.iter().find_map(|argument| argument.strip_prefix(option));
            given.map(|text| text.parse::<u32>().expect("a number"))
        };
        let (user, group) = (number("--reuid="), number("--regid="));
        std::os::unix::fs::chown(path, user, group).expect("another owner");
    }

    fn start(&self, data: &Path, arguments: &[String], sockets: &Path) -> (Child, u16) {
        let log = data.join("test.log");
        let deadline = Instant::now() + START_LIMIT;
        // Somebody else may take the port between our finding it free and the server's start,
        // and what a killed server left running holds its memory until it has noticed.
        let mut tries = 0;
        while tries < 5 {
            let port = free_port();
            let output = File::create(&log).expect("log file");
            let mut postgres = self.server_program("postgres");
            postgres.arg("-D").arg(data).arg(format!("--port={port}")).args(arguments);
            postgres.stdin(Stdio::null()).stderr(output.try_clone().expect("log file"));
            let mut child = postgres.stdout(output).spawn().expect("setpriv");
            if self.waits_until_ready(&mut child, port, sockets) {
                return (child, port);
            }
            let said = fs::read_to_string(&log).unwrap_or_default();
            if said.contains("is still in use") && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(100));
            } else {
                tries += 1;
            }
        }
        panic!("the server did not start:\n{}", fs::read_to_string(log).unwrap_or_default());
    }

    fn waits_until_ready(&self, child: &mut Child, port: u16, sockets: &Path) -> bool {
        let deadline = Instant::now() + START_LIMIT;
        while child.try_wait().expect("the server's status").is_none() {
            let mut ready = Command::new(self.client.join("pg_isready"));
            ready.arg("-q").arg("-h").arg(sockets).args(["-p", &port.to_string()]);
            if ready.status().expect("pg_isready").success() {
                return true;
            }
            assert!(Instant::now() < deadline, "the server takes too long to start");
            std::thread::sleep(Duration::from_millis(20));
        }
        false
    }
}

fn checkout() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a workspace")
}

fn read_state(path: &Path) -> Option<BTreeMap<String, String>> {
    match fs::read_to_string(path) {
        Ok(text) => {
            let pairs = text.lines().filter_map(|line| line.split_once('='));
            Some(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
        }
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => panic!("could not read {}: {error}", path.display()),
    }
}

fn answers(state: &BTreeMap<String, String>) -> bool {
    let port = state["port"].parse().expect("port");
    TcpStream::connect(("127.0.0.1", port)).is_ok()
}

pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address").port()
}

/// Runs a command and returns its standard output; panics with its standard error.
pub(crate) fn run(command: &mut Command) -> Vec<u8> {
    let output = command.stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| panic!("could not run {command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?} failed: {}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}
