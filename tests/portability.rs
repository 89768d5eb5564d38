//! Every shader, with every specialisation that the presets use on every kind of device, translates through naga to
//! SPIR-V (Vulkan), MSL (Metal) and HLSL (DirectX 12).

mod support;

use naga::back::{PipelineConstants, hlsl, msl, spv};
use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};
use std::collections::HashSet;
use support::{as_gpu, llvmpipe};
use vnet_engine::kernel::{Algorithms, DeviceLimits, Kernel, SHADERS, Target};
use vnet_engine::registry::Choice;
use vnet_engine::train::{Preset, Trainer};

/// The kernels of the presets' training plans, of every operation's test cases, of every optimiser, and the loops of the roofline.
fn kernels() -> Vec<Kernel> {
    let limits = DeviceLimits { max_buffer_bytes: 1 << 30, ..DeviceLimits::WEBGPU };
    let webgpu = Target { limits, ..Target::webgpu() };
    let mut kernels: Vec<Kernel> = Vec::new();
    for base in [webgpu, llvmpipe(), as_gpu(&llvmpipe())] {
        for algorithms in [Algorithms::Naive, Algorithms::Direct, Algorithms::Winograd, Algorithms::Auto] {
            let target = base.with_algorithms(algorithms);
            for (preset, patch) in
                [(Preset::Tiny, [40, 56, 40]), (Preset::Small, [64, 64, 24]), (Preset::Paper, [64, 128, 128])]
            {
                for classes in [2, 3] {
                    let mut config = preset.config();
                    config.training.ema_decay = 0.99;
                    for loss in ["dice_cross_entropy", "weighted_cross_entropy"] {
                        config.training.loss = Choice::named(loss);
                        let network = config.network(1, classes);
                        let planned = Trainer::plan_for(&network, &config.trainer_settings(), patch, &target);
                        kernels.extend(planned.expect("the preset fits").1.kernels);
                    }
                }
            }
            kernels.extend(case_kernels(&target));
            kernels.extend(optimiser_kernels(&target));
            kernels
                .extend(vnet_engine::profile::roofline_cases(&target).into_iter().flat_map(|case| case.plan.kernels));
        }
    }
    let mut seen = HashSet::new();
    kernels.retain(|k| seen.insert(format!("{k:?}")));
    kernels
}

fn case_kernels(target: &Target) -> Vec<Kernel> {
    use vnet_engine::graph::Graph;
    use vnet_engine::plan::{Request, plan};
    let mut kernels = Vec::new();
    for case in vnet_engine::ops::cases() {
        let mut graph = Graph::new();
        let inputs: Vec<_> = case.inputs.iter().map(|(spec, _)| graph.input("input", spec.clone())).collect();
        let outputs = graph.append_shared(case.op, &inputs).expect("a case is well-formed");
        if let Ok(plan) = plan(&Request::inference(&graph, &outputs), target) {
            kernels.extend(plan.kernels);
        }
    }
    kernels
}

/// The kernels of every optimiser, of gradient accumulation, and of a gradient that two parameters share.
fn optimiser_kernels(target: &Target) -> Vec<Kernel> {
    use vnet_engine::graph::Graph;
    use vnet_engine::optim::{accumulate, update};
    use vnet_engine::plan::{Accumulate, Request, plan};
    use vnet_engine::tensor::{TensorSpec, layout::ParameterLayout};
    let optimisers = vnet_engine::doctor::optimisers::optimisers(None);
    let updates = optimisers.iter().map(|(_, settings)| {
        update(settings, 1000, 500, target).following(1024..1124, 0.1, target).averaged(1124, target)
    });
    let mut kernels: Vec<Kernel> = updates.flat_map(|update| update.dispatches).map(|d| d.kernel).collect();
    let mut graph = Graph::new();
    let gradient = graph.input("gradient", TensorSpec::f32([10]));
    for name in ["a", "b"] {
        graph.parameter(name, &[10], ParameterLayout::Vector, true);
    }
    for accumulate in [None, Some(accumulate as Accumulate)] {
        let request = Request { gradients: &[gradient; 2], accumulate, ..Request::inference(&graph, &[]) };
        kernels.extend(plan(&request, target).expect("two small parameters").kernels);
    }
    kernels
}

