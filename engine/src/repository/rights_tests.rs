//! Who reads and who writes: added, removed, rotated, revoked, and what becomes of what was
//! there before.

use super::sample::{ROWS, Sample};
use super::{Access, Head, Identity, Repository, WriterCredential, rotate};
use crate::fixture::stream_segment;
use crate::progress::{Progress, Silent};
use crate::seal::{AgeIdentity, SigningKey, generate_identity, recipient_of};
use crate::{ErrorKind, Lsn};
use pgkeep_format::frame::FrameType;
use pgkeep_format::id::{BackupId, SeriesId};
use pgkeep_format::name::{ObjectName, SegmentName};
use std::sync::Arc;

fn silent() -> Arc<dyn Progress> {
    Arc::new(Silent)
}

/// The owner's identity with another age identity, and its recipient.
fn another(sample: &Sample) -> (Identity, String) {
    let age = AgeIdentity::parse(&generate_identity()).unwrap();
    let recipient = recipient_of(&age);
    let identity = sample.access.identity.clone().unwrap();
    (Identity { age: Some(age), ..identity }, recipient)
}

async fn open_as(sample: &Sample, identity: Identity) -> crate::Result<Repository> {
    let access = Access { identity: Some(identity), writer: None };
    Repository::open(Arc::new(sample.store.clone()), access).await
}

/// Reads a backup's rows with this identity; the error otherwise.
async fn read(sample: &Sample, identity: &Identity, id: u8) -> crate::Result<()> {
    let repository = open_as(sample, identity.clone()).await?;
    let backup = repository.backup(BackupId([id; 16])).await?;
    backup.sealed_part()?;
    let reader = super::ChunkReader::open(&repository).await?;
    reader.read(&sample.id_of(ROWS[0]), FrameType::Rows).await.map(drop)
}

/// Adds a writer and makes the sample write as it.
async fn write_as(sample: &mut Sample, name: &str) -> WriterCredential {
    let owner = sample.open().await.unwrap();
    let writer = owner.new_writer(name).unwrap();
    let writer = WriterCredential::parse(&writer.format()).unwrap();
    owner.admit(&writer).await.unwrap();
    sample.access.writer = Some(writer.clone());
    writer
}

async fn revoke(sample: &Sample, wanted: &str, distrust: bool) {
    let owner = sample.open().await.unwrap();
    let plan = owner.plan_revocation(wanted, &silent()).await.unwrap();
    assert!(plan.unreadable.is_empty(), "{:?}", plan.unreadable);
    owner.revoke(&plan, distrust).await.unwrap();
}

#[tokio::test]
async fn an_added_writer_backs_up_and_finds_what_others_stored() {
    let mut sample = Sample::with_backup(true).await;
    write_as(&mut sample, "db1").await;
    let packed = sample.back_up(10, &ROWS).await;
    assert_eq!(packed.packs, 0, "all chunks were there");
    let repository = sample.open().await.unwrap();
    assert_eq!(repository.backups().await.unwrap().good.len(), 2);
    let writers = repository.writers().await.unwrap();
    let told: Vec<_> = writers.iter().map(|w| (w.name.as_str(), w.backups)).collect();
    assert_eq!(told, [("test", 1), ("db1", 1)]);
    assert!(writers[1].since >= writers[0].since);
}

#[tokio::test]
async fn a_writer_reads_neither_what_others_wrote_nor_what_it_wrote() {
    let mut sample = Sample::with_backup(true).await;
    write_as(&mut sample, "db1").await;
    sample.back_up(10, &[b"9\tnine\n"]).await;
    let repository = sample.open_for_writing().await;
    for id in [9, 10] {
        let backup = repository.backup(BackupId([id; 16])).await.unwrap();
        assert_eq!(backup.sealed_part().unwrap_err().kind(), ErrorKind::WrongKey);
    }
    let reader = super::ChunkReader::open(&repository).await.unwrap();
    for rows in [ROWS[0], ROWS[1], b"9\tnine\n"] {
        let refused = reader.read(&sample.id_of(rows), FrameType::Rows).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::WrongKey);
    }
}

