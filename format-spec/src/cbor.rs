//! Structured values: maps with small integer keys in CBOR (RFC 8949).
//!
//! A reader passes over keys that it does not know, so a later version may add any; what
//! an older reader must not pass over is a *feature* (see [`crate::manifest`]).

use crate::FormatError;

/// Writes a value.
pub fn encode<T: minicbor::Encode<()>>(value: &T) -> Vec<u8> {
    // Writing into a Vec cannot fail, and no type here refuses a value.
    minicbor::to_vec(value).expect("encoding into memory cannot fail")
}

/// Reads a value that fills `bytes` whole.
///
/// # Errors
/// [`FormatError::Invalid`] when the bytes are not that value or more bytes follow it.
pub fn decode<'b, T: minicbor::Decode<'b, ()>>(
    what: &'static str,
    bytes: &'b [u8],
) -> Result<T, FormatError> {
    let (value, len) = decode_first(what, bytes)?;
    if len != bytes.len() {
        return Err(FormatError::invalid(what, format!("{} bytes follow it", bytes.len() - len)));
    }
    Ok(value)
}

/// Reads the value that `bytes` begin with, and tells how many bytes it took.
///
/// # Errors
/// [`FormatError::Invalid`] when the bytes do not begin with that value.
pub fn decode_first<'b, T: minicbor::Decode<'b, ()>>(
    what: &'static str,
    bytes: &'b [u8],
) -> Result<(T, usize), FormatError> {
    let mut decoder = minicbor::Decoder::new(bytes);
    let value = decoder.decode().map_err(|error| FormatError::invalid(what, error.to_string()))?;
    Ok((value, decoder.position()))
}
