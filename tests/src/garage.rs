//! A cluster of three Garage nodes of a test's own, each of which holds everything and can be
//! killed and comes back with what it had. `make tools` installs it.

use crate::s3_access::{BUCKET, REGION, S3Access};
use crate::server::free_port;
use std::fs::{self, File};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How many nodes there are.
pub const NODES: usize = 3;

/// How long the cluster may take to come up, or to come together again.
const START_LIMIT: Duration = Duration::from_secs(60);

/// A bucket that three nodes hold; all goes with the value.
#[derive(Debug)]
pub struct Garage {
    root: tempfile::TempDir,
    nodes: Vec<Node>,
}

#[derive(Debug)]
struct Node {
    config: PathBuf,
    s3_port: u16,
    id: String,
    server: Option<Child>,
}

impl Garage {
    /// Starts three nodes, each in a zone of its own, with an empty bucket.
    ///
    /// # Panics
    /// When they do not come up.
    #[must_use]
    pub fn start() -> Self {
        let root = tempfile::tempdir().expect("a directory for the cluster");
        let nodes = (0..NODES).map(|number| Node::new(&root.path().join(format!("{number}"))));
        let mut garage = Self { nodes: nodes.collect(), root };
        (0..NODES).for_each(|node| garage.start_node(node));
        for node in 0..NODES {
            garage.nodes[node].id = garage.ask_patiently(node, &["node", "id", "-q"]);
        }
        (1..NODES).for_each(|node| garage.introduce(0, node));
        for node in 0..NODES {
            let short = garage.nodes[node].id.split('@').next().unwrap_or_default();
            let zone = format!("zone{node}");
            garage.ask_patiently(0, &["layout", "assign", "-z", &zone, "-c", "10G", short]);
        }
        garage.ask_patiently(0, &["layout", "apply", "--version", "1"]);
        garage.wait_until_whole();
        let access = garage.access(0);
        let (key, secret) = (access.key.as_str(), access.secret.as_str());
        for arguments in [
            &["key", "import", "--yes", "-n", "tests", key, secret][..],
            &["bucket", "create", BUCKET],
            &["bucket", "allow", "--read", "--write", BUCKET, "--key", key],
        ] {
            garage.ask_patiently(0, arguments);
        }
        garage
    }

    /// The way to the bucket through one of the nodes.
    #[must_use]
    pub fn access(&self, node: usize) -> S3Access {
        let key = format!("GK{:0>24}", "a1");
        S3Access { port: self.nodes[node].s3_port, key, secret: secret() }
    }

    /// Kills a node with SIGKILL.
    pub fn kill(&mut self, node: usize) {
        if let Some(mut server) = self.nodes[node].server.take() {
            server.kill().expect("to kill a node");
            server.wait().expect("a node to end");
        }
    }

    /// Starts a node again, with what it had, and waits until those that run are together: the
    /// others would look for it only every half minute.
    ///
    /// # Panics
    /// When it does not start.
    pub fn restart(&mut self, node: usize) {
        self.start_node(node);
        let running = |other: &usize| *other != node && self.nodes[*other].server.is_some();
        (0..NODES).filter(running).for_each(|other| self.introduce(other, node));
        self.wait_until_whole();
    }

    fn introduce(&self, node: usize, to: usize) {
        self.ask_patiently(node, &["node", "connect", self.nodes[to].id.trim()]);
    }