#[tokio::test]
async fn a_revoked_writer_is_refused_for_new_and_believed_for_old() {
    let mut sample = Sample::with_backup(true).await;
    let thief = sample.store.clone();
    let writer = write_as(&mut sample, "db1").await;
    sample.back_up(10, &ROWS).await;
    // The thief's copy of the repository, where the key is still good.
    let stolen = Sample { store: thief_copy(&thief), access: sample.access.clone() };
    stolen.back_up(11, &[b"4\tforged\n"]).await;
    revoke(&sample, "db1", false).await;

    let kept = sample.open().await.unwrap();
    kept.backup(BackupId([10; 16])).await.unwrap();
    let refused = kept.check_may_sign().unwrap_err();
    assert!(refused.to_string().contains("was revoked"), "{refused}");
    for (name, bytes) in stolen.objects() {
        if !sample.objects().iter().any(|(known, _)| *known == name) {
            sample.replace(name, bytes);
        }
    }
    let repository = sample.open().await.unwrap();
    let refused = repository.backup(BackupId([11; 16])).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Untrusted);
    // Under the name of one that is vouched for it is no better.
    let forged = ObjectName::Backup(BackupId([11; 16]));
    let bytes = sample.objects().into_iter().find(|(name, _)| *name == forged).unwrap().1;
    sample.replace(ObjectName::Backup(BackupId([10; 16])), bytes);
    assert!(repository.backup(BackupId([10; 16])).await.is_err());
    let writers = repository.writers().await.unwrap();
    let former = writers.iter().find(|report| report.key == writer.signing.verify_key()).unwrap();
    assert!(former.revoked_at.is_some() && !former.distrusted);
}

fn thief_copy(store: &crate::store::MemoryStore) -> crate::store::MemoryStore {
    let copy = crate::store::MemoryStore::default();
    let objects = store.tamper(|objects| objects.clone());
    copy.tamper(|into| *into = objects);
    copy
}

#[tokio::test]
async fn a_distrusted_writer_is_not_believed_at_all() {
    let mut sample = Sample::with_backup(true).await;
    let writer = write_as(&mut sample, "db1").await;
    sample.back_up(10, &ROWS).await;
    let digits = writer.signing.verify_key().to_string();
    revoke(&sample, &digits[..12], true).await;
    let repository = sample.open().await.unwrap();
    let refused = repository.backup(BackupId([10; 16])).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Untrusted);
    repository.backup(BackupId([9; 16])).await.unwrap();
    let again = repository.plan_revocation("db1", &silent()).await.unwrap_err();
    assert_eq!(again.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn a_voucher_that_is_gone_or_not_the_owners_vouches_for_nothing() {
    let mut sample = Sample::with_backup(true).await;
    write_as(&mut sample, "db1").await;
    sample.back_up(10, &ROWS).await;
    revoke(&sample, "db1", false).await;
    let is_voucher = |name: &ObjectName| matches!(name, ObjectName::Voucher(_));
    let (name, bytes) = sample.objects().into_iter().find(|(name, _)| is_voucher(name)).unwrap();
    let mut changed = bytes.to_vec();
    let last = changed.len() - 1;
    changed[last] ^= 1;
    sample.replace(name, changed);
    let wanted = BackupId([10; 16]);
    assert!(sample.open().await.unwrap().backup(wanted).await.is_err());
    sample.remove(&name);
    let lost = sample.open().await.unwrap().backup(wanted).await.unwrap_err();
    // Were it told as not found, a prune would take the backup for forgotten.
    assert_eq!(lost.kind(), ErrorKind::Damaged);
    sample.replace(name, bytes);
    sample.open().await.unwrap().backup(wanted).await.unwrap();
}

#[tokio::test]
async fn only_the_owner_decides_who_reads_and_writes() {
    let mut sample = Sample::with_backup(true).await;
    let identity = sample.access.identity.clone().unwrap();
    let (_, recipient) = another(&sample);
    for owner_secret in [None, Some(SigningKey::generate().unwrap())] {
        sample.access.identity = Some(Identity { owner_secret, ..identity.clone() });
        let repository = sample.open().await.unwrap();
        assert_eq!(repository.new_writer("db1").unwrap_err().kind(), ErrorKind::WrongKey);
        let refused = repository.add_recipient(&recipient, true, &silent()).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::WrongKey);
        let refused = repository.plan_revocation("test", &silent()).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::WrongKey);
    }
    let configs = sample.objects().into_iter().filter(|(n, _)| matches!(n, ObjectName::Config(_)));
    assert_eq!(configs.count(), 1);
}

