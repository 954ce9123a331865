//! Structured values: maps with small integer keys in CBOR (RFC 8949).
//!
//! A reader passes over keys that it does not know, so a later version may add any; what
//! an older reader must not pass over is a *feature* (see [`crate::manifest`]).
//!
//! A value has one encoding only: the deterministic one of RFC 8949, section 4.2.1, made
//! of integers, byte and text strings, arrays, maps with unsigned keys, `false`, `true`
//! and `null`. All else is refused before a value is made of it.

use crate::FormatError;
use crate::limits;

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
    let len = item_len(bytes).map_err(|reason| FormatError::invalid(what, reason))?;
    let mut decoder = minicbor::Decoder::new(&bytes[..len]);
    let value = decoder.decode().map_err(|error| FormatError::invalid(what, error.to_string()))?;
    if decoder.position() != len {
        return Err(FormatError::invalid(what, "it is more than the value"));
    }
    Ok((value, len))
}

/// An array or map that is being walked through.
struct Container {
    /// Items that are still to come; a map's keys and values both count.
    remaining: u64,
    /// For a map: its last key, once there is one.
    last_key: Option<u64>,
    is_map: bool,
}

/// Bytes of the item that `bytes` begin with, when it is whole and deterministic.
fn item_len(bytes: &[u8]) -> Result<usize, &'static str> {
    let mut at = 0;
    let mut open: Vec<Container> = Vec::new();
    loop {
        let (major, argument, head_len) = head(&bytes[at..])?;
        at += head_len;
        if let Some(container) = open.last_mut() {
            container.take_item(major, argument)?;
        }
        let left = (bytes.len() - at) as u64;
        match major {
            0 | 1 => {}
            2 | 3 => {
                // Not more than `left`, and so a usize.
                let len = usize::try_from(argument).unwrap_or(usize::MAX);
                let content = bytes[at..].get(..len).ok_or("it is truncated")?;
                if major == 3 && std::str::from_utf8(content).is_err() {
                    return Err("a text is not UTF-8");
                }
                at += len;
            }
            4 | 5 => {
                let is_map = major == 5;
                let remaining = if is_map { argument.saturating_mul(2) } else { argument };
                // Each item takes a byte at least.
                if remaining > left {
                    return Err("it is truncated");
                }
                if open.len() == limits::NESTING_MAX {
                    return Err("it is nested too deeply");
                }
                open.push(Container { remaining, last_key: None, is_map });
            }
            _ if major == 7 && (20..=22).contains(&argument) && head_len == 1 => {}
            _ => return Err("it holds a type that is not used"),
        }
        while open.last().is_some_and(|container| container.remaining == 0) {
            open.pop();
        }
        if open.is_empty() {
            return Ok(at);
        }
    }
}

impl Container {
    fn take_item(&mut self, major: u8, argument: u64) -> Result<(), &'static str> {
        let is_key = self.is_map && self.remaining.is_multiple_of(2);
        self.remaining -= 1;
        if is_key {
            if major != 0 || self.last_key.is_some_and(|last| last >= argument) {
                return Err("a map's keys are not ascending unsigned integers");
            }
            self.last_key = Some(argument);
        }
        Ok(())
    }
}

/// An item's major type and argument, and how many bytes say so.
fn head(bytes: &[u8]) -> Result<(u8, u64, usize), &'static str> {
    let first = *bytes.first().ok_or("it is truncated")?;
    let (major, short) = (first >> 5, first & 0x1f);
    let len = match short {
        0..=23 => return Ok((major, short.into(), 1)),
        24..=27 => 1_usize << (short - 24),
        _ => return Err("it has an item of indefinite length"),
    };
    let argument = bytes.get(1..=len).ok_or("it is truncated")?;
    let argument = argument.iter().fold(0_u64, |value, byte| value << 8 | u64::from(*byte));
    let least = match len {
        1 => 24,
        _ => 1_u64 << (len * 4),
    };
    if argument < least {
        return Err("a number is not written in its shortest form");
    }
    Ok((major, argument, 1 + len))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_is_as_long_as_it_says() {
        for (bytes, len) in [
            (&b"\x00"[..], 1),
            (b"\x18\x18", 2),
            (b"\x39\x01\x00", 3),
            (b"\x1b\x00\x00\x00\x01\x00\x00\x00\x00", 9),
            (b"\x83\x01\x02\xf6rest", 4),
            (b"\xa2\x01\x61a\x02\x80x", 6),
            (b"\x80", 1),
            (b"\xa0\xa0", 1),
        ] {
            assert_eq!(item_len(bytes), Ok(len), "{bytes:02x?}");
        }
    }

    #[test]
    fn what_is_not_deterministic_or_not_whole_is_refused() {
        for bytes in [
            &b""[..],
            b"\x18\x17",
            b"\x19\x00\xff",
            b"\x1a\x00\x00\xff\xff",
            b"\x1b\x00\x00\x00\x00\xff\xff\xff\xff",
            b"\x9f\xff",
            b"\x5f\xff",
            b"\xff",
            b"\xa2\x02\x00\x01\x00",
            b"\xa2\x01\x00\x01\x00",
            b"\xa1\x61a\x00",
            b"\xa1\x01",
            b"\x9b\xff\xff\xff\xff\xff\xff\xff\xff",
            b"\xbb\xff\xff\xff\xff\xff\xff\xff\xff",
            b"\x5b\xff\xff\xff\xff\xff\xff\xff\xff",
            b"\xc0\x00",
            b"\xf7",
            b"\xf8\x16",
            b"\xfa\x00\x00\x00\x00",
            b"\x61\xff",
            &[0x81; 1000],
        ] {
            assert!(item_len(bytes).is_err(), "{bytes:02x?}");
        }
    }
}
