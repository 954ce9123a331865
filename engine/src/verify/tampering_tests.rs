//! Somebody changes what is stored, with all that can be had without the identity and without
//! a writer's signing key: each try is refused, or reported.

use super::{VerifyOptions, run};
use crate::ErrorKind;
use crate::progress::{Progress, Silent, interrupt};
use crate::repository::sample::{ROWS, Sample};
use crate::repository::{ChunkReader, Head};
use crate::seal::{Sealer, SigningKey, generate_identity, recipient_of};
use bytes::Bytes;
use pgkeep_format::cbor;
use pgkeep_format::config::Config;
use pgkeep_format::frame::FrameType;
use pgkeep_format::id::{BackupId, ChunkId, PackId};
use pgkeep_format::name::ObjectName;
use pgkeep_format::object::{
    HEADER_LEN, ObjectHeader, ObjectType, decode_signed, encode_signed, signed_message,
};
use pgkeep_format::pack::{FooterEntry, Trailer, encode_footer};
use std::sync::Arc;

const NINE: BackupId = BackupId([9; 16]);

async fn problems(sample: &Sample) -> Vec<String> {
    let progress: Arc<dyn Progress> = Arc::new(Silent);
    let (_keep, interrupt) = interrupt();
    let repository = match sample.open().await {
        Ok(repository) => repository,
        Err(error) => return vec![format!("{error:?}")],
    };
    match run(&repository, &VerifyOptions::default(), &progress, interrupt).await {
        Ok(report) => report.problems.into_iter().map(|problem| problem.message).collect(),
        Err(error) => vec![format!("{error:?}")],
    }
}

fn object(sample: &Sample, wanted: ObjectName) -> Bytes {
    sample.objects().into_iter().find(|(name, _)| *name == wanted).unwrap().1
}

/// A signed object with another id and body, signed by this key.
fn signed_by(key: &SigningKey, bytes: &[u8], id: [u8; 16], body: Option<Vec<u8>>) -> Vec<u8> {
    let old = decode_signed(bytes).unwrap();
    let body = body.unwrap_or_else(|| old.body.to_vec());
    let header = ObjectHeader { id, body_len: body.len() as u64, ..old.header };
    let signature = key.sign(&signed_message(&header, &body));
    encode_signed(&header, &body, key.verify_key(), &signature)
}

/// Puts one pack of these frames in the place of all packs and indexes.
fn only_pack(sample: &Sample, frames: &[(ChunkId, FrameType, Vec<u8>)]) {
    let id = PackId([7; 16]);
    let (object_type, repository) =
        (ObjectType::Pack, sample.access.writer.as_ref().unwrap().repository);
    let header = ObjectHeader { object_type, repository, id: id.0, body_len: 0 };
    let mut bytes = header.encode().to_vec();
    let mut entries = Vec::new();
    for (chunk, frame_type, frame) in frames {
        entries.push(FooterEntry {
            chunk: *chunk,
            frame_type: *frame_type,
            stored_len: u32::try_from(frame.len() - 96).unwrap(),
            offset: bytes.len() as u64,
        });
        bytes.extend_from_slice(frame);
    }
    let footer = Sealer::new(None)
        .seal(FrameType::Footer, ChunkId::default(), false, &encode_footer(&entries))
        .unwrap();
    let trailer = Trailer {
        footer_offset: bytes.len() as u64,
        footer_len: footer.len() as u64,
        frames: u32::try_from(frames.len()).unwrap(),
    };
    bytes.extend_from_slice(&footer);
    bytes.extend_from_slice(&trailer.encode());
    for (name, _) in sample.objects() {
        if matches!(name, ObjectName::Pack(_) | ObjectName::Index(_)) {
            sample.remove(&name);
        }
    }
    sample.replace(ObjectName::Pack(id), bytes);
}

/// The frame of a chunk as it is stored.
fn frame_of(sample: &Sample, chunk: ChunkId) -> Vec<u8> {
    let found = sample.packs().into_iter().find_map(|(_, bytes)| {
        let at = bytes[HEADER_LEN..].windows(32).position(|window| window == chunk.0)?;
        let start = HEADER_LEN + at - 32;
        let len = u32::from_le_bytes(bytes[start + 8..start + 12].try_into().unwrap());
        Some(bytes[start..start + 96 + len as usize].to_vec())
    });
    found.expect("a frame")
}

async fn read_rows(sample: &Sample, chunk: ChunkId) -> crate::Result<Bytes> {
    let reader = ChunkReader::open(&sample.open().await.unwrap()).await.unwrap();
    Ok(reader.read(&chunk, FrameType::Rows).await?.plain.clone().into())
}

#[tokio::test]
async fn an_old_manifest_under_a_new_name_is_refused() {
    let sample = Sample::with_backup(true).await;
    let old = object(&sample, ObjectName::Backup(NINE));
    sample.replace(ObjectName::Backup(BackupId([10; 16])), old);
    let repository = sample.open().await.unwrap();
    let refused = repository.backup(BackupId([10; 16])).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Damaged);
    assert!(!problems(&sample).await.is_empty());
}

#[tokio::test]
async fn an_old_manifest_in_the_place_of_a_newer_one_is_refused() {
    let sample = Sample::with_backup(true).await;
    sample.back_up(10, &ROWS).await;
    let old = object(&sample, ObjectName::Backup(NINE));
    sample.replace(ObjectName::Backup(BackupId([10; 16])), old);
    let refused = sample.open().await.unwrap().find("latest").await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Damaged);
}