#[tokio::test]
async fn who_loses_a_race_for_the_settings_is_told() {
    let sample = Sample::new(true).await;
    let (first, second) = (sample.open().await.unwrap(), sample.open().await.unwrap());
    first.admit(&first.new_writer("db1").unwrap()).await.unwrap();
    let lost = second.admit(&second.new_writer("db2").unwrap()).await.unwrap_err();
    assert_eq!(lost.kind(), ErrorKind::Changed);
    let names: Vec<_> = sample.open().await.unwrap().config().writers.clone();
    assert_eq!(
        names.iter().map(|writer| writer.name.as_str()).collect::<Vec<_>>(),
        ["test", "db1"]
    );
}

#[tokio::test]
async fn a_name_that_would_break_a_credential_is_refused() {
    let repository = Sample::new(true).await.open().await.unwrap();
    for name in ["", " ", "a\nsigning secret: 00", &"x".repeat(256)] {
        assert_eq!(repository.new_writer(name).unwrap_err().kind(), ErrorKind::Usage, "{name:?}");
    }
    assert_eq!(repository.new_writer("test").unwrap_err().kind(), ErrorKind::AlreadyExists);
}

#[tokio::test]
async fn an_added_recipient_reads_old_and_new_backups() {
    let sample = Sample::with_backup(true).await;
    let (identity, recipient) = another(&sample);
    assert_eq!(read(&sample, &identity, 9).await.unwrap_err().kind(), ErrorKind::WrongKey);
    let owner = sample.open().await.unwrap();
    let outcome = owner.add_recipient(&recipient, true, &silent()).await.unwrap();
    assert_eq!((outcome.wrapped, outcome.deleted, outcome.failed.len()), (2, 0, 0));
    sample.back_up(10, &ROWS).await;
    for id in [9, 10] {
        read(&sample, &identity, id).await.unwrap();
        read(&sample, sample.access.identity.as_ref().unwrap(), id).await.unwrap();
    }
    let reports = sample.open().await.unwrap().key_reports().await.unwrap();
    assert_eq!(reports.len(), 3);
    assert!(reports.iter().all(|key| key.recipients == 2), "{reports:?}");
    assert_eq!(reports[0].id, None);
}

#[tokio::test]
async fn a_recipient_of_what_is_new_does_not_read_what_is_old() {
    let sample = Sample::with_backup(true).await;
    let (_, recipient) = another(&sample);
    let owner = sample.open().await.unwrap();
    owner.add_recipient(&recipient, false, &silent()).await.unwrap();
    let reports = sample.open().await.unwrap().key_reports().await.unwrap();
    assert!(reports.iter().all(|key| key.recipients == 1), "{reports:?}");
    // An interrupted run looks like this, and the next one does the rest.
    let owner = sample.open().await.unwrap();
    assert_eq!(owner.add_recipient(&recipient, true, &silent()).await.unwrap().wrapped, 2);
    assert_eq!(owner.settings_number(), sample.open().await.unwrap().settings_number());
}

