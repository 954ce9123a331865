//! A small repository, without a server, and everything that can happen to its bytes.

use super::{VerifyOptions, VerifyReport, run};
use crate::progress::{Progress, Silent, interrupt};
use crate::repository::sample::{ROWS, Sample};
use crate::repository::{Access, LostSpan, RowSpan};
use crate::{ErrorKind, Result};
use pgkeep_format::id::BackupId;
use pgkeep_format::name::ObjectName;
use std::sync::Arc;

impl Sample {
    async fn verify(&self) -> Result<VerifyReport> {
        self.verify_with(&VerifyOptions::default()).await
    }

    async fn verify_with(&self, options: &VerifyOptions) -> Result<VerifyReport> {
        let progress: Arc<dyn Progress> = Arc::new(Silent);
        let (_keep, interrupt) = interrupt();
        run(&self.open().await?, options, &progress, interrupt).await
    }

    /// What is wrong, as texts; an error is one of them.
    async fn problems(&self) -> Vec<String> {
        match self.verify().await {
            Ok(report) => report.problems.into_iter().map(|problem| problem.message).collect(),
            Err(error) => vec![format!("{error:?}")],
        }
    }
}

#[tokio::test]
async fn a_good_repository_has_no_problems_with_and_without_encryption() {
    for encrypted in [true, false] {
        let small = Sample::with_backup(encrypted).await;
        let report = small.verify().await.unwrap();
        assert_eq!(report.problems, []);
        assert_eq!((report.backups, report.chunks), (1, 3));
    }
}

async fn every_flipped_bit_is_found(encrypted: bool) {
    let small = Sample::with_backup(encrypted).await;
    for (name, bytes) in small.objects() {
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut changed = bytes.to_vec();
                changed[at] ^= 1 << bit;
                small.replace(name, changed);
                assert!(!small.problems().await.is_empty(), "{name}: byte {at} bit {bit}");
            }
        }
        small.replace(name, bytes);
    }
    assert_eq!(small.problems().await, Vec::<String>::new());
}

#[tokio::test]
async fn every_flipped_bit_of_an_encrypted_repository_is_found() {
    every_flipped_bit_is_found(true).await;
}

#[tokio::test]
async fn every_flipped_bit_of_a_plain_repository_is_found() {
    every_flipped_bit_is_found(false).await;
}

#[tokio::test]
async fn an_object_that_is_cut_off_lengthened_or_gone_is_found() {
    let small = Sample::with_backup(true).await;
    for (name, bytes) in small.objects() {
        for len in 0..bytes.len() {
            small.replace(name, bytes.slice(..len));
            assert!(!small.problems().await.is_empty(), "{name} cut to {len}");
        }
        small.replace(name, [&bytes[..], b"x"].concat());
        assert!(!small.problems().await.is_empty(), "{name} lengthened");
        small.store.tamper(|objects| objects.remove(&name));
        // Without its manifest a backup is not there, and without an index it is found all
        // the same: neither can be told from a repository that never had them.
        if !matches!(name, ObjectName::Backup(_) | ObjectName::Index(_)) {
            assert!(!small.problems().await.is_empty(), "{name} gone");
        }
        small.replace(name, bytes);
    }
}

#[tokio::test]
async fn a_pack_or_manifest_of_another_repository_is_refused() {
    let (small, other) = (Sample::with_backup(true).await, Sample::with_backup(true).await);
    let of = |small: &Sample, wanted: fn(&ObjectName) -> bool| {
        small.objects().into_iter().find(|(name, _)| wanted(name)).unwrap()
    };
    let wanted: [fn(&ObjectName) -> bool; 3] = [
        |name| matches!(name, ObjectName::Pack(_)),
        |name| matches!(name, ObjectName::Backup(_)),
        |name| matches!(name, ObjectName::Index(_)),
    ];
    for wanted in wanted {
        let (name, own) = of(&small, wanted);
        let (foreign_name, foreign) = of(&other, wanted);
        small.replace(name, foreign.clone());
        assert!(!small.problems().await.is_empty(), "{name} replaced");
        small.replace(name, own);
        if foreign_name != name {
            small.replace(foreign_name, foreign);
            assert!(!small.problems().await.is_empty(), "{foreign_name} added");
            small.store.tamper(|objects| objects.remove(&foreign_name));
        }
    }
}

