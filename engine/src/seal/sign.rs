//! Ed25519: who says so.

use super::random;
use crate::{Error, ErrorKind, Result};
use pgkeep_format::id::{ObjectDigest, VerifyKey};
use ring::digest;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use std::fmt;

/// Signs; of the repository's owner or of a writer.
pub struct SigningKey {
    seed: [u8; 32],
    pair: Ed25519KeyPair,
}

impl SigningKey {
    /// Makes a new one.
    ///
    /// # Errors
    /// [`ErrorKind::Internal`] when the operating system has no random bytes.
    pub fn generate() -> Result<Self> {
        Self::from_seed(random()?)
    }

    /// Makes the one of a seed.
    ///
    /// # Errors
    /// [`ErrorKind::Internal`]; no seed is known to be refused.
    pub fn from_seed(seed: [u8; 32]) -> Result<Self> {
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).map_err(|reason| {
            Error::new(ErrorKind::Internal, format!("could not make a signing key: {reason}"))
        })?;
        Ok(Self { seed, pair })
    }

    /// The secret seed.
    #[must_use]
    pub fn seed(&self) -> [u8; 32] {
        self.seed
    }

    /// The public key.
    #[must_use]
    pub fn verify_key(&self) -> VerifyKey {
        let mut key = VerifyKey::default();
        key.0.copy_from_slice(self.pair.public_key().as_ref());
        key
    }

    /// Signs a message.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        let mut signature = [0; 64];
        signature.copy_from_slice(self.pair.sign(message).as_ref());
        signature
    }
}

impl Clone for SigningKey {
    fn clone(&self) -> Self {
        // The seed made a pair before.
        Self::from_seed(self.seed).expect("a seed that made a key pair makes it again")
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({}, …)", self.verify_key())
    }
}

/// The digest that tells a signed object from every other, of its header and body: the first
/// bytes of their SHA-256.
#[must_use]
pub fn object_digest(header_and_body: &[u8]) -> ObjectDigest {
    let whole = digest::digest(&digest::SHA256, header_and_body);
    let mut first = ObjectDigest::default();
    first.0.copy_from_slice(&whole.as_ref()[..ObjectDigest::LEN]);
    first
}

/// Whether `signature` over `message` is by `signer`.
#[must_use]
pub fn verify(signer: VerifyKey, message: &[u8], signature: &[u8; 64]) -> bool {
    UnparsedPublicKey::new(&ED25519, &signer.0).verify(message, signature).is_ok()
}
