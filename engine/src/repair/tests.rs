use super::*;
use crate::progress::{Silent, interrupt};
use crate::repository::sample::{ROWS, Sample};
use crate::repository::{Access, ChunkReader};
use pgkeep_format::frame::FrameType;

impl Sample {
    async fn repair_index(&self, dry_run: bool) -> RepairReport {
        let options = RepairOptions { dry_run, ..RepairOptions::default() };
        let (progress, (_keep, interrupt)) = (silent(), interrupt());
        index(&self.open_for_writing().await, &options, &progress, interrupt).await.unwrap()
    }

    async fn repair_packs(&self, options: &RepairOptions) -> RepairReport {
        let (progress, (_keep, interrupt)) = (silent(), interrupt());
        packs(&self.open_for_writing().await, options, &progress, interrupt).await.unwrap()
    }

    fn indexes(&self) -> Vec<ObjectName> {
        let names = self.objects().into_iter().map(|(name, _)| name);
        names.filter(|name| matches!(name, ObjectName::Index(_))).collect()
    }

    async fn assert_reads(&self, rows: &[&[u8]]) {
        let reader = ChunkReader::open(&self.open().await.unwrap()).await.unwrap();
        for rows in rows {
            let opened = reader.read(&self.id_of(rows), FrameType::Rows).await.unwrap();
            assert_eq!(opened.plain, *rows);
        }
    }
}

fn silent() -> Arc<dyn Progress> {
    Arc::new(Silent)
}

#[tokio::test]
async fn lost_indexes_are_made_again_and_the_next_backup_stores_nothing_twice() {
    let sample = Sample::with_backup(true).await;
    sample.indexes().iter().for_each(|name| sample.remove(name));
    let before = sample.objects().len();
    assert_eq!(sample.repair_index(true).await.indexed.len(), 1);
    assert_eq!(sample.objects().len(), before, "a dry run changes nothing");
    let report = sample.repair_index(false).await;
    assert_eq!((report.indexed.len(), report.warnings.len()), (1, 0));
    assert_eq!(sample.indexes().len(), 1);
    assert_eq!(sample.back_up(10, &ROWS).await.packs, 0);
    assert_eq!(sample.repair_index(false).await, RepairReport::default());
}

#[tokio::test]
async fn a_pack_without_footer_is_read_from_the_front() {
    let sample = Sample::with_backup(true).await;
    sample.indexes().iter().for_each(|name| sample.remove(name));
    let (name, bytes) = sample.packs().remove(0);
    let mut changed = bytes.to_vec();
    let last = changed.len() - 1;
    changed[last] ^= 1;
    sample.replace(name, changed);
    assert_eq!(sample.repair_index(false).await.indexed.len(), 1);
    sample.assert_reads(&ROWS).await;
    // Its good chunks move to a pack with a footer.
    let report = sample.repair_packs(&RepairOptions::default()).await;
    assert_eq!((report.damaged.len(), report.lost.len()), (1, 0));
    assert_eq!(report.damaged[0].good, 3);
    sample.assert_reads(&ROWS).await;
    assert_eq!(sample.repair_packs(&RepairOptions::default()).await, RepairReport::default());
    assert_eq!(sample.repair_index(false).await, RepairReport::default());
}

#[tokio::test]
async fn useless_indexes_go_and_what_they_say_of_other_packs_stays() {
    let sample = Sample::with_backup(true).await;
    let first = sample.packs().remove(0).0;
    sample.back_up(1, &[b"7\tseven\n"]).await;
    sample.back_up(2, &[b"8\teight\n"]).await;
    let [a, b, c] = sample.indexes()[..] else { panic!("three indexes") };
    // One is damaged, one names a pack that is gone.
    let bytes = sample.store.tamper(|objects| objects.get(&a).cloned()).unwrap();
    sample.replace(a, bytes.slice(..bytes.len() - 1));
    sample.remove(&first);
    let report = sample.repair_index(false).await;
    assert!(report.removed_indexes.iter().any(|(name, _)| *name == a), "{report:?}");
    let left = sample.indexes();
    assert!(!left.contains(&a) && left.iter().any(|name| [b, c].contains(name)));
    assert_eq!(sample.back_up(3, &[b"7\tseven\n"]).await.packs, 0);
    assert_eq!(sample.back_up(4, &[b"8\teight\n"]).await.packs, 0);
    assert_eq!(sample.back_up(5, &ROWS).await.packs, 1);
}

