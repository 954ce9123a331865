//! Keys wrapped for recipients as ordinary age files (age-encryption.org/v1, X25519), so
//! that anybody with the identity and any age program can unwrap them.

use crate::{Error, ErrorKind, Result};
use age::secrecy::ExposeSecret;
use age::x25519::{Identity, Recipient};
use std::fmt;
use std::io::{Read, Write};
use std::str::FromStr;

/// The plain content of a key object is far below this.
const KEY_CONTENT_MAX: u64 = 4096;

/// The secret that unwraps.
#[derive(Clone)]
pub struct AgeIdentity(Identity);

impl AgeIdentity {
    /// Reads `AGE-SECRET-KEY-1…`.
    ///
    /// # Errors
    /// [`ErrorKind::WrongKey`] when it is not one.
    pub fn parse(text: &str) -> Result<Self> {
        Identity::from_str(text).map(Self).map_err(|reason| {
            Error::new(ErrorKind::WrongKey, format!("age identity is not valid: {reason}"))
        })
    }
}

impl fmt::Debug for AgeIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AgeIdentity(…)")
    }
}

/// Makes a new identity; returns its secret text `AGE-SECRET-KEY-1…`.
#[must_use]
pub fn generate_identity() -> String {
    Identity::generate().to_string().expose_secret().to_owned()
}

/// The recipient `age1…` of an identity.
#[must_use]
pub fn recipient_of(identity: &AgeIdentity) -> String {
    identity.0.to_public().to_string()
}

/// Checks a recipient.
///
/// # Errors
/// [`ErrorKind::Usage`] when it is not `age1…`.
pub fn validate_recipient(text: &str) -> Result<()> {
    parse_recipient(text).map(drop)
}

fn parse_recipient(text: &str) -> Result<Recipient> {
    Recipient::from_str(text).map_err(|reason| {
        Error::new(ErrorKind::Usage, format!("recipient \"{text}\" is not valid: {reason}"))
            .hint("A recipient is the public key that age-keygen prints: age1 and 58 characters.")
    })
}

/// Wraps the content of a key object for all recipients.
///
/// # Errors
/// [`ErrorKind::Usage`] when a recipient is not valid, [`ErrorKind::Internal`].
pub fn wrap_key(content: &[u8], recipients: &[String]) -> Result<Vec<u8>> {
    let recipients: Vec<Recipient> =
        recipients.iter().map(|text| parse_recipient(text)).collect::<Result<_>>()?;
    let failed = || Error::new(ErrorKind::Internal, "could not wrap a key");
    let encryptor = age::Encryptor::with_recipients(recipients.iter().map(|r| r as _))
        .map_err(|error| failed().because(error))?;
    let mut wrapped = Vec::new();
    let mut writer =
        encryptor.wrap_output(&mut wrapped).map_err(|error| failed().because(error))?;
    writer.write_all(content).map_err(|error| failed().because(error))?;
    writer.finish().map_err(|error| failed().because(error))?;
    Ok(wrapped)
}

/// For how many X25519 recipients an age file is encrypted, as its header says: it names
/// none of them, and nobody has signed it.
#[must_use]
pub fn recipients_of_wrapped(wrapped: &[u8]) -> usize {
    let lines = wrapped.split(|byte| *byte == b'\n');
    let header = lines.take_while(|line| !line.starts_with(b"---"));
    header.filter(|line| line.starts_with(b"-> X25519 ")).count()
}

/// Unwraps a key object.
///
/// # Errors
/// [`ErrorKind::WrongKey`] when it is not wrapped for `identity`, [`ErrorKind::Damaged`]
/// when it is not a whole age file.
pub fn unwrap_key(wrapped: &[u8], identity: &AgeIdentity) -> Result<Vec<u8>> {
    let damaged = || Error::new(ErrorKind::Damaged, "wrapped key is damaged");
    let decryptor = age::Decryptor::new(wrapped).map_err(|error| damaged().because(error))?;
    let reader =
        decryptor.decrypt(std::iter::once(&identity.0 as _)).map_err(|error| match error {
            age::DecryptError::NoMatchingKeys => Error::new(
                ErrorKind::WrongKey,
                "identity does not open this repository: its keys are wrapped for others",
            )
            .hint("Give the identity that was made with this repository: --identity FILE"),
            error => damaged().because(error),
        })?;
    let mut content = Vec::new();
    reader
        .take(KEY_CONTENT_MAX)
        .read_to_end(&mut content)
        .map_err(|error| damaged().because(error))?;
    Ok(content)
}
