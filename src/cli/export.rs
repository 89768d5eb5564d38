//! `export`, `import` and `forward`: models and tensors of and for other programs.

use super::model::model_path;
use super::open_gpu;
use super::status::{WrongInput, wrong};
use super::verbosity::tell;
use anyhow::Result;
use clap::{Args, ValueEnum};
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use vnet_engine::gpu::GpuOptions;
use vnet_engine::infer::forward as run_forward;
use vnet_engine::interop::{export_onnx, export_torch, import as read_foreign, weights_path};
use vnet_engine::nn::model::{decode, read_file, write_tensors};
use vnet_engine::nn::{Activation, Model};
use vnet_engine::registry::Value;

/// Names of the tensors of `forward`'s files.
const IMAGE: &str = "image";
const LOGITS: &str = "logits";

#[derive(Debug, Args)]
pub struct ExportArguments {
    /// Run folder or .safetensors file
    #[arg(long, value_name = "MODEL")]
    model: PathBuf,
    /// What to write
    #[arg(long, value_enum)]
    format: ExportFormat,
    /// File to write, .onnx or .py
    ///
    /// Beside FILE.py, FILE.safetensors holds the weights.
    #[arg(long, visible_alias = "output", value_name = "FILE")]
    out: PathBuf,
    /// Replace outputs that exist
    #[arg(long)]
    force: bool,
}

/// `--format` of `export`.
#[derive(Debug, Clone, Copy, PartialEq, ValueEnum)]
enum ExportFormat {
    /// ONNX with operators of version 17: image in, logits out
    Onnx,
    /// A PyTorch module in one file, and its weights
    Torch,
}

#[derive(Debug, Args)]
pub struct ImportArguments {
    /// State dictionary (.safetensors, .pt, .pth)
    ///
    /// With this program's names, or of MONAI's VNet or DynUNet, vnet.pytorch or nnU-Net.
    #[arg(long, value_name = "FILE")]
    from: PathBuf,
    /// Model to write (.safetensors)
    #[arg(long, visible_alias = "output", value_name = "FILE")]
    out: PathBuf,
    /// Model whose preparation of volumes is taken
    ///
    /// A run folder or .safetensors file. Without it nothing says how volumes are prepared.
    #[arg(long, value_name = "MODEL")]
    preprocessing: Option<PathBuf>,
    /// The outputs are regions that may overlap
    ///
    /// Their probabilities are sigmoids. Without it they are classes, unless there is only one.
    #[arg(long)]
    regions: bool,
    /// Activation that the file does not say: elu, relu, leaky_relu
    ///
    /// Without it a VNet has ELU and a U-Net LeakyReLU, the defaults of MONAI and nnU-Net.
    #[arg(long, value_name = "WORD", value_parser = ["elu", "relu", "leaky_relu", "prelu"], hide_possible_values = true)]
    nonlinearity: Option<String>,
    /// Replace an output that exists
    #[arg(long)]
    force: bool,
}

#[derive(Debug, Args)]
pub struct ForwardArguments {
    /// Run folder or .safetensors file
    #[arg(long, value_name = "MODEL")]
    pub model: PathBuf,
    /// Tensor `image` [N, C, D, H, W], .safetensors
    ///
    /// float32, prepared as the network expects it.
    #[arg(long, value_name = "FILE")]
    input: PathBuf,
    /// File for the tensor `logits`, .safetensors
    ///
    /// [N, classes, D, H, W], before softmax or sigmoid.
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
    /// Replace an output that exists
    #[arg(long)]
    force: bool,
}

pub fn export(arguments: &ExportArguments) -> Result<()> {
    let source = model_path(&arguments.model);
    let model = Model::read(&source)?;
    let mut files = vec![arguments.out.clone()];
    files.extend((arguments.format == ExportFormat::Torch).then(|| weights_path(&arguments.out)));
    check_free(&files, &[source], arguments.force)?;
    match arguments.format {
        ExportFormat::Onnx => export_onnx(&model, &arguments.out)?,
        ExportFormat::Torch => export_torch(&model, &arguments.out)?,
    }
    files.iter().for_each(|file| outln!("{}", file.display()));
    Ok(())
}

pub fn import(arguments: &ImportArguments) -> Result<()> {
    let preprocessing = arguments.preprocessing.as_deref().map(model_path);
    let sources: Vec<PathBuf> = preprocessing.iter().chain([&arguments.from]).cloned().collect();
    check_free(std::slice::from_ref(&arguments.out), &sources, arguments.force)?;
    let mut imported = read_foreign(&arguments.from)?;
    if let Some(path) = &preprocessing {
        imported.model.preprocessing = Model::read(path)?.preprocessing;
    }
    if arguments.regions {
        imported.model.network.activation = Activation::Sigmoid;
    }
    if let Some(word) = &arguments.nonlinearity {
        let network = imported.model.network.with("nonlinearity", Value::Word(word.clone().into()));
        imported.model.network = network.expect("an architecture of the table");
    }
    let model = imported.model.checked(&arguments.from)?;
    model.write(&arguments.out)?;
    outln!("{}", arguments.out.display());
    tell!("{}: {}", imported.layout.name(), model.network.description());
    let is_settled = |note: &&String| arguments.nonlinearity.is_some() && note.contains("--nonlinearity");
    imported.notes.iter().filter(|note| !is_settled(note)).for_each(|note| tell!("{note}"));
    if model.preprocessing.is_none() {
        tell!(
            "nothing says how volumes are prepared: they are taken whole, at their own spacing, and normalised to zero \
             mean and unit variance; --preprocessing MODEL takes it from a model of this program"
        );
    }
    Ok(())
}

pub fn forward(arguments: &ForwardArguments, device: &GpuOptions) -> Result<()> {
    let source = model_path(&arguments.model);
    let sources = [source.clone(), arguments.input.clone()];
    check_free(std::slice::from_ref(&arguments.output), &sources, arguments.force)?;
    let model = Model::read(&source)?;
    let (_, mut tensors) = decode(&arguments.input, &read_file(&arguments.input)?)?;
    let image = tensors.remove(IMAGE).ok_or_else(|| {
        let names: Vec<&str> = tensors.keys().map(String::as_str).take(5).collect();
        let expected = format!("expected a tensor {IMAGE}, found {}", names.join(", "));
        WrongInput(format!("{}: {expected}", arguments.input.display()))
    })?;
    let logits = run_forward(&open_gpu(device)?, &model, &image)?;
    let tensors = BTreeMap::from([(LOGITS.to_owned(), logits)]);
    write_tensors(&arguments.output, &tensors, HashMap::new())?;
    outln!("{}", arguments.output.display());
    Ok(())
}

/// Nothing is overwritten without `--force`, and what is read never.
fn check_free(files: &[PathBuf], sources: &[PathBuf], force: bool) -> Result<()> {
    for file in files {
        let is_same =
            |source: &PathBuf| matches!((file.canonicalize(), source.canonicalize()), (Ok(a), Ok(b)) if a == b);
        if sources.iter().any(is_same) {
            return Err(wrong(format!("{}: is what is read; give another output", file.display())));
        }
        if file.exists() && !force {
            return Err(wrong(format!("{}: exists; --force replaces it", file.display())));
        }
    }
    Ok(())
}
