//! Time to find the place of a patch, and to cut it, in a CT-sized volume of 512 x 512 x 100 voxels with two organs.
//!
//! `cargo bench --bench sampling`

use criterion::{Criterion, criterion_group, criterion_main};
use std::hint::black_box;
use vnet_engine::data::sampling::{Foreground, crop, patch_start};

const EXTENTS: [usize; 3] = [512, 512, 100];
const PATCH: [usize; 3] = [128, 128, 64];

/// A ball of a million voxels of class 1, and one of thirty thousand of class 2.
fn labels() -> Vec<u16> {
    let [w, h, d] = EXTENTS;
    let mut labels = Vec::with_capacity(w * h * d);
    for (z, y, x) in (0..d).flat_map(|z| (0..h).flat_map(move |y| (0..w).map(move |x| (z, y, x)))) {
        let inside = |centre: [f64; 3], radius: f64| {
            let offsets = [x, y, z].map(|v| v as f64).into_iter().zip(centre);
            offsets.map(|(v, c)| (v - c).powi(2)).sum::<f64>() < radius * radius
        };
        let organ = if inside([200.0, 260.0, 50.0], 62.0) { 1 } else { 0 };
        labels.push(if inside([330.0, 240.0, 60.0], 19.3) { 2 } else { organ });
    }
    labels
}

fn patches(criterion: &mut Criterion) {
    let labels = labels();
    let mut group = criterion.benchmark_group("sampling");
    group.sample_size(10);
    let foreground = Foreground::of(&labels);
    group.bench_function("index of the foreground", |bencher| bencher.iter(|| Foreground::of(black_box(&labels))));
    let mut sample = 0;
    group.bench_function("place of a patch on foreground", |bencher| {
        bencher.iter(|| {
            sample += 1;
            patch_start(black_box(&labels), &foreground, EXTENTS, PATCH, 1.0, 7, sample)
        });
    });
    let start = patch_start(&labels, &foreground, EXTENTS, PATCH, 1.0, 7, 1).map(|s| s as i64);
    group.bench_function("cut of the labels", |bencher| {
        bencher.iter(|| crop(black_box(&labels), EXTENTS, start, PATCH, 0));
    });
}

criterion_group!(benches, patches);
criterion_main!(benches);