#[tokio::test]
async fn a_chunk_in_the_place_of_another_is_refused() {
    let sample = Sample::with_backup(true).await;
    let (one, other) = (sample.id_of(ROWS[0]), sample.id_of(ROWS[1]));
    let frames = [(one, FrameType::Rows, frame_of(&sample, other))];
    only_pack(&sample, &frames);
    assert_eq!(read_rows(&sample, one).await.unwrap_err().kind(), ErrorKind::Damaged);
    assert!(!problems(&sample).await.is_empty());
}

#[tokio::test]
async fn a_frame_that_was_never_sealed_is_refused_in_the_place_of_a_sealed_one() {
    let sample = Sample::with_backup(true).await;
    let victim = sample.id_of(ROWS[0]);
    let lying = Sealer::new(None).seal(FrameType::Rows, victim, false, b"1\tforged\n").unwrap();
    only_pack(&sample, &[(victim, FrameType::Rows, lying)]);
    assert_eq!(read_rows(&sample, victim).await.unwrap_err().kind(), ErrorKind::Damaged);
    assert!(!problems(&sample).await.is_empty());
}

#[tokio::test]
async fn a_backup_forged_without_a_signing_key_is_refused() {
    // The forger has the recipients, the naming key and all that is stored, and a key of their
    // own to sign with.
    let sample = Sample::with_backup(true).await;
    let good = object(&sample, ObjectName::Backup(NINE));
    let forger = SigningKey::generate().unwrap();
    let name = ObjectName::Backup(BackupId([10; 16]));
    sample.replace(name, signed_by(&forger, &good, [10; 16], None));
    let repository = sample.open().await.unwrap();
    let refused = repository.backup(BackupId([10; 16])).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Untrusted);
    let all = repository.backups().await.unwrap();
    assert_eq!((all.good.len(), all.unreadable.len()), (1, 1));
    assert_eq!(repository.find("latest").await.unwrap_err().kind(), ErrorKind::Untrusted);
    assert!(!problems(&sample).await.is_empty());
    // With the name of the true writer and no signature of its.
    let writer = decode_signed(&good).unwrap().signer;
    let mut claimed = signed_by(&forger, &good, [10; 16], None);
    let signer_at = claimed.len() - 96;
    claimed[signer_at..signer_at + 32].copy_from_slice(&writer.0);
    sample.replace(name, claimed);
    let refused = repository.backup(BackupId([10; 16])).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Damaged);
}

#[tokio::test]
async fn the_owner_is_no_writer() {
    let sample = Sample::with_backup(true).await;
    let owner = sample.access.identity.as_ref().unwrap().owner_secret.clone().unwrap();
    let good = object(&sample, ObjectName::Backup(NINE));
    sample.replace(ObjectName::Backup(NINE), signed_by(&owner, &good, NINE.0, None));
    let refused = sample.open().await.unwrap().backup(NINE).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Untrusted);
}

#[tokio::test]
async fn an_older_config_under_a_greater_number_is_refused() {
    let sample = Sample::with_backup(true).await;
    let first = object(&sample, ObjectName::Config(1));
    sample.replace(ObjectName::Config(2), first);
    assert_eq!(sample.open().await.unwrap_err().kind(), ErrorKind::Damaged);
}

#[tokio::test]
async fn recipients_and_writers_that_an_attacker_adds_are_refused() {
    let sample = Sample::with_backup(true).await;
    let first = object(&sample, ObjectName::Config(1));
    let attacker = SigningKey::generate().unwrap();
    let mut config = Config::decode(decode_signed(&first).unwrap().body).unwrap();
    let age = crate::seal::AgeIdentity::parse(&generate_identity()).unwrap();
    config.recipients.push(recipient_of(&age));
    config.writers[0].key = attacker.verify_key();
    let id = 2_u128.to_be_bytes();
    let bytes = signed_by(&attacker, &first, id, Some(cbor::encode(&config)));
    sample.replace(ObjectName::Config(2), bytes);
    let refused = sample.open().await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Untrusted);
    // A host that writes refuses as well: it would encrypt for the attacker.
    let mut writing = Sample { store: sample.store.clone(), access: sample.access.clone() };
    writing.access.identity = None;
    assert_eq!(writing.open().await.unwrap_err().kind(), ErrorKind::Untrusted);
}

#[tokio::test]
async fn settings_from_before_a_revocation_are_told_by_the_head() {
    let sample = Sample::with_backup(true).await;
    let repository = sample.open().await.unwrap();
    let progress: Arc<dyn Progress> = Arc::new(Silent);
    let plan = repository.plan_revocation("test", &progress).await.unwrap();
    let head = repository.revoke(&plan, true).await.unwrap().head().await.unwrap();
    assert_eq!(head, [Head::Settings(2)]);
    sample.remove(&ObjectName::Config(2));
    // Nothing in the repository tells; who remembered the head is told.
    let repository = sample.open().await.unwrap();
    repository.backup(NINE).await.unwrap();
    let refused = repository.expect(&head).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::RolledBack);
}

#[tokio::test]
async fn a_removed_newest_backup_is_told_by_the_head() {
    let sample = Sample::with_backup(true).await;
    sample.back_up(10, &ROWS).await;
    let head = sample.open().await.unwrap().head().await.unwrap();
    sample.remove(&ObjectName::Backup(BackupId([10; 16])));
    let repository = sample.open().await.unwrap();
    assert_eq!(repository.find("latest").await.unwrap().clear.id, NINE);
    let refused = repository.expect(&head).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::RolledBack);
}
