//! A small repository, without a server, and everything that can happen to its bytes.

use super::{VerifyOptions, VerifyReport, run};
use crate::progress::{Progress, Silent, interrupt};
use crate::repository::sample::{ROWS, Sample};
use crate::repository::Access;
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
