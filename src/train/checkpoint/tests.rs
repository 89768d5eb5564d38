use super::store::path;
use super::*;
use crate::nn::vnet::VNet;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// A checkpoint with odd tensors of random bits that are finite numbers.
fn checkpoint(step: u64) -> Checkpoint {
    let mut random = ChaCha8Rng::seed_from_u64(step);
    let shapes =
        [("encoder.0.conv.0.weight", vec![3, 2, 5, 5, 5]), ("head.bias", vec![7]), ("x.act.0.weight", vec![1])];
    let mut tensors = BTreeMap::new();
    for prefix in ["parameter", "moment1", "moment2"] {
        for (name, shape) in &shapes {
            let data = (0..shape.iter().product()).map(|_| random.random_range(-3.0f32..3.0)).collect();
            tensors.insert(format!("{prefix}/{name}"), Tensor { shape: shape.clone(), data });
        }
    }
    let origin = Origin {
        config: "seed = 3\n[training]\nsteps = 9\nbatch = 1\n".to_owned(),
        config_blake3: "abc".to_owned(),
        kernels: "def".to_owned(),
        passes: 2,
        device: "a device, \"a driver\"".to_owned(),
        program: "0 (unknown)".to_owned(),
    };
    let state = State {
        blake3: seal::UNSEALED.to_owned(),
        format: FORMAT,
        step,
        sample: 2 * step,
        validated: false,
        // A number whose shortest decimal form a sloppy parser rounds to a neighbour.
        best: Some((0.1 + 0.2 + step as f64 * 1e-17, 3)),
        patch: [24, 40, 16],
        restorations: Restorations { count: 1, learning_rate: 0.5 },
        predictions: Predictions { collapsed: 2, structured: Some(1) },
        weights: "0123".to_owned(),
        origin,
    };
    Checkpoint { path: PathBuf::new(), state, tensors }
}

fn same(a: &Checkpoint, b: &Checkpoint) -> bool {
    let bits = |c: &Checkpoint| c.state.best.map(|(dice, _)| dice.to_bits());
    a.state == b.state && bits(a) == bits(b) && a.tensors == b.tensors
}

fn run() -> tempfile::TempDir {
    let run = tempfile::tempdir().expect("a temporary folder");
    std::fs::create_dir(run.path().join("checkpoint")).expect("created");
    run
}

#[test]
fn a_checkpoint_comes_back_as_it_was() {
    let run = run();
    let written = checkpoint(5);
    write(run.path(), &written, 2).expect("written");
    let found = newest(run.path()).expect("found");
    assert!(found.rejected.is_empty() && same(&found.checkpoint, &written));
    // Equal states give equal files.
    let first = std::fs::read(path(run.path(), 5)).expect("read");
    write(run.path(), &found.checkpoint, 2).expect("written");
    assert_eq!(std::fs::read(path(run.path(), 5)).expect("read"), first);
}

#[test]
fn any_damaged_byte_is_noticed_and_the_checkpoint_before_is_used() {
    let run = run();
    let previous = checkpoint(4);
    write(run.path(), &previous, 2).expect("written");
    write(run.path(), &checkpoint(6), 2).expect("written");
    let file = path(run.path(), 6);
    let whole = std::fs::read(&file).expect("read");
    let header = 8 + u64::from_le_bytes(whole[..8].try_into().expect("eight bytes")) as usize;
    let mut random = ChaCha8Rng::seed_from_u64(17);
    let anywhere: Vec<usize> = (0..100).map(|_| random.random_range(0..whole.len())).collect();
    // The header is a small part of the file: its bytes, each, besides a hundred anywhere.
    for at in (0..header).chain(anywhere) {
        let mut damaged = whole.clone();
        damaged[at] ^= 1 << random.random_range(0..8);
        std::fs::write(&file, &damaged).expect("written");
        let found = newest(run.path()).expect("the one before is found");
        assert!(same(&found.checkpoint, &previous), "byte {at} of {}", whole.len());
        assert_eq!(found.rejected.len(), 1, "byte {at}");
        assert_eq!(found.rejected[0].path, file);
        assert!(found.rejected[0].reason.contains("damaged"), "{}", found.rejected[0].reason);
        assert!(found.rejected[0].damaged);
    }
}

#[test]
fn a_file_cut_short_anywhere_is_noticed() {
    let run = run();
    write(run.path(), &checkpoint(2), 2).expect("written");
    let whole = std::fs::read(path(run.path(), 2)).expect("read");
    let mut random = ChaCha8Rng::seed_from_u64(18);
    for length in (0..16).chain((0..100).map(|_| random.random_range(0..whole.len()))) {
        assert!(Checkpoint::decode(Path::new("x"), &whole[..length]).is_err(), "{length} of {} bytes", whole.len());
    }
    assert!(Checkpoint::decode(Path::new("x"), &[&whole[..], &[0]].concat()).is_err());
    assert!(Checkpoint::decode(Path::new("x"), &whole).is_ok());
}

