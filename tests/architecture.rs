//! The shape of the house and of the network: dependencies run one way, and the network is the paper's.

use std::fs;
use std::path::{Path, PathBuf};
use vnet_engine::nn::vnet::VNet;
use vnet_engine::nn::{InferenceGraph, Network, receptive_fields};
use vnet_engine::tensor::TensorSpec;

/// What each module may use of the others.
const ALLOWED: &[(&str, &[&str])] = &[
    ("tensor", &[]),
    ("files", &[]),
    ("host_memory", &[]),
    ("random", &[]),
    ("kernel", &["tensor"]),
    ("graph", &["tensor", "kernel"]),
    ("ops", &["registry", "tensor", "kernel", "graph", "random"]),
    ("registry", &[]),
    ("optim", &["tensor", "kernel", "registry"]),
    ("plan", &["tensor", "kernel", "graph"]),
    ("gpu", &["kernel", "host_memory"]),
    ("exec", &["tensor", "kernel", "plan", "gpu"]),
    ("profile", &["tensor", "kernel", "graph", "ops", "plan", "gpu", "exec"]),
    ("nn", &["registry", "tensor", "files", "host_memory", "random", "kernel", "graph", "ops", "plan"]),
    ("data", &["files", "random"]),
    ("metrics", &["files", "random"]),
    ("methods", &["files", "metrics"]),
    ("tensorboard", &["files"]),
    ("interop", &["registry", "tensor", "files", "graph", "ops", "nn"]),
    ("augment", &["tensor", "random", "kernel", "graph", "ops", "data"]),
    ("tuning", &["tensor", "files", "random", "kernel", "graph", "ops", "plan", "gpu", "exec", "profile"]),
    ("report", &["files", "metrics"]),
    ("infer", &["tensor", "files", "kernel", "plan", "gpu", "exec", "nn", "data"]),
    (
        "doctor",
        &[
            "tensor", "random", "kernel", "graph", "ops", "optim", "plan", "gpu", "exec", "profile", "augment",
            "registry",
        ],
    ),
    ("evaluate", &["data", "metrics", "report"]),
    ("fuzzing", &["data", "nn", "infer", "train"]),
    (
        "train",
        &[
            "tensor",
            "registry",
            "kernel",
            "plan",
            "gpu",
            "exec",
            "nn",
            "optim",
            "data",
            "metrics",
            "methods",
            "report",
            "infer",
            "evaluate",
            "graph",
            "profile",
            "files",
            "augment",
            "tensorboard",
            "tuning",
        ],
    ),
    // A cross-validation trains, predicts with a device, scores and reports; it knows no operation and no network.
    (
        "crossval",
        &[
            "files", "kernel", "gpu", "nn", "data", "metrics", "methods", "report", "infer", "evaluate", "train",
            "tuning",
        ],
    ),
    ("configure", &["files", "kernel", "plan", "gpu", "nn", "data", "metrics", "profile", "infer", "train"]),
    (
        "bench",
        &["tensor", "kernel", "graph", "plan", "gpu", "exec", "nn", "data", "infer", "train", "profile", "tuning"],
    ),
];

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a source folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

fn sources() -> Vec<(String, PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    rust_files(&root, &mut files);
    let read = |path: PathBuf| {
        let first = path.strip_prefix(&root).expect("below src").components().next().expect("a name");
        let module = first.as_os_str().to_string_lossy().trim_end_matches(".rs").to_owned();
        let text = fs::read_to_string(&path).expect("a source file");
        (module, path, text)
    };
    files.into_iter().map(read).collect()
}