#[tokio::test]
async fn a_removed_recipient_opens_no_key_that_is_there() {
    let sample = Sample::with_backup(true).await;
    let (identity, recipient) = another(&sample);
    sample.open().await.unwrap().add_recipient(&recipient, true, &silent()).await.unwrap();
    let before = sample.objects();
    let owner = sample.open().await.unwrap();
    let outcome = owner.remove_recipient(&recipient, false, &silent()).await.unwrap();
    assert_eq!((outcome.wrapped, outcome.deleted), (2, 4));
    sample.back_up(10, &ROWS).await;
    for id in [9, 10] {
        read(&sample, sample.access.identity.as_ref().unwrap(), id).await.unwrap();
        assert_eq!(read(&sample, &identity, id).await.unwrap_err().kind(), ErrorKind::WrongKey);
    }
    // As if it had been stopped before it deleted: run again, it goes on.
    for (name, bytes) in before {
        sample.replace(name, bytes);
    }
    let owner = sample.open().await.unwrap();
    owner.remove_recipient(&recipient, false, &silent()).await.unwrap();
    assert_eq!(read(&sample, &identity, 9).await.unwrap_err().kind(), ErrorKind::WrongKey);
    let unknown = sample.open().await.unwrap().remove_recipient(&recipient, false, &silent()).await;
    assert_eq!(unknown.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn a_repository_that_was_open_when_keys_were_wrapped_again_still_reads() {
    let sample = Sample::with_backup(true).await;
    let reading = sample.open().await.unwrap();
    let (_, recipient) = another(&sample);
    sample.open().await.unwrap().add_recipient(&recipient, true, &silent()).await.unwrap();
    let owner = sample.open().await.unwrap();
    owner.remove_recipient(&recipient, false, &silent()).await.unwrap();
    reading.backup(BackupId([9; 16])).await.unwrap().sealed_part().unwrap();
}

#[tokio::test]
async fn neither_the_last_recipient_nor_the_own_one_is_removed_by_accident() {
    let sample = Sample::with_backup(true).await;
    let own = sample.open().await.unwrap().config().recipients[0].clone();
    let owner = sample.open().await.unwrap();
    let refused = owner.remove_recipient(&own, true, &silent()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Usage);
    let (identity, recipient) = another(&sample);
    owner.add_recipient(&recipient, true, &silent()).await.unwrap();
    let owner = sample.open().await.unwrap();
    let refused = owner.remove_recipient(&own, false, &silent()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Usage);
    owner.remove_recipient(&own, true, &silent()).await.unwrap();
    read(&sample, &identity, 9).await.unwrap();
    assert!(sample.open().await.is_err(), "the old identity opens nothing");
}

#[tokio::test]
async fn rotation_changes_the_identity_and_writes_no_data() {
    let sample = Sample::with_backup(true).await;
    let (new, new_recipient) = another(&sample);
    let old = sample.access.identity.clone().unwrap();
    let packs = sample.packs();
    let store = Arc::new(sample.store.clone());
    let outcome = rotate(store.clone(), old.clone(), new.clone(), &silent()).await.unwrap();
    assert!(outcome.failed.is_empty());
    assert_eq!(sample.packs(), packs);
    read(&sample, &new, 9).await.unwrap();
    assert_eq!(read(&sample, &old, 9).await.unwrap_err().kind(), ErrorKind::WrongKey);
    assert_eq!(open_as(&sample, new.clone()).await.unwrap().config().recipients, [new_recipient]);
    // Done already: it does no harm to say it again.
    rotate(store, old, new.clone(), &silent()).await.unwrap();
    read(&sample, &new, 9).await.unwrap();
}

#[tokio::test]
async fn a_rotation_that_was_stopped_leaves_readers_and_goes_on() {
    let sample = Sample::with_backup(true).await;
    let (new, new_recipient) = another(&sample);
    let old = sample.access.identity.clone().unwrap();
    // Stopped after the first half.
    let owner = sample.open().await.unwrap();
    owner.add_recipient(&new_recipient, false, &silent()).await.unwrap();
    sample.back_up(10, &ROWS).await;
    for id in [9, 10] {
        read(&sample, &old, id).await.unwrap();
    }
    rotate(Arc::new(sample.store.clone()), old.clone(), new.clone(), &silent()).await.unwrap();
    for id in [9, 10] {
        read(&sample, &new, id).await.unwrap();
        assert!(read(&sample, &old, id).await.is_err());
    }
}

#[tokio::test]
async fn recipients_are_for_encrypted_repositories() {
    let sample = Sample::with_backup(false).await;
    let (_, recipient) = another(&sample);
    let owner = sample.open().await.unwrap();
    let refused = owner.add_recipient(&recipient, true, &silent()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Usage);
}

#[tokio::test]
async fn an_older_state_is_told_by_the_head() {
    let mut sample = Sample::with_backup(true).await;
    let old = sample.objects();
    sample.back_up(10, &ROWS).await;
    write_as(&mut sample, "db1").await;
    let repository = sample.open().await.unwrap();
    let head = repository.head().await.unwrap();
    assert_eq!(head, [Head::Settings(2), Head::Backup(BackupId([10; 16]))]);
    repository.expect(&head).await.unwrap();
    sample.store.tamper(|objects| *objects = old.into_iter().collect());
    let repository = sample.open().await.unwrap();
    for head in head {
        let refused = repository.expect(&[head]).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::RolledBack, "{head}");
    }
    let stream = Head::Stream(SeriesId([1; 16]), Lsn(1));
    let refused = repository.expect(&[stream]).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::RolledBack);
}