/// Such files cost nothing on the disk, and would take all memory.
#[cfg(target_os = "linux")]
#[test]
fn files_of_a_terabyte_are_not_read_into_memory() {
    const TERABYTE: u64 = 1 << 40;
    let run = run();
    write(run.path(), &checkpoint(2), 2).expect("written");
    let whole = std::fs::read(path(run.path(), 2)).expect("read");
    let header =
        format!(r#"{{"parameter/x":{{"dtype":"F32","shape":[{}],"data_offsets":[0,{TERABYTE}]}}}}"#, TERABYTE / 4);
    let promised = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes()].concat();
    for (step, start, length, word) in [
        (4, &whole, TERABYTE, "promises a file of"),
        (6, &promised, TERABYTE + promised.len() as u64, "available memory"),
    ] {
        std::fs::write(path(run.path(), step), start).expect("written");
        std::fs::File::options()
            .write(true)
            .open(path(run.path(), step))
            .and_then(|f| f.set_len(length))
            .expect("sparse");
        let found = newest(run.path()).expect("the one before is found");
        assert!(same(&found.checkpoint, &checkpoint(2)));
        assert!(found.rejected[0].reason.contains(word), "{}", found.rejected[0].reason);
        // What memory cannot hold now may be whole: it keeps its name.
        set_aside(&found.rejected).expect("renamed where damaged");
        assert_eq!(path(run.path(), step).exists(), word == "available memory");
    }
}

#[test]
fn a_checkpoint_is_compared_with_the_network() {
    let network = Network::new(1, 2, VNet { base: 2, encoder: vec![1, 1], decoder: vec![1] });
    let whole = |fill: f32| {
        let tensor = |(name, shape): (String, Vec<usize>)| {
            let data = vec![fill; shape.iter().product()];
            (format!("parameter/{name}"), Tensor { shape, data })
        };
        Checkpoint { tensors: parameter_shapes(&network).into_iter().map(tensor).collect(), ..checkpoint(1) }
    };
    whole(0.5).check(&network).expect("of this network");
    let wider = network.with("base", 4).expect("V-Net has a base");
    let error = whole(0.5).check(&wider).expect_err("of another").to_string();
    assert!(error.contains("tensor parameter/") && error.contains("expected F32 ["), "{error}");
    let error = whole(f32::NAN).check(&network).expect_err("no numbers").to_string();
    assert!(error.contains("not finite"), "{error}");
}

#[test]
fn damaged_files_are_set_aside_and_do_not_count() {
    let run = run();
    for step in [2, 4] {
        write(run.path(), &checkpoint(step), 2).expect("written");
    }
    std::fs::write(path(run.path(), 4), "no checkpoint").expect("written");
    let found = newest(run.path()).expect("found");
    assert_eq!(found.checkpoint.state.step, 2);
    set_aside(&found.rejected).expect("renamed");
    write(run.path(), &checkpoint(3), 2).expect("written");
    assert_eq!(steps(run.path()).expect("listed"), [3, 2]);
    assert!(run.path().join("checkpoint/step_0000004.safetensors.damaged").exists());
}

#[test]
fn the_newest_few_are_kept_and_a_failed_one_loses_none() {
    let run = run();
    for step in 0..5 {
        write(run.path(), &checkpoint(step), 2).expect("written");
    }
    assert_eq!(steps(run.path()).expect("listed"), [4, 3]);
    // A folder in the place of the file: it can be written but not renamed.
    let occupied = path(run.path(), 5);
    std::fs::create_dir_all(occupied.join("x")).expect("created");
    let error = write(run.path(), &checkpoint(5), 2).expect_err("occupied").to_string();
    assert!(error.contains("step_0000005.safetensors") && error.contains("cannot write the checkpoint"), "{error}");
    let found = newest(run.path()).expect("found");
    assert!(same(&found.checkpoint, &checkpoint(4)));
    let names = std::fs::read_dir(run.path().join("checkpoint")).expect("listed").count();
    assert_eq!(names, 3, "nothing temporary stays");
}

#[test]
fn without_a_checkpoint_every_file_is_named() {
    let run = run();
    let none = newest(run.path()).expect_err("empty").to_string();
    assert!(none.contains("holds no checkpoint"), "{none}");
    for step in [3, 7] {
        std::fs::write(path(run.path(), step), "x").expect("written");
    }
    let text = newest(run.path()).expect_err("damaged").to_string();
    for word in ["step_0000003", "step_0000007", "damaged"] {
        assert!(text.contains(word), "{word} is not in {text}");
    }
}

#[test]
fn what_differs_from_the_checkpoint_is_named() {
    let before = checkpoint(1).state.origin;
    assert!(before.differences(&before.clone()).is_empty());
    let mut now = before.clone();
    now.config = "seed = 3\nnew = 1\n[data]\ncache_dir = \"a\"\n[training]\nsteps = 12\nbatch = 1\n".to_owned();
    now.config_blake3 = "other".to_owned();
    now.passes = 1;
    now.device = "another".to_owned();
    let text = before.differences(&now).join("; ");
    for word in ["training.steps", "new", "choice of kernels", "now another"] {
        assert!(text.contains(word), "{word} is not in {text}");
    }
    assert!(!["seed", "program", "cache_dir"].iter().any(|word| text.contains(word)), "{text}");
    // Where volumes are kept changes no bit.
    let other = Origin { config: format!("{}[data]\ncache = \"1GiB\"\n", before.config), ..before.clone() };
    assert!(before.differences(&Origin { config_blake3: "other".to_owned(), ..other }).is_empty());
}
