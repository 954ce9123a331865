//! TLS to the server: the request for it, the handshake, and which certificates count.
//!
//! ring is the only crypto provider. The levels of `sslmode` are libpq's; with `require`,
//! as there, the certificate is checked only when a root certificate file is there.
//! <https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-SSL>

mod end_point;
mod verifier;

use super::settings::{ClientCertificate, RootCertificates, SslMode, TlsSettings};
use super::socket::Stream;
use crate::{Error, ErrorKind, Result};
use bytes::BytesMut;
use postgres_protocol::message::frontend;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use verifier::Trust;

/// Whom the handshake is with.
pub(super) struct Peer<'a> {
    /// The host as the user named it; may be empty.
    pub(super) name: &'a str,
    /// Where the socket leads.
    pub(super) ip: IpAddr,
}

/// Asks the server for TLS and shakes hands; the plain stream comes back when the server
/// has no TLS and `required` is not set.
///
/// # Errors
/// [`ErrorKind::Connection`] when the server has no TLS or the connection breaks,
/// [`ErrorKind::Untrusted`] when its certificate is not accepted, [`ErrorKind::Usage`] when
/// one of our certificate files cannot be used.
pub(super) async fn negotiate(
    mut stream: TcpStream,
    settings: &TlsSettings,
    peer: Peer<'_>,
    required: bool,
) -> Result<Stream> {
    if !settings.direct && !request(&mut stream).await? {
        if required {
            return Err(Error::new(ErrorKind::Connection, "server does not support TLS")
                .hint("Turn on ssl at the server, or use sslmode=disable where the way is safe."));
        }
        return Ok(Stream::Tcp(stream));
    }
    let connector = TlsConnector::from(Arc::new(configuration(settings)?));
    let name = server_name(settings, &peer)?;
    let stream = connector.connect(name, stream).await.map_err(handshake_error)?;
    Ok(Stream::Tls(Box::new(stream)))
}

/// What ties SCRAM to this connection: the `tls-server-end-point` of RFC 5929. Absent
/// without TLS, or when the certificate's signature has no hash that RFC covers.
pub(super) fn channel_binding(stream: &Stream) -> Option<Vec<u8>> {
    let Stream::Tls(stream) = stream else { return None };
    let certificate = stream.get_ref().1.peer_certificates()?.first()?;
    end_point::hash(certificate)
}

/// Sends SSLRequest; true when the server says yes. Exactly one byte is read: whatever an
/// attacker puts behind it goes to the handshake, and fails there.
async fn request(stream: &mut TcpStream) -> Result<bool> {
    let broken = |error| Error::new(ErrorKind::Connection, "could not ask for TLS").because(error);
    let mut message = BytesMut::new();
    frontend::ssl_request(&mut message);
    stream.write_all(&message).await.map_err(broken)?;
    match stream.read_u8().await.map_err(broken)? {
        b'S' => Ok(true),
        b'N' => Ok(false),
        _ => Err(Error::new(
            ErrorKind::Connection,
            "what answers is not a PostgreSQL server or refuses connections",
        )),
    }
}

fn handshake_error(error: std::io::Error) -> Error {
    let certificate = error
        .get_ref()
        .and_then(|error| error.downcast_ref::<rustls::Error>())
        .is_some_and(|error| matches!(error, rustls::Error::InvalidCertificate(_)));
    if certificate {
        return Error::new(ErrorKind::Untrusted, "server's TLS certificate is not accepted")
            .hint(
                "Name the certificate of the authority that signed it with sslrootcert; \
                 with verify-full it must also name the host as a subjectAltName.",
            )
            .because(error);
    }
    Error::new(ErrorKind::Connection, "TLS handshake failed").because(error)
}

