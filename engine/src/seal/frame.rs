//! Frames: a chunk named, compressed and sealed; and opened again.

use super::compress::{compress, decompress};
use super::{DataKey, Layout, Secrets, random};
use crate::{Error, ErrorKind, Result};
use pgkeep_format::frame::{
    FrameHeader, FrameType, HEADER_LEN, INNER_LEN, InnerHeader, KEY_DOMAIN, Suite,
};
use pgkeep_format::id::{ChunkId, KeyId};
use pgkeep_format::limits;
use ring::aead::{self, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::hkdf;

/// A chunk's name: keyed BLAKE3 of its type, flags and plain bytes.
#[must_use]
pub fn chunk_id(secrets: &Secrets, frame_type: FrameType, flags: u8, plain: &[u8]) -> ChunkId {
    let mut hasher = blake3::Hasher::new_keyed(&secrets.naming);
    hasher.update(&[frame_type.code(), flags]);
    hasher.update(plain);
    ChunkId(*hasher.finalize().as_bytes())
}

/// Makes frames for one run.
#[derive(Debug, Clone)]
pub struct Sealer {
    key: Option<DataKey>,
    suite: Suite,
}

impl Sealer {
    /// Seals under `key`, or not at all where there is none.
    #[must_use]
    pub fn new(key: Option<DataKey>) -> Self {
        let suite = match key {
            None => Suite::None,
            Some(_) if has_aes() => Suite::Aes256Gcm,
            Some(_) => Suite::ChaCha20Poly1305,
        };
        Self { key, suite }
    }

    /// Compresses and seals a chunk that bears the name `chunk`.
    ///
    /// # Errors
    /// [`ErrorKind::Internal`] when the chunk is larger than the format allows.
    pub fn seal(
        &self,
        frame_type: FrameType,
        chunk: ChunkId,
        row_continues: bool,
        plain: &[u8],
    ) -> Result<Vec<u8>> {
        self.seal_laid_out(frame_type, chunk, row_continues, plain, None)
    }

    /// As [`Sealer::seal`], for rows that compress better laid out by columns, where they do.
    ///
    /// # Errors
    /// As [`Sealer::seal`].
    pub fn seal_laid_out(
        &self,
        frame_type: FrameType,
        chunk: ChunkId,
        row_continues: bool,
        plain: &[u8],
        layout: Option<&Layout>,
    ) -> Result<Vec<u8>> {
        if plain.len() as u64 > limits::PLAIN_LEN_MAX {
            return Err(Error::new(ErrorKind::Internal, "chunk is larger than a frame may be"));
        }
        let plain_len = u32::try_from(plain.len()).map_err(|_| too_large())?;
        let key = self.key.as_ref().filter(|_| !frame_type.is_clear());
        let suite = if key.is_some() { self.suite } else { Suite::None };
        let mut frame = vec![0; HEADER_LEN + INNER_LEN];
        let codec = compress(plain, layout, &mut frame)?;
        let inner = InnerHeader { codec, row_continues, plain_len };
        frame[HEADER_LEN..][..INNER_LEN].copy_from_slice(&inner.encode());
        let payload_len = frame.len() - HEADER_LEN + suite.tag_len();
        let mut header = FrameHeader {
            frame_type,
            suite,
            stored_len: u32::try_from(payload_len).map_err(|_| too_large())?,
            key: key.map_or(KeyId::default(), |key| key.id),
            chunk,
            nonce: if key.is_some() { random()? } else { [0; 12] },
            payload_checksum: 0,
        };
        if let Some(key) = key {
            let aead = frame_key(key, suite, frame_type, chunk)?;
            let nonce = Nonce::assume_unique_for_key(header.nonce);
            let tag = aead
                .seal_in_place_separate_tag(
                    nonce,
                    Aad::from(header.associated_data()),
                    &mut frame[HEADER_LEN..],
                )
                .map_err(|_| Error::new(ErrorKind::Internal, "could not seal a chunk"))?;
            frame.extend_from_slice(tag.as_ref());
        }
        header.payload_checksum = crc32fast::hash(&frame[HEADER_LEN..]);
        frame[..HEADER_LEN].copy_from_slice(&header.encode());
        Ok(frame)
    }
}

fn too_large() -> Error {
    Error::new(ErrorKind::Internal, "chunk is larger than a frame may be")
}

/// A chunk out of its frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// The plain bytes.
    pub plain: Vec<u8>,
    /// Whether the last row goes on in the stream's next chunk.
    pub row_continues: bool,
}

/// Opens a payload whose checksum was compared, under the data key that its header names,
/// and, with the repository's secrets, proves that it is the chunk it is called.
///
/// # Errors
/// [`ErrorKind::Damaged`] when anything about it is not as it was sealed.
pub fn open(
    header: &FrameHeader,
    payload: &[u8],
    key: Option<&DataKey>,
    secrets: Option<&Secrets>,
) -> Result<Opened> {
    let mut sealed;
    let inner = match (header.suite, key) {
        (Suite::None, _) => payload,
        (suite, Some(key)) => {
            sealed = payload.to_vec();
            let aead = frame_key(key, suite, header.frame_type, header.chunk)?;
            let nonce = Nonce::assume_unique_for_key(header.nonce);
            aead.open_in_place(nonce, Aad::from(header.associated_data()), &mut sealed).map_err(
                |_| Error::new(ErrorKind::Damaged, format!("chunk {} does not open", header.chunk)),
            )?
        }
        (_, None) => {
            let message = format!("chunk {} is sealed and its key is not at hand", header.chunk);
            return Err(Error::new(ErrorKind::WrongKey, message));
        }
    };
    let damaged = |error| Error::undecodable(format!("chunk {}", header.chunk), error);
    let (inner, body) = InnerHeader::decode(inner).map_err(damaged)?;
    let plain_len = usize::try_from(inner.plain_len).map_err(|_| too_large())?;
    let plain = decompress(inner.codec, body, plain_len)?;
    if let Some(secrets) = secrets.filter(|_| header.frame_type != FrameType::Footer)
        && chunk_id(secrets, header.frame_type, inner.flags(), &plain) != header.chunk
    {
        let message = format!("chunk {} is not what its name says", header.chunk);
        return Err(Error::new(ErrorKind::Damaged, message));
    }
    Ok(Opened { plain, row_continues: inner.row_continues })
}

