//! The loops that every row passes through, in bytes of rows a second, and beside them what no
//! loop can beat (copying memory) and what none need beat (zstd alone):
//! `make bench-loops`.

use criterion::{Criterion, Throughput, criterion_main};
use pgkeep_engine::postgres::fuzzing::rows_out;
use pgkeep_engine::seal::{Cutter, DataKey, Sealer, Secrets, chunk_id, open};
use pgkeep_format::frame::{FrameHeader, FrameType, HEADER_LEN};
use pgkeep_format::id::KeyId;
use pgkeep_format::{columns, tuple_columns};
use std::hint::black_box;

/// What pgkeep compresses with.
const LEVEL: i32 = 1;

/// As much as comes of a socket at a time.
const PIECE: usize = 8192;

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

/// The same rows in binary.
fn tuples() -> Vec<Vec<u8>> {
    let field = |value: &[u8]| {
        let len = u32::try_from(value.len()).expect("a value is short");
        [&len.to_be_bytes()[..], value].concat()
    };
    (0..40_000u32)
        .map(|n| {
            let price = f64::from(n * 7919 % 10_000_000) / 100.0;
            let comment = format!("carefully final packages {n}");
            [
                6_u16.to_be_bytes().to_vec(),
                field(&n.to_be_bytes()),
                field(&(n / 4).to_be_bytes()),
                field(&price.to_be_bytes()),
                field(&(n % 28).to_be_bytes()),
                field(b"DELIVER IN PERSON"),
                field(comment.as_bytes()),
            ]
            .concat()
        })
        .collect()
}

/// Rows as a server sends them: one message each.
fn messages(rows: &[Vec<u8>]) -> Vec<u8> {
    let mut stream = Vec::new();
    for row in rows {
        let length = u32::try_from(row.len() + 4).expect("a row is short");
        stream.push(b'd');
        stream.extend(length.to_be_bytes());
        stream.extend(row);
    }
    stream.extend(b"c\0\0\0\x04");
    stream
}

fn secrets() -> Secrets {
    Secrets { naming: [1; 32], cut: [2; 32] }
}

/// About as many as one reading brings.
const ROWS_AT_ONCE: usize = 500;

fn of_rows(criterion: &mut Criterion) {
    let (secrets, rows) = (secrets(), rows());
    let stream = messages(&rows);
    let bytes: usize = rows.iter().map(Vec::len).sum();
    let mut group = criterion.benchmark_group("rows");
    group.throughput(Throughput::Bytes(bytes as u64));
    group.bench_function("split messages", |bencher| {
        bencher.iter(|| rows_out(false, black_box(&stream), PIECE).expect("COPY"));
    });
    let run = rows.concat();
    let ends: Vec<usize> = rows
        .iter()
        .scan(0, |end, row| {
            *end += row.len();
            Some(*end)
        })
        .collect();
    group.bench_function("cut", |bencher| {
        bencher.iter(|| {
            let mut cutter = Cutter::new(&secrets);
            let (mut start, mut in_buffer) = (0, Vec::new());
            for ends in ends.chunks(ROWS_AT_ONCE) {
                let end = ends.last().copied().unwrap_or(start);
                let held = cutter.buffer().len();
                cutter.buffer().extend_from_slice(black_box(&run[start..end]));
                in_buffer.clear();
                in_buffer.extend(ends.iter().map(|end| held + end - start));
                cutter.took(&in_buffer, |chunk| drop(black_box(chunk)));
                start = end;
            }
            black_box(cutter.finish())
        });
    });
    group.finish();
}

/// Whole rows, about a mebibyte.
fn mebibyte_of_rows(plain: &[u8]) -> &[u8] {
    let end = plain[..1 << 20].iter().rposition(|byte| *byte == b'\n').expect("a row ends");
    &plain[..=end]
}

fn of_chunks(criterion: &mut Criterion) {
    let (secrets, plain) = (secrets(), rows().concat());
    let mebibyte = &plain[..1 << 20];
    let key = DataKey { id: KeyId([4; 16]), key: [3; 32] };
    let sealer = Sealer::new(Some(DataKey { id: KeyId([4; 16]), key: [3; 32] }));
    let id = chunk_id(&secrets, FrameType::Rows, 0, mebibyte);
    let seal = || sealer.seal(FrameType::Rows, id, false, mebibyte).expect("a chunk seals");
    let laid = columns::lay_out(mebibyte_of_rows(&plain)).expect("rows that are alike");
    let laid_rows = mebibyte_of_rows(&plain).len();
    let frame = seal();
    let header = FrameHeader::decode(&frame).expect("a frame decodes");

    let mut group = criterion.benchmark_group("chunk");
    group.throughput(Throughput::Bytes(mebibyte.len() as u64));
    group.bench_function("name", |bencher| {
        bencher.iter(|| chunk_id(&secrets, FrameType::Rows, 0, black_box(mebibyte)));
    });
    group.bench_function("lay out by columns", |bencher| {
        bencher.iter(|| columns::lay_out(black_box(mebibyte_of_rows(&plain))));
    });
    group.bench_function("rows of columns", |bencher| {
        bencher.iter(|| columns::rows_of(black_box(&laid), laid_rows).expect("columns"));
    });
    let tuples: Vec<u8> = tuples().concat();
    let mut layer = tuple_columns::Layer::default();
    let laid_tuples = layer.lay_out(&tuples).expect("rows that are alike").to_vec();
    group.throughput(Throughput::Bytes(tuples.len() as u64));
    group.bench_function("lay out tuples by columns", |bencher| {
        bencher.iter(|| black_box(layer.lay_out(black_box(&tuples)).map(<[u8]>::len)));
    });
    group.bench_function("tuples of columns", |bencher| {
        bencher.iter(|| {
            tuple_columns::rows_of(black_box(&laid_tuples), tuples.len()).expect("columns")
        });
    });
    group.throughput(Throughput::Bytes(mebibyte.len() as u64));
    group.bench_function("compress and seal", |bencher| bencher.iter(|| black_box(seal())));
    group.bench_function("unseal and decompress", |bencher| {
        bencher.iter(|| {
            open(&header, &frame[HEADER_LEN..], Some(&key), Some(&secrets)).expect("a frame opens")
        });
    });
    group.finish();
}

fn beside(criterion: &mut Criterion) {
    let plain = rows().concat();
    let mebibyte = &plain[..1 << 20];
    let mut compressor = zstd::bulk::Compressor::new(LEVEL).expect("zstd");
    let mut decompressor = zstd::bulk::Decompressor::new().expect("zstd");
    let small = compressor.compress(mebibyte).expect("zstd");
    let mut copy = vec![0; mebibyte.len()];

    let mut group = criterion.benchmark_group("beside");
    group.throughput(Throughput::Bytes(mebibyte.len() as u64));
    group.bench_function("copy memory", |bencher| {
        bencher.iter(|| black_box(&mut copy).copy_from_slice(black_box(mebibyte)));
    });
    group.bench_function("zstd compress", |bencher| {
        bencher.iter(|| compressor.compress(black_box(mebibyte)).expect("zstd"));
    });
    group.bench_function("zstd decompress", |bencher| {
        bencher.iter(|| decompressor.decompress(black_box(&small), 1 << 20).expect("zstd"));
    });
    group.finish();
}

#[allow(missing_docs, reason = "criterion writes this function")]
mod groups {
    criterion::criterion_group!(hot_loops, super::of_rows, super::of_chunks, super::beside);
}

criterion_main!(groups::hot_loops);