/// The name for the handshake. A host name that is no DNS name cannot be verified, so then
/// it only does where the name is not looked at.
fn server_name(settings: &TlsSettings, peer: &Peer<'_>) -> Result<ServerName<'static>> {
    if peer.name.is_empty() {
        return Ok(ServerName::from(peer.ip));
    }
    match ServerName::try_from(peer.name.to_owned()) {
        Ok(name) => Ok(name),
        Err(_) if settings.mode != SslMode::VerifyFull => Ok(ServerName::from(peer.ip)),
        Err(error) => {
            let message = format!("host \"{}\" is not a name that TLS can verify", peer.name);
            Err(Error::new(ErrorKind::Usage, message).because(error))
        }
    }
}

fn configuration(settings: &TlsSettings) -> Result<ClientConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions: &[&rustls::SupportedProtocolVersion] = if settings.only_tls13 {
        &[&rustls::version::TLS13]
    } else {
        &[&rustls::version::TLS13, &rustls::version::TLS12]
    };
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions)
        .map_err(|error| internal("TLS versions do not fit the crypto provider", error))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Trust::new(trust(settings)?, provider)?));
    let mut configuration = match &settings.client {
        Some(client) => {
            let (chain, key) = client_certificate(client)?;
            builder.with_client_auth_cert(chain, key).map_err(|error| {
                usage("client certificate and key do not fit together").because(error)
            })?
        }
        None => builder.with_no_client_auth(),
    };
    configuration.enable_sni = settings.server_name_indication;
    configuration.alpn_protocols = vec![b"postgresql".to_vec()];
    Ok(configuration)
}

/// What the certificate must fulfil.
fn trust(settings: &TlsSettings) -> Result<verifier::Rule> {
    use verifier::Rule;
    let roots = match &settings.root {
        RootCertificates::File(path) => Some(roots_of_file(path)?),
        RootCertificates::System => Some(roots_of_system()?),
        RootCertificates::Unset => None,
    };
    match (settings.mode, roots) {
        (SslMode::VerifyFull, Some(roots)) => Ok(Rule::Full(roots)),
        // Stricter than libpq, which refuses: a name that a public authority vouches for.
        (SslMode::VerifyFull, None) => Ok(Rule::Full(roots_of_system()?)),
        (SslMode::VerifyCa | SslMode::Require, Some(roots)) => Ok(Rule::Authority(roots)),
        (SslMode::VerifyCa, None) => Err(usage("sslmode \"verify-ca\" needs a root certificate")
            .hint("Name its file with sslrootcert, or put it at ~/.postgresql/root.crt.")),
        _ => Ok(Rule::Anything),
    }
}

fn roots_of_file(path: &Path) -> Result<verifier::Roots> {
    let certificates = certificates(path)?;
    let mut store = RootCertStore::empty();
    for certificate in &certificates {
        store.add(certificate.clone()).map_err(|error| {
            usage(format!("root certificate file \"{}\" has an unusable one", path.display()))
                .because(error)
        })?;
    }
    Ok(verifier::Roots { store, certificates })
}

fn roots_of_system() -> Result<verifier::Roots> {
    let found = rustls_native_certs::load_native_certs();
    let mut store = RootCertStore::empty();
    let (added, _) = store.add_parsable_certificates(found.certs);
    if added == 0 {
        return Err(usage("the operating system has no trusted certificates")
            .hint("Install ca-certificates, or name a root certificate file with sslrootcert."));
    }
    Ok(verifier::Roots { store, certificates: Vec::new() })
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let unusable = || format!("certificate file \"{}\" cannot be used", path.display());
    let found: Vec<_> = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|error| usage(unusable()).because(error))?;
    if found.is_empty() {
        return Err(usage(format!("{}: it holds no certificate", unusable())));
    }
    Ok(found)
}

type ChainAndKey = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn client_certificate(client: &ClientCertificate) -> Result<ChainAndKey> {
    use std::os::unix::fs::MetadataExt;
    let chain = certificates(&client.certificate)?;
    let unusable = || format!("key file \"{}\" cannot be used", client.key.display());
    let facts = std::fs::metadata(&client.key).map_err(|error| usage(unusable()).because(error))?;
    // As libpq: the group may read a key that root owns, nobody else any key.
    let forbidden = if facts.uid() == 0 { 0o037 } else { 0o077 };
    if facts.mode() & forbidden != 0 {
        return Err(usage(format!("{}: others may read it", unusable()))
            .hint(format!("chmod 0600 \"{}\"", client.key.display())));
    }
    let key = PrivateKeyDer::from_pem_file(&client.key)
        .map_err(|error| usage(unusable()).because(error))?;
    Ok((chain, key))
}

fn usage(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Usage, message)
}

fn internal(message: &str, error: rustls::Error) -> Error {
    Error::new(ErrorKind::Internal, message).because(error)
}
