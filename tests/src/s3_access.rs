//! The way to a bucket of a test's own server: what it is called, where it is, who we are.

/// The bucket of every server that tests start.
pub(crate) const BUCKET: &str = "backups";

/// The region that these servers say they are of.
pub(crate) const REGION: &str = "test";

/// A bucket on a port of this machine, and the key that opens it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3Access {
    /// The port of the server.
    pub port: u16,
    /// The id of the key.
    pub key: String,
    /// Its secret.
    pub secret: String,
}

impl S3Access {
    /// The address of a place in the bucket, for `--repo`.
    #[must_use]
    pub fn address(&self, prefix: &str) -> String {
        format!("s3://{BUCKET}/{prefix}")
    }

    /// The endpoint of the server.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The region of the server.
    #[must_use]
    pub fn region(&self) -> &'static str {
        REGION
    }

    /// Variables of the environment that lead to the bucket.
    #[must_use]
    pub fn variables(&self) -> Vec<(String, String)> {
        let pairs = [
            ("AWS_ACCESS_KEY_ID", self.key.clone()),
            ("AWS_SECRET_ACCESS_KEY", self.secret.clone()),
            ("AWS_ENDPOINT_URL", self.endpoint()),
            // Nothing else is asked, neither files nor a machine's own service.
            ("AWS_REGION", REGION.to_owned()),
            ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
            ("AWS_CONFIG_FILE", "/dev/null".to_owned()),
            ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null".to_owned()),
        ];
        pairs.map(|(name, value)| (name.to_owned(), value)).to_vec()
    }
}
