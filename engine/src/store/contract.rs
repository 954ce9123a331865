//! What every store promises, tried on each of them.

use super::{LocalStore, MemoryStore, Store, get, put};
use crate::ErrorKind;
use bytes::Bytes;
use pgkeep_format::id::{BackupId, KeyId, ObjectId, PackId, SeriesId};
use pgkeep_format::name::{
    BACKUPS, CHANGES, CONFIGS, INDEXES, KEYS, KeyName, LeaseName, ObjectName, PACKS, PRUNES,
    STREAMS, SegmentName, VOUCHERS, WRITERS, Work,
};

const INDEX: ObjectName = ObjectName::Index(ObjectId([7; 16]));
const PACK: ObjectName = ObjectName::Pack(PackId([8; 16]));

/// `refuses` says whether the store knows that a name is taken.
async fn keeps_its_promises(store: &dyn Store, refuses: bool) {
    assert_eq!(store.len(&PACK).await.unwrap(), None);
    assert_eq!(store.list(PACKS).await.unwrap(), []);
    assert_eq!(get(store, &PACK, 10).await.unwrap_err().kind(), ErrorKind::NotFound);

    put(store, &PACK, Bytes::from_static(b"hello")).await.unwrap();
    assert_eq!(store.len(&PACK).await.unwrap(), Some(5));
    assert_eq!(store.read(&PACK, 1..3).await.unwrap(), "el");
    assert_eq!(store.read(&PACK, 5..5).await.unwrap(), "");
    assert_eq!(store.read(&PACK, 3..6).await.unwrap_err().kind(), ErrorKind::Damaged);
    assert_eq!(get(store, &PACK, 4).await.unwrap_err().kind(), ErrorKind::Damaged);

    if refuses {
        let again = put(store, &PACK, Bytes::from_static(b"other")).await.unwrap_err();
        assert_eq!(again.kind(), ErrorKind::AlreadyExists);
    } else {
        // As a try is repeated whose answer was lost.
        put(store, &PACK, Bytes::from_static(b"hello")).await.unwrap();
    }
    assert_eq!(get(store, &PACK, 10).await.unwrap(), "hello");

    let mut dropped = store.create(&INDEX).await.unwrap();
    dropped.write(Bytes::from_static(b"half")).await.unwrap();
    assert_eq!(store.len(&INDEX).await.unwrap(), None, "an unfinished object is not there");
    drop(dropped);
    assert_eq!(store.len(&INDEX).await.unwrap(), None);
    assert_eq!(store.list(INDEXES).await.unwrap(), []);

    put(store, &INDEX, Bytes::new()).await.unwrap();
    let packs = store.list(PACKS).await.unwrap();
    assert_eq!(
        packs.iter().map(|object| (object.name, object.len)).collect::<Vec<_>>(),
        [(PACK, 5)]
    );
    assert_eq!(store.list("").await.unwrap().len(), 2);

    // One of each kind, each found by its folder and among all.
    let id = ObjectId([9; 16]);
    let segment = SegmentName { stream: SeriesId([1; 16]), first: 1, last: 2, id };
    let key = KeyName { id: KeyId([2; 16]), checksum: 3, wrapped: true };
    let others = [
        (CONFIGS, ObjectName::Config(1)),
        (KEYS, ObjectName::Key(key)),
        (BACKUPS, ObjectName::Backup(BackupId([3; 16]))),
        (CHANGES, ObjectName::ChangePack(PackId([4; 16]))),
        (STREAMS, ObjectName::Segment(segment)),
        (WRITERS, ObjectName::Lease(LeaseName { work: Work::Chunks, id, beat: 1 })),
        (PRUNES, ObjectName::PruneList(id)),
        (VOUCHERS, ObjectName::Voucher(ObjectId([5; 16]))),
    ];
    for (folder, name) in others {
        put(store, &name, Bytes::from_static(b"x")).await.unwrap();
        let listed = store.list(folder).await.unwrap();
        assert_eq!(listed.iter().map(|object| object.name).collect::<Vec<_>>(), [name]);
    }
    let all = store.list("").await.unwrap();
    for name in [PACK, INDEX].iter().chain(others.iter().map(|(_, name)| name)) {
        assert!(all.iter().any(|object| object.name == *name), "{name} is not among all");
    }

    store.delete(&PACK).await.unwrap();
    store.delete(&PACK).await.unwrap();
    assert_eq!(store.len(&PACK).await.unwrap(), None);
    assert_eq!(store.list(PACKS).await.unwrap(), []);
    assert_eq!(store.list("").await.unwrap().len(), all.len() - 1, "nothing else is gone");
}

#[tokio::test]
async fn memory_keeps_the_promises_of_a_store() {
    keeps_its_promises(&MemoryStore::default(), true).await;
}

#[tokio::test]
async fn a_directory_keeps_the_promises_of_a_store() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("repository");
    keeps_its_promises(&LocalStore::create(&path).unwrap(), true).await;
    assert_eq!(std::fs::read_dir(path.join("tmp")).unwrap().count(), 0, "no garbage is left");
}

#[cfg(feature = "s3")]
#[tokio::test]
async fn a_bucket_keeps_the_promises_of_a_store() {
    let bucket = pgkeep_tests::Bucket::start();
    keeps_its_promises(&super::S3Store::of_tests(&bucket.access(), "contract").await, false).await;
}

#[cfg(feature = "s3")]
#[tokio::test]
async fn a_cluster_keeps_the_promises_of_a_store_with_all_nodes_and_with_one_gone() {
    let mut garage = pgkeep_tests::Garage::start();
    let access = garage.access(0);
    keeps_its_promises(&super::S3Store::of_tests(&access, "whole").await, false).await;
    let store = super::S3Store::of_tests(&access, "gone").await;
    let kept = ObjectName::Pack(PackId([6; 16]));
    put(&store, &kept, Bytes::from_static(b"before")).await.unwrap();
    garage.kill(1);
    assert_eq!(get(&store, &kept, 10).await.unwrap(), "before");
    store.delete(&kept).await.unwrap();
    keeps_its_promises(&store, false).await;
    // What a node missed it does not bring back, though it and the others may list it for a while.
    garage.restart(1);
    let by_node = super::S3Store::of_tests(&garage.access(1), "gone").await;
    assert_eq!(by_node.len(&kept).await.unwrap(), None);
    assert_eq!(get(&by_node, &kept, 10).await.unwrap_err().kind(), ErrorKind::NotFound);
    let mut lists = [by_node.list("").await.unwrap(), store.list("").await.unwrap()];
    lists.iter_mut().for_each(|list| list.retain(|object| object.name != kept));
    assert_eq!(lists[0], lists[1]);
    keeps_its_promises(&super::S3Store::of_tests(&garage.access(1), "again").await, false).await;
}

#[test]
fn a_directory_that_is_no_repository_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let missing = LocalStore::open(directory.path().join("missing")).unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NoRepository);
    assert_eq!(LocalStore::open(directory.path()).unwrap_err().kind(), ErrorKind::NoRepository);
    std::fs::write(directory.path().join("file"), "x").unwrap();
    assert_eq!(LocalStore::create(directory.path()).unwrap_err().kind(), ErrorKind::AlreadyExists);
}