#[tokio::test]
async fn keys_of_another_repository_open_nothing() {
    let (mut small, other) = (Sample::with_backup(true).await, Sample::with_backup(true).await);
    small.access = other.access.clone();
    assert_eq!(small.open().await.unwrap_err().kind(), ErrorKind::WrongKey);
    // The right repository's name on the wrong age key.
    let mut identity = other.access.identity.clone().unwrap();
    let small = Sample::with_backup(true).await;
    let own = small.access.identity.clone().unwrap();
    (identity.repository, identity.owner) = (own.repository, own.owner);
    let small = Sample { access: Access { identity: Some(identity), writer: None }, ..small };
    assert_eq!(small.open().await.unwrap_err().kind(), ErrorKind::WrongKey);
}

#[tokio::test]
async fn without_the_identity_checksums_are_compared_and_nothing_is_read() {
    let small = Sample::with_backup(true).await;
    let small = Sample { access: Access { identity: None, ..small.access }, ..small };
    let report = small.verify().await.unwrap();
    assert_eq!((report.problems, report.unsealed), (vec![], false));
    let repository = small.open().await.unwrap();
    let backup = repository.find("latest").await.unwrap();
    assert_eq!(backup.sealed, None);
    let (name, bytes) =
        small.objects().into_iter().find(|(name, _)| matches!(name, ObjectName::Pack(_))).unwrap();
    let mut changed = bytes.to_vec();
    changed[200] ^= 1;
    small.replace(name, changed);
    assert!(!small.problems().await.is_empty());
}

#[tokio::test]
async fn a_lost_chunk_is_told_with_the_backup_and_table_that_miss_it() {
    let small = Sample::with_backup(true).await;
    small.rot(&small.id_of(ROWS[1]));
    let report = small.verify().await.unwrap();
    let harmed = report.problems.iter().find(|problem| problem.backup == Some(BackupId([9; 16])));
    assert_eq!(harmed.and_then(|problem| problem.table.as_deref()), Some("public.numbers"));
}

#[tokio::test]
async fn damage_is_told_with_the_rows_that_it_takes() {
    let rows: Vec<Vec<u8>> =
        (0..40).map(|n| format!("{n}\ta\n{n}\tb\n{n}\tc\n").into_bytes()).collect();
    let sample = Sample::new(true).await;
    sample.back_up(9, &rows.iter().map(Vec::as_slice).collect::<Vec<_>>()).await;
    sample.rot(&sample.id_of(&rows[20]));
    sample.rot(&sample.id_of(&rows[21]));
    let report = sample.verify().await.unwrap();
    let lost: Vec<_> = report.problems.iter().filter_map(|problem| problem.lost).collect();
    let rows = Some(RowSpan { first: 61, last: 66, exact: true });
    assert_eq!(lost, [LostSpan { first_chunk: 21, last_chunk: 22, chunks: 40, rows }]);
    let harmed = report.problems.iter().find(|problem| problem.lost.is_some()).unwrap();
    assert_eq!(harmed.database.as_deref(), Some("test"));
    assert_eq!(harmed.table.as_deref(), Some("public.numbers"));
    assert_eq!(report.problems.len(), 2, "the pack and what it harms: {:?}", report.problems);
}

#[tokio::test]
async fn a_share_of_the_packs_is_read_and_the_rest_looked_up() {
    let sample = Sample::new(true).await;
    for id in 1..=10 {
        // Of other lengths, so that no two have the same entries.
        sample.back_up(id, &[format!("{id}\t{}\n", "x".repeat(id.into())).as_bytes()]).await;
    }
    for _ in 0..40 {
        let options = VerifyOptions { read_percent: Some(25), ..VerifyOptions::default() };
        let report = sample.verify_with(&options).await.unwrap();
        assert_eq!(report.problems, []);
        let packs = report.packs.unwrap();
        assert_eq!((packs.read, packs.all, packs.out_of_time), (3, 10, false));
        // One of ten backups has its rows and its entries in each pack.
        assert_eq!((report.chunks, report.looked_up, report.backups), (6, 14, 10));
    }
    let none = VerifyOptions { read_percent: Some(0), ..VerifyOptions::default() };
    let report = sample.verify_with(&none).await.unwrap();
    assert_eq!((report.chunks, report.looked_up), (0, 20));
    // What is gone is found without reading a pack.
    sample.remove(&sample.packs()[0].0);
    assert!(!sample.verify_with(&none).await.unwrap().problems.is_empty());
    assert_eq!(sample.problems_of_harm(&none).await, 1);
}

