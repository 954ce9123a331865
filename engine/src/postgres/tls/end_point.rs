//! `tls-server-end-point` of RFC 5929, section 4.1: the hash of the server's certificate by
//! the hash function of its own signature, SHA-256 where that is MD5 or SHA-1.

use ring::digest::{Algorithm, SHA256, SHA384, SHA512, digest};

/// Object identifiers of signature algorithms (their DER contents) and the hash they call
/// for. RFC 8017 and RFC 5758; RSASSA-PSS and EdDSA have none that the RFC covers.
const SIGNATURES: &[(&[u8], &Algorithm)] = &[
    // 1.2.840.113549.1.1.{4,5,11,12,13}: RSA with MD5, SHA-1, SHA-256, SHA-384, SHA-512.
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x04], &SHA256),
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x05], &SHA256),
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0b], &SHA256),
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0c], &SHA384),
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0d], &SHA512),
    // 1.2.840.10045.4.1 and .4.3.{2,3,4}: ECDSA with SHA-1, SHA-256, SHA-384, SHA-512.
    (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x01], &SHA256),
    (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02], &SHA256),
    (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x03], &SHA384),
    (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x04], &SHA512),
];

const SEQUENCE: u8 = 0x30;
const OBJECT_IDENTIFIER: u8 = 0x06;

/// The binding for a certificate in DER; absent when its signature calls for no known hash.
pub(super) fn hash(certificate: &[u8]) -> Option<Vec<u8>> {
    // Certificate ::= SEQUENCE { tbsCertificate, signatureAlgorithm SEQUENCE { OID … }, … }
    let (body, _) = element(certificate, SEQUENCE)?;
    let (_, rest) = element(body, SEQUENCE)?;
    let (algorithm, _) = element(rest, SEQUENCE)?;
    let (identifier, _) = element(algorithm, OBJECT_IDENTIFIER)?;
    let (_, hash) = SIGNATURES.iter().find(|(known, _)| *known == identifier)?;
    Some(digest(hash, certificate).as_ref().to_vec())
}

/// Splits one DER element with `tag` off the front: its contents, and what follows.
fn element(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&found, rest) = bytes.split_first()?;
    let (&first, rest) = rest.split_first()?;
    if found != tag {
        return None;
    }
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x84 => {
            let (length, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (length.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    rest.split_at_checked(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A certificate's outline with a signature algorithm of this identifier.
    fn outline(identifier: &[u8]) -> Vec<u8> {
        let mut algorithm = vec![OBJECT_IDENTIFIER, u8::try_from(identifier.len()).unwrap()];
        algorithm.extend(identifier);
        let mut body = vec![SEQUENCE, 0x82, 0x00, 0x03, 1, 2, 3];
        body.extend([SEQUENCE, u8::try_from(algorithm.len()).unwrap()]);
        body.extend(algorithm);
        let mut all = vec![SEQUENCE, 0x81, u8::try_from(body.len()).unwrap()];
        all.extend(body);
        all
    }

    #[test]
    fn the_signatures_own_hash_is_used_and_sha256_for_broken_ones() {
        let [md5, ecdsa384] = [SIGNATURES[0].0, SIGNATURES[7].0].map(outline);
        assert_eq!(hash(&md5).unwrap(), digest(&SHA256, &md5).as_ref());
        assert_eq!(hash(&ecdsa384).unwrap().len(), 48);
    }

    #[test]
    fn what_is_cut_short_or_of_another_algorithm_has_no_binding() {
        let good = outline(SIGNATURES[2].0);
        for length in 0..good.len() {
            assert_eq!(hash(&good[..length]), None, "{length}");
        }
        assert_eq!(hash(&outline(&[0x2b, 0x65, 0x70])), None);
    }
}
