use super::*;
use crate::repository::sample::{ROWS, Sample};
use crate::repository::{NewFrame, Packer, WholeRows};
use pgkeep_format::entry::RowEncoding;
use pgkeep_format::left_out::LeftOut;

/// Puts a chunk into a pack of its own, as a second writer does that stored it at the same time.
async fn store_again(sample: &Sample, chunk: &ChunkId) {
    let repository = sample.open().await.unwrap();
    let reader = ChunkReader::open(&repository).await.unwrap();
    let (location, _, frame) = reader.frame(chunk).await.unwrap();
    let mut packer = Packer::new(&repository, 1 << 20);
    let frame_type = location.frame_type;
    packer.add(NewFrame { chunk: *chunk, frame_type, bytes: frame.to_vec() }).await.unwrap();
    packer.finish().await.unwrap();
}

async fn reader(sample: &Sample) -> ChunkReader {
    ChunkReader::open(&sample.open().await.unwrap()).await.unwrap()
}

#[tokio::test]
async fn a_damaged_copy_is_no_loss_while_another_is_good() {
    let sample = Sample::with_backup(true).await;
    let chunk = sample.id_of(ROWS[0]);
    store_again(&sample, &chunk).await;
    let packs: Vec<_> = reader(&sample).await.index().copies(&chunk).collect();
    assert_eq!(packs.len(), 2);
    for damaged in packs {
        let name = ObjectName::Pack(damaged.pack);
        let bytes = sample.store.tamper(|objects| objects.get(&name).cloned()).unwrap();
        let reader = reader(&sample).await;
        let mut changed = bytes.to_vec();
        changed[usize::try_from(damaged.offset).unwrap() + HEADER_LEN + 3] ^= 1;
        sample.replace(name, changed);
        assert_eq!(reader.read(&chunk, FrameType::Rows).await.unwrap().plain, ROWS[0]);
        sample.remove(&name);
        assert_eq!(reader.read(&chunk, FrameType::Rows).await.unwrap().plain, ROWS[0]);
        sample.replace(name, bytes);
    }
}

#[tokio::test]
async fn a_chunk_that_a_prune_moved_meanwhile_is_found() {
    let sample = Sample::with_backup(true).await;
    let chunk = sample.id_of(ROWS[0]);
    let reader = reader(&sample).await;
    let old = sample.packs();
    store_again(&sample, &chunk).await;
    old.iter().for_each(|(name, _)| sample.remove(name));
    assert_eq!(reader.read(&chunk, FrameType::Rows).await.unwrap().plain, ROWS[0]);
    assert_eq!(reader.known().renewals, 1);
    // The other one is lost: the fresh index tells so without being read again.
    let lost = reader.read(&sample.id_of(ROWS[1]), FrameType::Rows).await.unwrap_err();
    assert_eq!(lost.kind(), ErrorKind::Damaged);
    assert_eq!(reader.known().renewals, 1);
}

#[tokio::test]
async fn lost_chunks_cost_one_look_at_the_index_and_not_one_each() {
    let rows: Vec<Vec<u8>> = (0..100).map(|n| format!("{n}\tx\n").into_bytes()).collect();
    let sample = Sample::new(true).await;
    sample.back_up(1, &rows.iter().map(Vec::as_slice).collect::<Vec<_>>()).await;
    let reader = reader(&sample).await;
    sample.packs().iter().for_each(|(name, _)| sample.remove(name));
    for rows in &rows {
        let error = reader.read(&sample.id_of(rows), FrameType::Rows).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Damaged);
    }
    assert_eq!(reader.known().renewals, 1);
}

#[tokio::test]
async fn a_chunk_whose_pack_is_gone_is_stored_again_although_an_index_names_it() {
    let sample = Sample::with_backup(true).await;
    sample.packs().iter().for_each(|(name, _)| sample.remove(name));
    let packed = sample.back_up(10, &ROWS).await;
    assert_eq!(packed.packs, 1);
    let reader = reader(&sample).await;
    for rows in ROWS {
        assert_eq!(reader.read(&sample.id_of(rows), FrameType::Rows).await.unwrap().plain, rows);
    }
}

#[tokio::test]
async fn a_lost_list_takes_its_own_chunks_and_no_others() {
    let rows: Vec<Vec<u8>> = (0..40).map(|n| format!("{n}\tx\n").into_bytes()).collect();
    let sample = Sample::new(true).await;
    sample.back_up(1, &rows.iter().map(Vec::as_slice).collect::<Vec<_>>()).await;
    let backup = sample.open().await.unwrap().find("latest").await.unwrap();
    let stream = backup.stream(0).unwrap();
    // Of three lists, of sixteen chunks each but the last.
    assert_eq!(stream.lists.len(), 3);
    sample.rot(&stream.lists[1]);
    let reader = reader(&sample).await;
    assert_eq!(reader.references(stream).await.unwrap_err().kind(), ErrorKind::Damaged);
    let left = reader.references_left(stream).await.unwrap();
    assert_eq!(left.len(), 16 + 1 + 8);
    assert!(left[16].row_continues && reader.read(&left[16].id, FrameType::Rows).await.is_err());
    assert_eq!(left[17].id, sample.id_of(&rows[32]));
}

#[tokio::test]
async fn a_lost_list_takes_nothing_of_a_chunk_behind_it_that_leaves_rows_out() {
    let sample = Sample::with_backup(true).await;
    let [first, last] = ROWS.map(|rows| ChunkReference::whole(sample.id_of(rows)));
    let left_out = LeftOut::of([true, false]).map(Box::new);
    let leaves_out = ChunkReference { left_out, ..first };
    let mut stream = sample.store_lists(&[vec![last], vec![leaves_out.clone()]]).await;
    stream.lists.insert(1, ChunkId([7; 32]));
    stream.chunks += 1;
    let reader = reader(&sample).await;
    assert_eq!(reader.references(&stream).await.unwrap_err().kind(), ErrorKind::Damaged);
    let left = reader.references_left(&stream).await.unwrap();
    assert_eq!(left.len(), 3);
    assert_eq!((left[1].row_continues, &left[2]), (false, &leaves_out));
    let mut rows = WholeRows::new(&reader, &left, RowEncoding::CopyText);
    assert!(rows.take(1, None).await.unwrap().range.is_empty());
    let plain = b"2\ttwo\n";
    assert_eq!(rows.take(2, Some(plain)).await.unwrap().range, 0..plain.len());
}
