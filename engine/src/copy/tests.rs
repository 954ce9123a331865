use super::*;
use crate::progress::{Silent, interrupt};
use crate::repository::sample::{ROWS, Sample};
use pgkeep_format::entry::RowEncoding;

async fn copy_all(from: &Sample, to: &Sample) -> CopyReport {
    let progress: Arc<dyn Progress> = Arc::new(Silent);
    let (_keep, interrupt) = interrupt();
    let source = from.open().await.unwrap();
    run(&source, &to.open_for_writing().await, &[], &progress, interrupt).await.unwrap()
}

/// The rows and the first entry's name of a backup, read with the identity.
async fn content(sample: &Sample, id: BackupId) -> (Vec<u8>, String, ClearPart) {
    let repository = sample.open().await.unwrap();
    let backup = repository.backup(id).await.unwrap();
    let reader = ChunkReader::open(&repository).await.unwrap();
    let mut rows = Vec::new();
    for reference in reader.references(backup.stream(0).unwrap()).await.unwrap() {
        rows.extend(reader.read_rows(&reference, RowEncoding::CopyText).await.unwrap());
    }
    let entries = reader.entries(&backup, 1).await.unwrap();
    (rows, entries[0].name.clone(), backup.clear)
}

#[tokio::test]
async fn a_copy_has_the_same_backups_under_other_names_and_keys() {
    let many: Vec<Vec<u8>> = (0..40).map(|n| format!("{n}\tx\n").into_bytes()).collect();
    let many: Vec<&[u8]> = many.iter().map(Vec::as_slice).collect();
    for (encrypted, target) in [(true, true), (true, false), (false, true)] {
        let (from, to) = (Sample::with_backup(encrypted).await, Sample::new(target).await);
        from.back_up(10, &many).await;
        from.back_up(11, &[b"1\tgoes", b"-on\n", ROWS[1]]).await;
        let report = copy_all(&from, &to).await;
        assert_eq!((report.copied.len(), report.already.len(), report.failed.len()), (3, 0, 0));
        for id in [9, 10, 11].map(|id| BackupId([id; 16])) {
            let (old, new) = (content(&from, id).await, content(&to, id).await);
            assert_eq!((&old.0, &old.1), (&new.0, &new.1));
            assert_eq!(
                (old.2.started_at, old.2.lsn, old.2.kind),
                (new.2.started_at, new.2.lsn, new.2.kind)
            );
            assert_ne!(old.2.streams, new.2.streams, "chunks have names of their own");
            assert_ne!(old.2.series, new.2.series);
        }
        // A backup taken into the target is of the same series and finds the copied chunks.
        assert_eq!(to.back_up(12, &ROWS).await.packs, 0);
        let of = async |id| content(&to, BackupId([id; 16])).await.2.series;
        assert_eq!(of(9).await, of(12).await);
    }
}

#[tokio::test]
async fn copying_again_copies_nothing_and_a_stopped_copy_goes_on() {
    let (from, to) = (Sample::with_backup(true).await, Sample::new(true).await);
    let first = copy_all(&from, &to).await;
    assert_eq!(first.copied[0].totals.new_chunks, 3);
    let whole = to.objects();
    let again = copy_all(&from, &to).await;
    assert_eq!((again.copied.len(), again.already), (0, vec![BackupId([9; 16])]));
    assert_eq!(to.objects(), whole);
    // As when it was stopped before the manifest was written.
    to.remove(&ObjectName::Backup(BackupId([9; 16])));
    let resumed = copy_all(&from, &to).await;
    assert_eq!((resumed.copied[0].totals.chunks, resumed.copied[0].totals.new_chunks), (3, 0));
    // The next backup brings what is new, and reads nothing that was copied in the same run.
    from.back_up(10, &[ROWS[0], b"4\tfour\n"]).await;
    let next = copy_all(&from, &to).await;
    assert_eq!(next.copied[0].totals.new_chunks, 2, "its rows and its entries");
}

#[tokio::test]
async fn a_damaged_backup_is_named_and_the_others_are_copied() {
    let (from, to) = (Sample::with_backup(true).await, Sample::new(true).await);
    from.back_up(10, &[b"4\tfour\n"]).await;
    from.rot(&from.id_of(ROWS[0]));
    let report = copy_all(&from, &to).await;
    assert_eq!(report.failed.iter().map(|(id, _)| id.0[0]).collect::<Vec<_>>(), [9]);
    assert_eq!(report.copied.iter().map(|one| one.backup.0[0]).collect::<Vec<_>>(), [10]);
    assert!(to.open().await.unwrap().backup(BackupId([9; 16])).await.is_err());
}

#[tokio::test]
async fn a_repository_is_not_copied_into_itself() {
    let sample = Sample::with_backup(true).await;
    let progress: Arc<dyn Progress> = Arc::new(Silent);
    let (_keep, interrupt) = interrupt();
    let (from, to) = (sample.open().await.unwrap(), sample.open_for_writing().await);
    let refused = run(&from, &to, &[], &progress, interrupt).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Usage);
}
