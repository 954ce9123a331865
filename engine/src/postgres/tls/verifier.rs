//! Which server certificates are accepted: any, those of an authority, or those of an
//! authority that also name the host. Signatures of the handshake are always checked, so
//! that at least the certificate's owner is at the other end.

use crate::{Error, ErrorKind, Result};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, RootCertStore, SignatureScheme};
use std::sync::Arc;

/// Certificates of authorities.
pub(super) struct Roots {
    pub(super) store: RootCertStore,
    /// The certificates themselves, where they came from a file that the user named.
    pub(super) certificates: Vec<CertificateDer<'static>>,
}

/// What a certificate must fulfil.
pub(super) enum Rule {
    /// Nothing.
    Anything,
    /// One of these authorities signed it.
    Authority(Roots),
    /// One of these authorities signed it for this host.
    Full(Roots),
}

/// The rule at work.
#[derive(Debug)]
pub(super) struct Trust {
    provider: Arc<CryptoProvider>,
    authority: Option<Authority>,
}

#[derive(Debug)]
struct Authority {
    verifier: Arc<WebPkiServerVerifier>,
    certificates: Vec<CertificateDer<'static>>,
    name_counts: bool,
}

impl Trust {
    pub(super) fn new(rule: Rule, provider: Arc<CryptoProvider>) -> Result<Self> {
        let (roots, name_counts) = match rule {
            Rule::Anything => return Ok(Self { provider, authority: None }),
            Rule::Authority(roots) => (roots, false),
            Rule::Full(roots) => (roots, true),
        };
        let verifier = WebPkiServerVerifier::builder_with_provider(
            Arc::new(roots.store),
            Arc::clone(&provider),
        )
        .build()
        .map_err(|error| {
            Error::new(ErrorKind::Usage, "root certificates cannot be used").because(error)
        })?;
        let authority = Authority { verifier, certificates: roots.certificates, name_counts };
        Ok(Self { provider, authority: Some(authority) })
    }
}

impl Authority {
    fn verify(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<(), rustls::Error> {
        let verdict = self.verifier.verify_server_cert(end_entity, intermediates, name, &[], now);
        match verdict {
            Ok(_) => Ok(()),
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if !self.name_counts => Ok(()),
            // A certificate that signed itself, as PostgreSQL's documentation makes it, is
            // an authority's; it counts when it is itself what the user put into the file.
            Err(rustls::Error::InvalidCertificate(ref reason))
                if is_authoritys(reason) && self.certificates.iter().any(|c| c == end_entity) =>
            {
                if self.name_counts {
                    let parsed = ParsedCertificate::try_from(end_entity)?;
                    rustls::client::verify_server_name(&parsed, name)?;
                }
                Ok(())
            }
            Err(error) => Err(error),
        }
    }
}

/// Whether the only complaint is that an authority's certificate is used by a server. The
/// dates were checked before.
fn is_authoritys(reason: &CertificateError) -> bool {
    let CertificateError::Other(other) = reason else { return false };
    matches!(other.0.downcast_ref(), Some(webpki::Error::CaUsedAsEndEntity))
}

impl ServerCertVerifier for Trust {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if let Some(authority) = &self.authority {
            authority.verify(end_entity, intermediates, server_name, now)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postgres::tls::roots_of_file;
    use rustls::pki_types::pem::PemObject;
    use std::process::Command;
    use std::time::Duration;

    /// A certificate that signed itself, as PostgreSQL's documentation makes one.
    fn self_signed(directory: &std::path::Path, name: &str) -> std::path::PathBuf {
        let path = directory.join(name);
        let made = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"])
            .args(["-nodes", "-days", "2", "-subj", "/CN=db", "-addext", "subjectAltName=DNS:db"])
            .arg("-keyout")
            .arg(directory.join("key"))
            .arg("-out")
            .arg(&path)
            .output()
            .expect("openssl");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        path
    }

    #[test]
    fn a_self_signed_certificate_counts_when_it_is_itself_what_the_user_trusts() {
        let directory = tempfile::tempdir().unwrap();
        let [ours, other] = ["ours", "other"].map(|name| self_signed(directory.path(), name));
        let certificate = CertificateDer::from_pem_file(&ours).unwrap();
        let verify = |rule, name: &str, now: UnixTime| {
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let name = ServerName::try_from(name.to_owned()).unwrap();
            let trust = Trust::new(rule, provider).unwrap();
            trust.verify_server_cert(&certificate, &[], &name, &[], now).map(|_| ())
        };
        let roots = |path| roots_of_file(path).unwrap();
        let now = UnixTime::now();
        let later = UnixTime::since_unix_epoch(Duration::from_secs(now.as_secs() + 3 * 86_400));

        verify(Rule::Full(roots(&ours)), "db", now).unwrap();
        verify(Rule::Authority(roots(&ours)), "another", now).unwrap();
        verify(Rule::Anything, "another", later).unwrap();
        assert!(verify(Rule::Full(roots(&ours)), "another", now).is_err());
        assert!(verify(Rule::Authority(roots(&ours)), "db", later).is_err(), "it has expired");
        assert!(verify(Rule::Authority(roots(&other)), "db", now).is_err());
    }
}
