//! A certificate authority for one test, and a server certificate for `localhost` by it.
//!
//! Made with the `openssl` program, so that the certificates owe nothing to the TLS library
//! under test.

use crate::server::run;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Keys and certificates in a directory of their own, removed with the value.
#[derive(Debug)]
pub struct Certificates {
    directory: tempfile::TempDir,
}

impl Certificates {
    /// Makes an authority and a server certificate for the DNS name `localhost`, not for
    /// the address 127.0.0.1.
    #[must_use]
    pub fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory for certificates");
        let certificates = Self { directory };
        certificates.openssl(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 \
             -subj /CN=pgkeep-test-authority -keyout ca.key -out ca.crt",
        );
        certificates.openssl(
            "req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes \
             -subj /CN=localhost -keyout server.key -out server.csr",
        );
        fs::write(certificates.path("san"), "subjectAltName=DNS:localhost\n").expect("san");
        certificates.openssl(
            "x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 \
             -extfile san -out server.crt",
        );
        certificates
    }

    /// The authority's certificate: what a client names as `sslrootcert`.
    #[must_use]
    pub fn authority(&self) -> PathBuf {
        self.path("ca.crt")
    }

    /// Copies key and certificate into a data directory and returns the settings that name
    /// them.
    pub(crate) fn install(&self, data: &Path) -> Vec<(&'static str, PathBuf)> {
        let files = [("ssl_key_file", "server.key"), ("ssl_cert_file", "server.crt")];
        let install = |(setting, name)| {
            let target = data.join(name);
            fs::copy(self.path(name), &target).expect("a copy of the certificate");
            fs::set_permissions(&target, Permissions::from_mode(0o600)).expect("permissions");
            (setting, target)
        };
        files.into_iter().map(install).collect()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn openssl(&self, arguments: &str) {
        let mut command = Command::new("openssl");
        run(command.current_dir(self.directory.path()).args(arguments.split_whitespace()));
    }
}

impl Default for Certificates {
    fn default() -> Self {
        Self::new()
    }
}