#[test]
fn dependencies_run_one_way() {
    let mut seen = 0;
    for (module, path, text) in sources() {
        let Some((_, allowed)) = ALLOWED.iter().find(|(name, _)| *name == module) else {
            assert!(["lib", "main", "cli"].contains(&module.as_str()), "{}: a module without a place", path.display());
            continue;
        };
        // Documentation may point anywhere.
        let code: String = text.lines().filter(|l| !l.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
        for (i, _) in code.match_indices("crate::") {
            let used: String = code[i + 7..].chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            if ALLOWED.iter().any(|(name, _)| *name == used) {
                seen += 1;
                assert!(used == module || allowed.contains(&used.as_str()), "{} uses {used}", path.display());
            }
        }
    }
    assert!(seen > 100, "only {seen} uses were found");
}

#[test]
fn wgpu_is_named_in_gpu_and_exec_only() {
    for (module, path, text) in sources() {
        if module != "gpu" && module != "exec" {
            let code = text.lines().filter(|l| !l.trim_start().starts_with("//"));
            assert!(!code.clone().any(|l| l.contains("wgpu::")), "{} names wgpu", path.display());
        }
    }
}

/// Files outside `nn::vnet` that may name V-Net: the table of architectures, the presets, the rules of `plan`, and the import
/// of state dictionaries, which recognises V-Nets by the names of their tensors.
const NAMES_VNET: [&str; 5] = [
    "nn/architecture.rs",
    "train/config/preset.rs",
    "configure/rules/shape.rs",
    "interop/import/own.rs",
    "interop/import/foreign.rs",
];

/// What other parts must know of a network they ask its `Architecture`, or find marked in its graph.
#[test]
fn only_its_module_knows_v_net() {
    for (_, path, text) in sources() {
        let apart = path.ends_with("nn/vnet.rs") || path.ends_with("tests.rs");
        if !apart && !NAMES_VNET.iter().any(|name| path.ends_with(name)) {
            let found = code(&text).find(|l| l.contains("VNet") && !l.contains('"') || l.contains("vnet::"));
            assert_eq!(found, None, "{} names V-Net", path.display());
        }
    }
}

/// A program trains with settings of its own; configurations stand above the trainer.
#[test]
fn the_trainer_knows_no_configuration() {
    let of_trainer = |path: &PathBuf| path.components().any(|part| part.as_os_str() == "trainer");
    let files: Vec<_> = sources().into_iter().filter(|(_, path, _)| of_trainer(path)).collect();
    assert!(files.len() >= 5, "the trainer has moved");
    for (_, path, text) in files {
        let found = code(&text).find(|line| ["toml", "config::", "Config"].iter().any(|word| line.contains(word)));
        assert_eq!(found, None, "{} knows a configuration", path.display());
    }
}

/// Code of a file without comments and tests. A test-only item is code.
fn code(text: &str) -> impl Iterator<Item = &str> {
    let code = text.split("#[cfg(test)]\nmod ").next().expect("a file").lines();
    code.filter(|line| !line.trim_start().starts_with("//"))
}

/// What pays on a device is a number of a tuning table. Only `gpu` knows which table is whose.
#[test]
fn no_code_asks_for_the_class_of_a_device() {
    let below = ["kernel", "graph", "ops", "optim", "plan", "exec", "profile", "nn", "augment", "infer"];
    for (module, path, text) in sources().into_iter().filter(|(module, ..)| below.contains(&module.as_str())) {
        let asks = ["software", "\"cpu\"", "DeviceType", "description().kind", "Tuning::CPU", "Tuning::GPU"];
        let found = code(&text).find(|line| asks.iter().any(|word| line.contains(word)));
        // The default of WebGPU's limits is a GPU.
        let found = found.filter(|line| !(module == "kernel" && line.contains("Tuning::GPU")));
        assert_eq!(found, None, "{} asks for the class of a device", path.display());
    }
}

/// The kernels for llvmpipe can be deleted: only the lists of kernels name their folder, nothing names what is in it.
#[test]
fn only_the_lists_of_kernels_name_those_for_llvmpipe() {
    let shaders = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("shaders/llvmpipe")).expect("a folder");
    let names: Vec<String> = shaders
        .filter_map(|entry| {
            let name = entry.expect("an entry").file_name().into_string().expect("UTF-8");
            name.strip_suffix(".wgsl").map(|shader| format!("\"{shader}\""))
        })
        .collect();
    assert!(names.len() > 5, "{names:?}");
    let mut lines = Vec::new();
    // `gpu` looks after the driver's threads.
    let others =
        |(module, path, _): &(String, PathBuf, String)| module != "gpu" && !path.to_string_lossy().contains("llvmpipe");
    for (_, path, text) in sources().into_iter().filter(others) {
        let named = names.iter().find(|name| text.contains(name.as_str()));
        assert_eq!(named, None, "{} names a shader for llvmpipe", path.display());
        lines.extend(code(&text).filter(|line| line.contains("llvmpipe")).map(|line| line.trim().to_owned()));
    }
    lines.sort_unstable();
    let lists = [
        "&crate::ops::llvmpipe::SumsByRows,",
        "&super::llvmpipe::SubgroupGemm,",
        "crate::ops::llvmpipe::FAMILIES,",
        "mod llvmpipe;",
    ];
    assert_eq!(lines, lists);
}

/// What the program asks of a file format, it asks the table of formats.
#[test]
fn a_format_is_its_module_and_one_line() {
    let formats = ["nifti", "metaimage", "nrrd", "dicom"];
    for (_, path, text) in sources() {
        let own = path.components().any(|part| formats.iter().any(|name| part.as_os_str() == *name));
        // The table, and the header of a new file, which is NIfTI's.
        let allowed = ["io/mod.rs", "io/header.rs"].iter().any(|end| path.ends_with(end));
        let named = code(&text).find(|l| formats.iter().any(|name| l.contains(&format!("{name}::"))));
        assert!(own || allowed || named.is_none(), "{} names a format: {named:?}", path.display());
    }
}

