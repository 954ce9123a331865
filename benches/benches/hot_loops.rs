//! The loops that every row passes through, in bytes of rows a second:
//! `cargo bench -p pgkeep-benches`.

use criterion::{Criterion, Throughput, criterion_main};
use pgkeep_engine::seal::{Cutter, DataKey, Sealer, Secrets, chunk_id, open};
use pgkeep_format::frame::{FrameHeader, FrameType, HEADER_LEN};
use pgkeep_format::id::KeyId;
use std::hint::black_box;

/// Rows as COPY writes them, about 4 MiB.
fn rows() -> Vec<Vec<u8>> {
    (0..40_000u64)
        .map(|n| {
            let price = n * 7919 % 100_000;
            format!("{n}\t{}\t{price}.{:02}\t1996-03-{:02}\tDELIVER IN PERSON\tcarefully final packages {n}\n", n / 4, n % 100, n % 28 + 1)
                .into_bytes()
        })
        .collect()
}

fn hot_loops(criterion: &mut Criterion) {
    let secrets = Secrets { naming: [1; 32], cut: [2; 32] };
    let rows = rows();
    let plain = rows.concat();
    let mebibyte = &plain[..1 << 20];
    let sealer = Sealer::new(Some(DataKey { id: KeyId([4; 16]), key: [3; 32] }));
    let key = DataKey { id: KeyId([4; 16]), key: [3; 32] };
    let id = chunk_id(&secrets, FrameType::Rows, 0, mebibyte);
    let seal = || sealer.seal(FrameType::Rows, id, false, mebibyte).expect("a chunk seals");

    let mut group = criterion.benchmark_group("rows");
    group.throughput(Throughput::Bytes(plain.len() as u64));
    group.bench_function("cut", |bencher| {
        bencher.iter(|| {
            let mut cutter = Cutter::new(&secrets);
            rows.iter().for_each(|row| cutter.push(row, true, |chunk| drop(black_box(chunk))));
            black_box(cutter.finish())
        });
    });
    group.finish();

    let mut group = criterion.benchmark_group("chunk");
    group.throughput(Throughput::Bytes(mebibyte.len() as u64));
    group.bench_function("name", |bencher| {
        bencher.iter(|| chunk_id(&secrets, FrameType::Rows, 0, black_box(mebibyte)));
    });
    group.bench_function("compress and seal", |bencher| bencher.iter(|| black_box(seal())));
    let frame = seal();
    let header = FrameHeader::decode(&frame).expect("a frame decodes");
    group.bench_function("open", |bencher| {
        bencher.iter(|| {
            open(&header, &frame[HEADER_LEN..], Some(&key), Some(&secrets)).expect("a frame opens")
        });
    });
    group.finish();
}

#[allow(missing_docs, reason = "criterion writes this function")]
mod groups {
    criterion::criterion_group!(hot_loops, super::hot_loops);
}

criterion_main!(groups::hot_loops);