#[tokio::test]
async fn a_change_stream_that_was_cut_short_is_told_by_the_head() {
    let sample = Sample::new(true).await;
    let writing = sample.open_for_writing().await;
    stream_segment(&writing, 10, 20).await.unwrap();
    let last = stream_segment(&writing, 20, 30).await.unwrap();
    let repository = sample.open().await.unwrap();
    let head = repository.head().await.unwrap();
    assert_eq!(head, [Head::Settings(1), Head::Stream(last.stream, Lsn(30))]);
    repository.expect(&head).await.unwrap();
    let name = SegmentName { stream: last.stream, first: 20, last: 30, id: last.id };
    let name = ObjectName::Segment(name);
    let bytes = sample.objects().into_iter().find(|(found, _)| *found == name).unwrap().1;
    sample.remove(&name);
    let refused = repository.expect(&head).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::RolledBack);
    // A name alone, or a segment under one that says more than it does, makes it no longer.
    let longer = SegmentName { stream: last.stream, first: 20, last: 90, id: last.id };
    sample.replace(ObjectName::Segment(longer), bytes);
    let refused = repository.expect(&head).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::RolledBack);
    // A stream that went on is as good.
    stream_segment(&writing, 20, 40).await.unwrap();
    repository.expect(&head).await.unwrap();
}

#[tokio::test]
async fn the_stream_of_a_revoked_writer_stays_and_grows_no_more() {
    let mut sample = Sample::new(true).await;
    write_as(&mut sample, "db1").await;
    let writing = sample.open_for_writing().await;
    let before = stream_segment(&writing, 10, 20).await.unwrap();
    revoke(&sample, "db1", false).await;
    // Opened before, it does not know yet.
    let after = stream_segment(&writing, 20, 30).await.unwrap();
    let repository = sample.open().await.unwrap();
    let name = |clear: &pgkeep_format::segment::ClearPart| SegmentName {
        stream: clear.stream,
        first: clear.first,
        last: clear.last,
        id: clear.id,
    };
    repository.segment(name(&before)).await.unwrap();
    let refused = repository.segment(name(&after)).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Untrusted);
    assert_eq!(
        repository.head().await.unwrap(),
        [Head::Settings(3), Head::Stream(before.stream, Lsn(20))]
    );
}