    fn start_node(&mut self, node: usize) {
        let node = &mut self.nodes[node];
        let log = File::options().create(true).append(true).open(node.config.with_extension("log"));
        let log = log.expect("a log");
        // It ends with us, however we end.
        let server = Command::new("setpriv")
            .args(["--pdeathsig", "KILL"])
            .arg(binary())
            .arg("-c")
            .arg(&node.config)
            .arg("server")
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log"))
            .stderr(log)
            .spawn();
        node.server = Some(server.expect("a node"));
        let deadline = Instant::now() + START_LIMIT;
        while TcpStream::connect(("127.0.0.1", node.s3_port)).is_err() {
            assert!(Instant::now() < deadline, "a node does not answer");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until all nodes that run see each other.
    fn wait_until_whole(&self) {
        let running: Vec<usize> =
            (0..NODES).filter(|node| self.nodes[*node].server.is_some()).collect();
        let count = running.len().to_string();
        let deadline = Instant::now() + START_LIMIT;
        let sees_all = |node: &usize| {
            let said = self.ask(*node, &["health"]).unwrap_or_else(|said| said);
            said.lines().any(|line| line.starts_with("Connected nodes:") && line.ends_with(&count))
        };
        while !running.iter().all(sees_all) {
            assert!(Instant::now() < deadline, "the nodes do not come together");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// The bytes of objects that a node has on its disk, without small ones.
    #[must_use]
    pub fn data_bytes(&self, node: usize) -> u64 {
        let (mut bytes, mut open) = (0, vec![self.root.path().join(format!("{node}/data"))]);
        while let Some(directory) = open.pop() {
            for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
                match entry.metadata() {
                    Ok(metadata) if metadata.is_dir() => open.push(entry.path()),
                    Ok(metadata) => bytes += metadata.len(),
                    // Gone meanwhile.
                    Err(_) => {}
                }
            }
        }
        bytes
    }

    /// Runs a command of the cluster's own until it succeeds: nodes that have only just started
    /// refuse for a moment.
    fn ask_patiently(&self, node: usize, arguments: &[&str]) -> String {
        let deadline = Instant::now() + START_LIMIT;
        loop {
            match self.ask(node, arguments) {
                Ok(said) => return said,
                Err(said) => {
                    assert!(Instant::now() < deadline, "garage {arguments:?}: {said}");
                    std::thread::sleep(Duration::from_millis(50));
                }
            }
        }
    }

    fn ask(&self, node: usize, arguments: &[&str]) -> Result<String, String> {
        let mut command = Command::new(binary());
        let output = command.arg("-c").arg(&self.nodes[node].config).args(arguments).output();
        let output = output.expect("garage");
        match output.status.success() {
            true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    }
}

impl Drop for Garage {
    fn drop(&mut self) {
        (0..NODES).for_each(|node| self.kill(node));
    }
}

impl Node {
    fn new(home: &Path) -> Self {
        fs::create_dir(home).expect("a directory for a node");
        let (config, s3_port, rpc_port) = (home.join("garage.toml"), free_port(), free_port());
        let (home, secret) = (home.display(), secret());
        let text = format!(
            "metadata_dir = \"{home}/metadata\"\n\
             data_dir = \"{home}/data\"\n\
             db_engine = \"sqlite\"\n\
             replication_factor = {NODES}\n\
             rpc_bind_addr = \"127.0.0.1:{rpc_port}\"\n\
             rpc_public_addr = \"127.0.0.1:{rpc_port}\"\n\
             rpc_secret = \"{secret}\"\n\
             [s3_api]\n\
             s3_region = \"{}\"\n\
             api_bind_addr = \"127.0.0.1:{s3_port}\"\n",
            REGION,
        );
        fs::write(&config, text).expect("a node's settings");
        // Secrets are in it, and it wants nobody else to read them.
        fs::set_permissions(&config, std::os::unix::fs::PermissionsExt::from_mode(0o600))
            .expect("to keep a node's settings to us");
        Self { config, s3_port, id: String::new(), server: None }
    }
}

/// Keys and secrets of a cluster have a form of their own: 64 hexadecimal digits.
fn secret() -> String {
    "5e".repeat(32)
}

fn binary() -> PathBuf {
    let binary = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.pgkeep-dev/tools/bin/garage");
    assert!(binary.exists(), "there is no {}; run: make tools", binary.display());
    binary
}
