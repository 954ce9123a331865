//! Addresses as `inet_out`, `cidr_out` and `macaddr_out` write them.

use super::{append, hex, invalid};
use pgkeep_format::FormatError;
use std::net::Ipv4Addr;

/// Address families, as `inet_send` says them.
const IPV4: u8 = 2;
const IPV6: u8 = 3;

pub(super) fn mac(value: &[u8], text: &mut Vec<u8>) {
    for (at, byte) in value.iter().enumerate() {
        if at > 0 {
            text.push(b':');
        }
        hex(&[*byte], text);
    }
}

/// Family, bits of the network, whether it is a cidr, length, address.
pub(super) fn inet(value: &[u8], is_cidr: bool, text: &mut Vec<u8>) -> Result<(), FormatError> {
    let [family, bits, _, len, address @ ..] = value else {
        return Err(invalid("an address is short"));
    };
    let most = match (*family, *len, address.len()) {
        (IPV4, 4, 4) => 32,
        (IPV6, 16, 16) => 128,
        _ => return Err(invalid("an address of an unknown family or length")),
    };
    if *bits > most {
        return Err(invalid("a network has more bits than an address"));
    }
    let shown = match <[u8; 4]>::try_from(address) {
        Ok(address) => Ipv4Addr::from(address).to_string(),
        Err(_) => ipv6(address),
    };
    text.extend_from_slice(shown.as_bytes());
    if is_cidr || *bits < most {
        append(text, format_args!("/{bits}"));
    }
    Ok(())
}

/// The longest run of zero words is left out; an address of IPv4 within is written as one.
fn ipv6(address: &[u8]) -> String {
    let words: Vec<u16> =
        address.as_chunks::<2>().0.iter().map(|word| u16::from_be_bytes(*word)).collect();
    let (start, len) = longest_zeros(&words);
    let has_ipv4 =
        start == 0 && (len == 6 || (len == 7 && words[7] != 1) || (len == 5 && words[5] == 0xffff));
    let mut text = String::new();
    for (at, word) in words.iter().enumerate() {
        if len > 0 && (start..start + len).contains(&at) {
            if at == start {
                text.push(':');
            }
            continue;
        }
        if at > 0 {
            text.push(':');
        }
        if at == 6 && has_ipv4 {
            let ipv4: [u8; 4] = [address[12], address[13], address[14], address[15]];
            return text + &Ipv4Addr::from(ipv4).to_string();
        }
        text += &format!("{word:x}");
    }
    if len > 0 && start + len == words.len() {
        text.push(':');
    }
    text
}

/// Start and length of the first longest run of zero words; nothing where none has two.
fn longest_zeros(words: &[u16]) -> (usize, usize) {
    let mut best = (0, 0);
    let mut at = 0;
    while at < words.len() {
        let len = words[at..].iter().take_while(|word| **word == 0).count();
        if len > best.1 {
            best = (at, len);
        }
        at += len.max(1);
    }
    if best.1 < 2 { (0, 0) } else { best }
}