#[test]
fn every_specialisation_translates_to_spirv_msl_and_hlsl() {
    let kernels = kernels();
    for kernel in &kernels {
        let name = format!("{kernel:?}");
        let text = kernel.source().expect("a shader of the table");
        let module =
            naga::front::wgsl::parse_str(&text).unwrap_or_else(|e| panic!("{name}: {}", e.emit_to_string(&text)));
        let capabilities = Capabilities::SUBGROUP | Capabilities::SHADER_INT64;
        let checked = Validator::new(ValidationFlags::all(), capabilities).validate(&module);
        let module_info = checked.unwrap_or_else(|e| panic!("{name}: {e:?}"));
        let constants: PipelineConstants =
            kernel.constants.iter().map(|(key, value)| ((*key).to_owned(), *value)).collect();
        let entry = Some((naga::ShaderStage::Compute, kernel.shader));
        let (module, module_info) =
            naga::back::pipeline_constants::process_overrides(&module, &module_info, entry, &constants)
                .unwrap_or_else(|e| panic!("{name}: {e:?}"));
        translate(&name, kernel.shader, &module, &module_info);
    }
    let translated: HashSet<&str> = kernels.iter().map(|k| k.shader).collect();
    let unused: Vec<&str> = SHADERS.iter().map(|(n, _)| *n).filter(|n| !translated.contains(n)).collect();
    assert!(unused.is_empty(), "shaders that no plan uses: {}", unused.join(", "));
}

/// Every WGSL file below a folder: whether it is for `#import`, its name and its text.
fn files(folder: &std::path::Path) -> Vec<(bool, String, String)> {
    let entries = std::fs::read_dir(folder).expect("a folder of shaders").map(|entry| entry.expect("an entry").path());
    let read = |path: std::path::PathBuf| {
        if path.is_dir() {
            return files(&path);
        }
        let name = path.file_stem().and_then(|name| name.to_str()).expect("a shader's name").to_owned();
        vec![(folder.ends_with("common"), name, std::fs::read_to_string(path).expect("a shader"))]
    };
    entries.flat_map(read).collect()
}

#[test]
fn every_file_is_a_shader_of_the_table_or_imported_by_one() {
    let files = files(&std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("shaders"));
    let (common, shaders): (Vec<_>, Vec<_>) = files.iter().partition(|(common, ..)| *common);
    let mut shaders: Vec<(&str, &str)> = shaders.iter().map(|(_, name, text)| (name.as_str(), text.as_str())).collect();
    shaders.sort_unstable();
    assert_eq!(shaders, SHADERS, "files, and the table of shaders");
    let lines = files.iter().flat_map(|(.., text)| text.lines());
    let mut imports: HashSet<&str> = lines.filter_map(|line| line.strip_prefix("#import ")).map(str::trim).collect();
    if imports.contains("element") {
        // What it stands for where an invocation works on two channels.
        imports.insert("element_pair");
    }
    let unused: Vec<&str> = common.iter().map(|(_, name, _)| name.as_str()).filter(|n| !imports.contains(n)).collect();
    assert!(unused.is_empty(), "files that no shader imports: {}", unused.join(", "));
}

fn translate(name: &str, entry: &str, module: &naga::Module, module_info: &ModuleInfo) {
    let options = spv::PipelineOptions { shader_stage: naga::ShaderStage::Compute, entry_point: entry.to_owned() };
    let words = spv::write_vec(
        module,
        module_info,
        &spv::Options { lang_version: (1, 3), ..Default::default() },
        Some(&options),
    );
    assert!(!words.unwrap_or_else(|e| panic!("{name}: SPIR-V: {e:?}")).is_empty());

    let mut options = msl::Options { lang_version: (2, 4), fake_missing_bindings: true, ..Default::default() };
    options.zero_initialize_workgroup_memory = false;
    let text = msl::write_string(module, module_info, &options, &msl::PipelineOptions::default());
    assert!(text.unwrap_or_else(|e| panic!("{name}: MSL: {e:?}")).0.contains("kernel void"));

    let options =
        hlsl::Options { shader_model: hlsl::ShaderModel::V6_0, fake_missing_bindings: true, ..Default::default() };
    let mut text = String::new();
    let pipeline = hlsl::PipelineOptions::default();
    let mut writer = hlsl::Writer::new(&mut text, &options, &pipeline);
    writer.write(module, module_info, None).unwrap_or_else(|e| panic!("{name}: HLSL: {e:?}"));
    assert!(text.contains("numthreads"));
}

#[test]
fn headers_name_the_file_and_every_shader_has_an_entry_point_of_its_name() {
    for (name, text) in SHADERS {
        assert!(text.starts_with("// "), "{name} has no header");
        assert!(text.contains("Oracle"), "the header of {name} names no oracle");
        assert!(text.contains(&format!("fn {name}(")), "{name} has no entry point of its name");
    }
}
