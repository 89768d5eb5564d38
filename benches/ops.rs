//! Time of every operation's benchmark cases on the device; throughput is in useful flops (`Gelem/s` reads as GFLOP/s).
//!
//! `tools/with-adapter cargo bench --bench ops -- conv3d`

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::sync::Arc;
use vnet_engine::exec::Executor;
use vnet_engine::gpu::{Gpu, GpuOptions};
use vnet_engine::graph::Graph;
use vnet_engine::kernel::{Algorithms, Tuning};
use vnet_engine::ops::cases;
use vnet_engine::plan::{Request, plan};

fn operations(criterion: &mut Criterion) {
    let gpu = Arc::new(Gpu::open(&GpuOptions::default()).expect("an adapter"));
    eprintln!("device: {}, {}", gpu.description().name, gpu.description().driver);
    let mut group = criterion.benchmark_group("ops");
    group.sample_size(10);
    for case in cases().into_iter().filter(|c| c.benchmark_only) {
        let specs: Vec<_> = case.inputs.iter().map(|(spec, _)| spec).collect();
        group.throughput(Throughput::Elements(case.op.flops(&specs).max(1)));
        let inputs = case.draw(1);
        let mut graph = Graph::new();
        let values: Vec<_> = inputs.iter().map(|t| graph.input("input", t.spec.clone())).collect();
        let outputs = graph.append_shared(case.op, &values).expect("a case is well-formed");
        let with = |algorithms| gpu.target().with_algorithms(algorithms);
        let mut choices = match case.winograd {
            Some(_) => vec![("/direct", with(Algorithms::Direct)), ("/winograd", with(Algorithms::Winograd))],
            None => vec![("", with(Algorithms::Auto))],
        };
        if case.winograd.is_none() && gpu.target().pairs() {
            let tuning = Tuning { pairs: false, ..gpu.target().tuning };
            choices.push(("/one float at a time", gpu.target().with_tuning(tuning)));
        }
        for (suffix, target) in choices {
            let mut executor = None;
            group.bench_function(format!("{}{suffix}", case.name), |bencher| {
                // Built here, so that only what a filter selects is compiled.
                let executor = executor.get_or_insert_with(|| {
                    let plan = plan(&Request::inference(&graph, &outputs), &target).expect("the case fits");
                    let executor = Executor::new(Arc::clone(&gpu), plan).expect("the device takes it");
                    values.iter().zip(&inputs).for_each(|(&v, t)| executor.write(v, &t.to_device_bytes()));
                    executor
                });
                bencher.iter(|| {
                    executor.run(0).expect("the device runs");
                    gpu.wait().expect("the device answers");
                });
            });
        }
    }
    group.finish();
}

criterion_group!(benches, operations);
criterion_main!(benches);
