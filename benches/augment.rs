//! Time to augment a sample of 128 x 128 x 64 voxels with every transformation, by the number of its channels; throughput is in
//! elements of the image.
//!
//! `tools/with-adapter cargo bench --bench augment`

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::sync::Arc;
use vnet_engine::augment::cases::{always, image, labels, sample};
use vnet_engine::augment::{Augmenter, Extents};
use vnet_engine::exec::Executor;
use vnet_engine::gpu::{Gpu, GpuOptions};
use vnet_engine::graph::Graph;
use vnet_engine::plan::{Request, plan};

/// Extents `[D, H, W]` of the sample.
const PATCH: [usize; 3] = [64, 128, 128];

fn channels(criterion: &mut Criterion) {
    let gpu = Arc::new(Gpu::open(&GpuOptions::default()).expect("an adapter"));
    eprintln!("device: {}, {}", gpu.description().name, gpu.description().driver);
    let mut group = criterion.benchmark_group("augment");
    group.sample_size(10);
    for channels in [1, 2, 4] {
        let mut graph = Graph::new();
        let extents = Extents { source: PATCH, patch: PATCH };
        let augmenter = Augmenter::append(&mut graph, &always(), 3, 1, channels, extents).expect("well-formed");
        let outputs = [augmenter.augmented_image, augmenter.augmented_labels];
        let plan = plan(&Request::inference(&graph, &outputs), gpu.target()).expect("the sample fits");
        let executor = Executor::new(Arc::clone(&gpu), plan).expect("the device takes it");
        executor.write(augmenter.image, &image(1, PATCH, channels, 1).to_device_bytes());
        executor.write(augmenter.labels, &labels(1, PATCH, &[0, 1, 2], 1).to_device_bytes());
        for (value, numbers) in augmenter.feeds(&[sample(1, channels)]) {
            executor.write(value, bytemuck::cast_slice(&numbers));
        }
        group.throughput(Throughput::Elements((channels * PATCH.iter().product::<usize>()) as u64));
        group.bench_function(format!("{channels} channels"), |bencher| {
            bencher.iter(|| {
                executor.run(0).expect("the device runs");
                gpu.wait().expect("the device answers");
            });
        });
    }
    group.finish();
}

criterion_group!(benches, channels);
criterion_main!(benches);