#[test]
fn one_place_prints() {
    for (_, path, text) in sources() {
        // Documentation may show programs that do.
        let code: String = text.lines().filter(|l| !l.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
        let prints = ["print!(", "println!(", "dbg!("].iter().any(|name| code.contains(name));
        assert!(!prints, "{} prints; out!, outln!, errln! and tell! survive a reader that goes away", path.display());
        for stream in ["io::stdout()", "io::stderr()"] {
            let asks = code.match_indices(stream).all(|(i, _)| code[i + stream.len()..].starts_with(".is_terminal()"));
            assert!(asks || path.ends_with("cli/output.rs"), "{} writes to {stream}", path.display());
        }
    }
}

/// Crates that only the program needs: those of the feature `cli`.
fn crates_of_the_program() -> Vec<String> {
    let manifest = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml")).expect("a manifest");
    let manifest: toml::Table = manifest.parse().expect("TOML");
    let listed = manifest["features"]["cli"].as_array().expect("a feature");
    let names = listed.iter().map(|name| name.as_str().expect("a name").trim_start_matches("dep:").replace('-', "_"));
    names.collect()
}

#[test]
fn the_library_does_without_the_programs_crates() {
    let crates = crates_of_the_program();
    assert!(crates.contains(&"clap".to_owned()), "{crates:?}");
    let names = |text: &str| {
        let named = |name: &&String| {
            let path = format!("{name}::");
            let mut starts = text.match_indices(&path).map(|(at, _)| &text[..at]);
            starts.any(|before| !before.ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':'))
        };
        crates.iter().find(named).cloned()
    };
    assert_eq!(names("#[derive(clap::ValueEnum)]"), Some("clap".to_owned()), "the rule can fail");
    for (module, path, text) in sources() {
        if module != "main" && module != "cli" {
            // Comments too: their programs are compiled without these crates.
            assert_eq!(names(&text), None, "{} names a crate of the program", path.display());
            assert!(
                !text.contains("feature = \"cli\""),
                "{}: the library is the same with and without",
                path.display()
            );
        }
    }
}

#[test]
fn the_papers_network_has_its_parameters_and_receptive_fields() {
    let graph = InferenceGraph::new(&Network::new(1, 2, VNet::paper()), 1, [64, 128, 128]).expect("the paper's input");
    assert_eq!(graph.layers.iter().map(|l| l.parameters).sum::<usize>(), 65_175_314);
    let parameters = graph.graph.parameters().iter().map(|p| graph.graph.spec(p.value).elements());
    assert_eq!(parameters.sum::<usize>(), 65_175_314);
    let fields: Vec<(String, [usize; 3])> =
        receptive_fields(&graph.layers).into_iter().map(|f| (f.stage, f.voxels)).collect();
    let table1 = [
        ("encoder.0", 5),
        ("encoder.1", 22),
        ("encoder.2", 72),
        ("encoder.3", 172),
        ("encoder.4", 372),
        ("decoder.3", 476),
        ("decoder.2", 528),
        ("decoder.1", 546),
        ("decoder.0", 551),
        ("head", 551),
    ];
    assert_eq!(fields, table1.map(|(stage, voxels)| (stage.to_owned(), [voxels; 3])));
    assert_eq!(*graph.graph.spec(graph.logits), TensorSpec::f32([1, 64, 128, 128, 2]));
}

#[test]
fn parameters_have_pytorchs_names_and_shapes() {
    let network = Network::new(1, 3, VNet { base: 4, encoder: vec![1, 2, 3], decoder: vec![1, 2] });
    let shapes = vnet_engine::nn::model::parameter_shapes(&network);
    let expect = |name: &str, shape: &[usize]| assert_eq!(shapes.get(name).map(Vec::as_slice), Some(shape), "{name}");
    expect("encoder.0.conv.0.weight", &[4, 1, 5, 5, 5]);
    expect("encoder.1.down.weight", &[8, 4, 2, 2, 2]);
    expect("encoder.1.down_act.weight", &[8]);
    expect("encoder.2.conv.2.bias", &[16]);
    expect("decoder.1.up.weight", &[16, 8, 2, 2, 2]);
    expect("decoder.1.conv.1.weight", &[16, 16, 5, 5, 5]);
    expect("decoder.0.up.weight", &[16, 4, 2, 2, 2]);
    expect("decoder.0.up_act.weight", &[4]);
    expect("decoder.0.act.0.weight", &[8]);
    expect("head.weight", &[3, 8, 1, 1, 1]);
    expect("head.bias", &[3]);
    assert_eq!(shapes.len(), 3 + (3 + 6) + (3 + 9) + (3 + 6) + (3 + 3) + 2);
}