impl Sample {
    /// How many backups are harmed.
    async fn problems_of_harm(&self, options: &VerifyOptions) -> usize {
        let problems = self.verify_with(options).await.unwrap().problems;
        let harmed = problems.iter().filter_map(|problem| problem.backup);
        harmed.collect::<std::collections::HashSet<_>>().len()
    }
}

#[tokio::test]
async fn a_damaged_pack_is_found_in_time_by_reading_a_share_each_day() {
    let sample = Sample::new(true).await;
    for id in 1..=10 {
        sample.back_up(id, &[format!("{id}\tx\n").as_bytes()]).await;
    }
    sample.rot(&sample.id_of(b"4\tx\n"));
    let options = VerifyOptions { read_percent: Some(20), ..VerifyOptions::default() };
    for _ in 0..1000 {
        if sample.problems_of_harm(&options).await > 0 {
            return;
        }
    }
    panic!("the damaged pack was never among those that were read");
}

#[tokio::test]
async fn no_pack_is_begun_when_the_time_is_over() {
    let sample = Sample::with_backup(true).await;
    let options =
        VerifyOptions { budget: Some(std::time::Duration::ZERO), ..VerifyOptions::default() };
    let packs = sample.verify_with(&options).await.unwrap().packs.unwrap();
    assert_eq!((packs.read, packs.all, packs.out_of_time), (0, 1, true));
}

#[tokio::test]
async fn keyless_opens_no_chunk_and_still_finds_rot_and_names_the_table() {
    let sample = Sample::with_backup(true).await;
    let options = VerifyOptions { keyless: true, ..VerifyOptions::default() };
    let report = sample.verify_with(&options).await.unwrap();
    assert_eq!((report.problems, report.unsealed), (vec![], false));
    sample.rot(&sample.id_of(ROWS[1]));
    let report = sample.verify_with(&options).await.unwrap();
    let harmed = report.problems.iter().find(|problem| problem.lost.is_some()).unwrap();
    assert_eq!(harmed.table.as_deref(), Some("public.numbers"));
}

#[tokio::test]
async fn a_damaged_key_object_is_no_loss_while_another_has_the_key() {
    let sample = Sample::with_backup(true).await;
    let repository = sample.open().await.unwrap();
    let backup = repository.find("latest").await.unwrap();
    let of_data = |name: &ObjectName| matches!(name, ObjectName::Key(key) if backup.clear.keys.contains(&key.id));
    let (name, bytes) = sample.objects().into_iter().find(|(name, _)| of_data(name)).unwrap();
    let ObjectName::Key(key) = name else { panic!("not a key") };
    let damaged =
        ObjectName::Key(pgkeep_format::name::KeyName { checksum: key.checksum ^ 1, ..key });
    sample.replace(damaged, bytes);
    let report = sample.verify().await.unwrap();
    assert_eq!(report.problems.len(), 1, "{:?}", report.problems);
    assert!(report.problems[0].message.contains("nothing is lost"), "{:?}", report.problems);
    assert_eq!(report.problems[0].backup, None);
    // Without the good one it is a loss, and the backup is named.
    sample.remove(&name);
    let report = sample.verify().await.unwrap();
    assert!(report.problems.iter().any(|problem| problem.message.contains("is lost")));
    assert!(report.problems.iter().any(|problem| problem.backup == Some(BackupId([9; 16]))));
    // Nor does it need the identity to be told.
    let sample = Sample { access: Access { identity: None, ..sample.access }, ..sample };
    let problems = sample.verify().await.unwrap().problems;
    let of_backup = |problem: &&super::Problem| problem.backup == Some(BackupId([9; 16]));
    let harmed = problems.iter().find(of_backup).unwrap();
    assert!(harmed.message.contains("is lost"), "{problems:?}");
}