#[tokio::test]
async fn the_next_backup_stores_again_what_a_repair_found_to_be_lost() {
    for encrypted in [true, false] {
        let sample = Sample::with_backup(encrypted).await;
        let lost = sample.id_of(ROWS[1]);
        sample.rot(&lost);
        // An index still names the chunk: a backup stores it not again.
        assert_eq!(sample.back_up(10, &ROWS).await.packs, 0);
        let dry = RepairOptions { dry_run: true, ..RepairOptions::default() };
        let before = sample.objects();
        let told = sample.repair_packs(&dry).await;
        assert_eq!(sample.objects(), before, "a dry run changes nothing");
        let report = sample.repair_packs(&RepairOptions::default()).await;
        assert_eq!(report, told);
        assert_eq!(report.lost, [lost]);
        assert_eq!((report.damaged[0].good, &report.damaged[0].bad), (2, &vec![lost]));
        let harmed: Vec<_> =
            report.harmed.iter().map(|one| (one.backup.0[0], one.chunks, one.streams)).collect();
        assert_eq!(harmed, [(9, 1, 1), (10, 1, 1)]);
        sample.assert_reads(&ROWS[..1]).await;
        assert_eq!(sample.back_up(11, &ROWS).await.packs, 1);
        // Chunks are named by what they hold, so the older backups are whole again too.
        sample.assert_reads(&ROWS).await;
        assert_eq!(sample.repair_packs(&RepairOptions::default()).await, RepairReport::default());
    }
}

#[tokio::test]
async fn good_frames_behind_a_damaged_header_are_saved_without_footer_and_index() {
    let sample = Sample::with_backup(true).await;
    sample.indexes().iter().for_each(|name| sample.remove(name));
    let (name, bytes) = sample.packs().remove(0);
    let mut changed = bytes.to_vec();
    let last = changed.len() - 1;
    changed[last] ^= 1;
    // The header of the first frame: nobody knows how long it is.
    changed[64 + 9] ^= 1;
    sample.replace(name, changed);
    let report = sample.repair_packs(&RepairOptions::default()).await;
    assert_eq!((report.damaged[0].good, report.lost.len()), (2, 1));
    sample.assert_reads(&ROWS[1..]).await;
}

#[tokio::test]
async fn every_flipped_bit_of_a_pack_is_mended_by_repair_and_backup() {
    let sample = Sample::with_backup(true).await;
    let whole = sample.objects();
    let (name, bytes) = sample.packs().remove(0);
    for at in 0..bytes.len() {
        let mut changed = bytes.to_vec();
        changed[at] ^= 1 << (at % 8);
        sample.replace(name, changed);
        let report = sample.repair_packs(&RepairOptions::default()).await;
        // A pack of another repository is not touched, nor one of another format.
        if report.damaged.is_empty() {
            assert_eq!(report.warnings.len(), 1, "byte {at}: {report:?}");
        } else {
            sample.back_up(10, &ROWS).await;
            sample.assert_reads(&ROWS).await;
            assert_eq!(
                sample.repair_packs(&RepairOptions::default()).await,
                RepairReport::default(),
                "byte {at}"
            );
        }
        sample.store.tamper(|objects| *objects = whole.iter().cloned().collect());
    }
}

#[tokio::test]
async fn a_lost_key_is_named_with_its_backups_and_its_chunks_are_stored_again_if_asked() {
    let sample = Sample::with_backup(true).await;
    let repository = sample.open().await.unwrap();
    let key = repository.find("latest").await.unwrap().clear.keys[0];
    let objects = sample.objects();
    let of_key = |name: &ObjectName| matches!(name, ObjectName::Key(name) if name.id == key);
    objects.iter().filter(|(name, _)| of_key(name)).for_each(|(name, _)| sample.remove(name));
    let report = sample.repair_packs(&RepairOptions::default()).await;
    let lost = LostKey { key, backups: vec![BackupId([9; 16])], segments: 0 };
    assert_eq!((report.damaged.len(), report.lost_keys), (0, vec![lost]));
    let options = RepairOptions { lost_keys: true, ..RepairOptions::default() };
    let report = sample.repair_packs(&options).await;
    assert_eq!(report.damaged.len(), 1);
    sample.back_up(10, &ROWS).await;
    sample.assert_reads(&ROWS).await;
}

#[tokio::test]
async fn nothing_is_repaired_without_a_writer_credential() {
    let sample = Sample::with_backup(true).await;
    let reader = Access { writer: None, ..sample.access.clone() };
    let repository = Repository::open(Arc::new(sample.store.clone()), reader).await.unwrap();
    let (progress, (_keep, interrupt)) = (silent(), interrupt());
    let options = RepairOptions::default();
    let refused = index(&repository, &options, &progress, interrupt.clone()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::WrongKey);
    let refused = packs(&repository, &options, &progress, interrupt).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::WrongKey);
}