fn frame_key(
    key: &DataKey,
    suite: Suite,
    frame_type: FrameType,
    chunk: ChunkId,
) -> Result<LessSafeKey> {
    let algorithm = match suite {
        Suite::ChaCha20Poly1305 => &aead::CHACHA20_POLY1305,
        Suite::Aes256Gcm | Suite::None => &aead::AES_256_GCM,
    };
    let prk = hkdf::Salt::new(hkdf::HKDF_SHA256, &[]).extract(&key.key);
    let codes = [suite as u8, frame_type.code()];
    let info: [&[u8]; 3] = [KEY_DOMAIN, &codes, &chunk.0];
    // 32 bytes are the key length of both algorithms and one block of HKDF-SHA256.
    let unbound: UnboundKey = prk
        .expand(&info, algorithm)
        .map_err(|_| Error::new(ErrorKind::Internal, "could not derive a frame's key"))?
        .into();
    Ok(LessSafeKey::new(unbound))
}

/// Whether this processor computes AES itself; without, ChaCha20 is several times faster.
fn has_aes() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::arch::is_x86_feature_detected!("aes");
    #[cfg(target_arch = "aarch64")]
    return std::arch::is_aarch64_feature_detected!("aes");
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    return false;
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parts(frame: &[u8]) -> (FrameHeader, &[u8]) {
        let header = FrameHeader::decode(frame).unwrap();
        (header, &frame[HEADER_LEN..])
    }

    fn secrets() -> Secrets {
        Secrets { naming: [1; 32], cut: [2; 32] }
    }

    fn sealed(key: Option<&DataKey>, suite: Suite, plain: &[u8]) -> Vec<u8> {
        let id = chunk_id(&secrets(), FrameType::Rows, 0, plain);
        let sealer = Sealer { key: key.cloned(), suite };
        sealer.seal(FrameType::Rows, id, false, plain).unwrap()
    }

    proptest! {
        #[test]
        fn every_chunk_comes_back_the_same(plain in prop::collection::vec(any::<u8>(), 0..5000), repeat in 1usize..50) {
            let plain = plain.repeat(repeat);
            let key = DataKey::generate().unwrap();
            for (key, suite) in [(None, Suite::None), (Some(&key), Suite::Aes256Gcm), (Some(&key), Suite::ChaCha20Poly1305)] {
                let frame = sealed(key, suite, &plain);
                let (header, payload) = parts(&frame);
                header.check_payload(payload).unwrap();
                prop_assert_eq!(&open(&header, payload, key, Some(&secrets())).unwrap().plain, &plain);
            }
        }
    }

    #[test]
    fn every_flipped_bit_is_found_even_behind_checksums_that_were_mended() {
        let key = DataKey::generate().unwrap();
        let frame = sealed(Some(&key), Suite::Aes256Gcm, b"some rows");
        for at in 0..frame.len() {
            for bit in 0..8 {
                let mut changed = frame.clone();
                changed[at] ^= 1 << bit;
                let plain = FrameHeader::decode(&changed)
                    .map(|header| header.check_payload(&changed[HEADER_LEN..]));
                assert!(!matches!(plain, Ok(Ok(()))), "byte {at} bit {bit} passes the checksums");
                let payload_checksum = crc32fast::hash(&changed[HEADER_LEN..]);
                changed[88..92].copy_from_slice(&payload_checksum.to_le_bytes());
                let header_checksum = crc32fast::hash(&changed[..92]);
                changed[92..96].copy_from_slice(&header_checksum.to_le_bytes());
                let Ok(header) = FrameHeader::decode(&changed) else { continue };
                if changed == frame {
                    continue;
                }
                let opened = open(&header, &changed[HEADER_LEN..], Some(&key), Some(&secrets()));
                assert!(opened.is_err(), "byte {at} bit {bit} passes the seal");
            }
        }
    }

    #[test]
    fn the_same_chunk_sealed_twice_gives_other_bytes() {
        let key = DataKey::generate().unwrap();
        let twice = [(); 2].map(|()| sealed(Some(&key), Suite::Aes256Gcm, b"some rows"));
        assert_ne!(twice[0], twice[1]);
    }

    #[test]
    fn a_bomb_does_not_decompress_beyond_its_length() {
        let body = zstd::bulk::compress(&vec![0; 8 << 20], 1).unwrap();
        assert_eq!(
            decompress(pgkeep_format::frame::Codec::Zstd, &body, 1000).unwrap_err().kind(),
            ErrorKind::Damaged
        );
    }
}
