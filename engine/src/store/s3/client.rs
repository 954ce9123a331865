//! The client: credentials and region by the SDK's own chain (environment, profile, SSO, web
//! identity, instance), limits on every call.

use super::ObjectOptions;
use crate::store::pace::{Pace, Rates};
use crate::{Error, ErrorKind, Result};
use aws_config::BehaviorVersion;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    Config, Region, RequestChecksumCalculation, ResponseChecksumValidation,
    SharedCredentialsProvider,
};
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use std::path::PathBuf;
use std::time::Duration;

/// How to reach the store, where the environment and the profile do not say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct S3Options {
    /// Another endpoint than the region's at AWS: `https://s3.example.org`. Buckets are then parts
    /// of the path.
    pub endpoint: Option<String>,
    /// The region.
    pub region: Option<String>,
    /// Certificates to trust instead of the machine's, in PEM.
    pub ca_file: Option<PathBuf>,
    /// How fast bytes may go.
    pub rates: Rates,
    /// What is asked for objects that are written.
    pub objects: ObjectOptions,
}

/// Where neither says a region, and the endpoint is another's, who does not care.
const ANY_REGION: &str = "us-east-1";

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// One try of a call that moves few bytes.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(60);

/// A call with all its tries.
pub(super) const CALL_TIMEOUT: Duration = Duration::from_secs(300);

/// Bytes may come and go this slowly, in bytes a second.
const SLOWEST: u64 = 128 << 10;

const ATTEMPTS: u32 = 10;

const FIRST_CALL_ATTEMPTS: u32 = 3;

/// The wait before a second try at the most; later ones wait twice as long each.
const FIRST_BACKOFF: Duration = Duration::from_millis(200);

const LONGEST_BACKOFF: Duration = Duration::from_secs(20);

/// Makes the client. Credentials are those of the chain where none are given.
pub(super) async fn connect(
    options: &S3Options,
    credentials: Option<SharedCredentialsProvider>,
) -> Result<Client> {
    let http = aws_smithy_http_client::Builder::new()
        .tls_provider(Provider::Rustls(CryptoMode::Ring))
        .tls_context(tls_context(options)?)
        .build_https();
    let mut loader = aws_config::defaults(BehaviorVersion::latest()).http_client(http);
    if let Some(credentials) = credentials {
        loader = loader.credentials_provider(credentials);
    }
    if let Some(region) = &options.region {
        loader = loader.region(Region::new(region.clone()));
    }
    if let Some(endpoint) = &options.endpoint {
        loader = loader.endpoint_url(endpoint);
    }
    let shared = loader.load().await;
    let own_endpoint = shared.endpoint_url().is_some();
    let mut config = aws_sdk_s3::config::Builder::from(&shared)
        .retry_config(
            RetryConfig::standard()
                .with_max_attempts(ATTEMPTS)
                .with_initial_backoff(FIRST_BACKOFF)
                .with_max_backoff(LONGEST_BACKOFF),
        )
        .timeout_config(timeouts(Duration::ZERO))
        // Stores that are not AWS refuse the SDK's trailers; we send our own CRC32.
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
        .force_path_style(own_endpoint);
    match (shared.region(), own_endpoint) {
        (None, true) => config = config.region(Region::from_static(ANY_REGION)),
        (None, false) => {
            return Err(Error::new(ErrorKind::Usage, "the bucket's region is not known")
                .hint("Name it: --region REGION, or set AWS_REGION.")
                .hint("For a store that is not AWS: --endpoint URL"));
        }
        (Some(_), _) => {}
    }
    Ok(Client::from_conf(config.build()))
}

fn tls_context(options: &S3Options) -> Result<TlsContext> {
    let trust = match &options.ca_file {
        Some(path) => {
            let pem = std::fs::read(path).map_err(|error| {
                let message = format!("could not read \"{}\"", path.display());
                Error::new(ErrorKind::Usage, message).because(error)
            })?;
            TrustStore::empty().with_pem_certificate(pem)
        }
        None => TrustStore::default(),
    };
    TlsContext::builder().with_trust_store(trust).build().map_err(|error| {
        Error::new(ErrorKind::Usage, "could not use the certificates to trust").because(error)
    })
}

/// Settings of the first call, whose address may be wrong: nobody wants to wait long for that.
pub(super) fn first_call() -> aws_sdk_s3::config::Builder {
    Config::builder().retry_config(RetryConfig::standard().with_max_attempts(FIRST_CALL_ATTEMPTS))
}

/// How long so many bytes may take beyond what a call may take without any, with the rate that they
/// are kept to.
pub(super) fn on_the_way(len: u64, pace: Option<&Pace>) -> Duration {
    let kept_back = pace.map_or(Duration::ZERO, |pace| pace.time(len));
    Duration::from_secs(len / SLOWEST).saturating_add(kept_back)
}

/// The limits of a call that sends bytes for so long.
fn timeouts(sending: Duration) -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .operation_attempt_timeout(ATTEMPT_TIMEOUT.saturating_add(sending))
        .operation_timeout(CALL_TIMEOUT.saturating_add(sending.saturating_mul(2)))
        .build()
}

/// Settings of one call that sends so many bytes.
pub(super) fn sending(len: u64, pace: Option<&Pace>) -> aws_sdk_s3::config::Builder {
    Config::builder().timeout_config(timeouts(on_the_way(len, pace)))
}
