//! What a checkpoint of nnU-Net v2 says besides its tensors: the plans of its configuration and the names of its classes.

use crate::nn::{Activation, Network};
use serde_json::{Map, Value, json};

/// The preprocessing, as the key `preprocessing` of a model file has it, and what it does otherwise than nnU-Net.
///
/// # Errors
/// What cannot be mapped, one line for each.
pub(super) fn preprocessing(about: &Value, network: &Network) -> Result<Option<(Value, Vec<String>)>, Vec<String>> {
    let arguments = &about["init_args"];
    let (plans, name) = (&arguments["plans"], arguments["configuration"].as_str().unwrap_or_default());
    if !plans.is_object() {
        return Ok(None);
    }
    let configuration = configuration(plans, name);
    let (mut keys, mut problems) = (Map::new(), Vec::new());
    if plans["transpose_forward"].as_array().is_some_and(|axes| *axes != [json!(0), json!(1), json!(2)]) {
        problems.push(format!("plans.transpose_forward is {}, expected [0, 1, 2]", plans["transpose_forward"]));
    }
    activation(&configuration, &mut problems);
    match (reversed(&configuration["spacing"]), reversed(&configuration["patch_size"])) {
        (Some(spacing), Some(patch)) => {
            keys.insert("spacing".into(), json!(spacing));
            keys.insert("patch".into(), json!(patch.map(|extent| extent as usize)));
        }
        _ => problems.push(format!("plans.configurations.{name} lacks a spacing or a patch_size of three numbers")),
    }
    keys.insert("interpolation".into(), "cubic".into());
    // Its readers leave the axes as they are in the file, but for this one.
    let reorients = plans["image_reader_writer"] == "NibabelIOWithReorient";
    keys.insert("canonical".into(), reorients.into());
    keys.insert("crop".into(), "nonzero".into());
    let mut notes = normalisation(plans, &configuration, network, &mut keys, &mut problems);
    classes(&arguments["dataset_json"]["labels"], network, &mut keys, &mut problems);
    notes.push("volumes are resampled with cubic splines along all axes".to_owned());
    if problems.is_empty() { Ok(Some((Value::Object(keys), notes))) } else { Err(problems) }
}

/// A configuration with what it inherits.
fn configuration(plans: &Value, name: &str) -> Value {
    let mut found = Map::new();
    let mut name = name.to_owned();
    // No configuration inherits from more than a few others; a ring ends here.
    for _ in 0..8 {
        let Some(own) = plans["configurations"][&name].as_object() else { break };
        for (key, value) in own {
            found.entry(key.clone()).or_insert_with(|| value.clone());
        }
        let Some(parent) = own.get("inherits_from").and_then(Value::as_str) else { break };
        parent.clone_into(&mut name);
    }
    Value::Object(found)
}

/// Checks the activation, which the tensors do not say.
fn activation(configuration: &Value, problems: &mut Vec<String>) {
    let arguments = &configuration["architecture"]["arch_kwargs"];
    let nonlinearity = arguments["nonlin"].as_str().unwrap_or("torch.nn.LeakyReLU");
    let slope = arguments["nonlin_kwargs"]["negative_slope"].as_f64().unwrap_or(0.01);
    let epsilon = arguments["norm_op_kwargs"]["eps"].as_f64().unwrap_or(1e-5);
    if nonlinearity != "torch.nn.LeakyReLU" || slope != 0.01 || epsilon != 1e-5 {
        let found = format!("{nonlinearity} of slope {slope}, epsilon {epsilon}");
        problems.push(format!("plans: {found}; expected torch.nn.LeakyReLU of slope 0.01, epsilon 0.00001"));
    }
    if arguments["dropout_op"].is_string() {
        problems.push(format!("plans: dropout_op is {}, expected null", arguments["dropout_op"]));
    }
}

/// Three numbers z, y, x as x, y, z.
fn reversed(value: &Value) -> Option<[f64; 3]> {
    let [z, y, x] = &value.as_array()?[..] else { return None };
    Some([x.as_f64()?, y.as_f64()?, z.as_f64()?])
}

fn normalisation(
    plans: &Value,
    configuration: &Value,
    network: &Network,
    keys: &mut Map<String, Value>,
    problems: &mut Vec<String>,
) -> Vec<String> {
    let mut notes = Vec::new();
    let (mut words, mut intensities) = (Vec::new(), Vec::new());
    for channel in 0..network.in_channels {
        let scheme = configuration["normalization_schemes"][channel].as_str().unwrap_or("nothing");
        let is_masked = configuration["use_mask_for_norm"][channel].as_bool().unwrap_or(false);
        let properties = &plans["foreground_intensity_properties_per_channel"][channel.to_string()];
        let property = |key: &str| properties[key].as_f64();
        // Lower and upper end, mean and standard deviation.
        let window: Option<Vec<f64>> =
            ["percentile_00_5", "percentile_99_5", "mean", "std"].map(property).into_iter().collect();
        let mut statistics = Value::Null;
        words.push(match (scheme, is_masked) {
            ("ZScoreNormalization", false) => "z_score_all",
            ("ZScoreNormalization", true) => "z_score_non_zero",
            ("CTNormalization", _) if window.is_some() => {
                statistics = json!(window);
                "ct_window"
            }
            ("NoNormalization", _) => "none",
            _ => {
                problems.push(format!("plans: channel {channel} is normalised by {scheme}, which is not known here"));
                "none"
            }
        });
        intensities.push(statistics);
    }
    if words.contains(&"z_score_non_zero") {
        notes.push(
            "mean and deviation are those of the voxels other than 0; nnU-Net also counts zeros that such voxels enclose"
                .to_owned(),
        );
    }
    keys.insert("normalisation".into(), json!(words));
    if intensities.iter().any(|statistics| !statistics.is_null()) {
        keys.insert("intensities".into(), json!(intensities));
    }
    notes
}

/// Names of the classes, whose values are their numbers.
fn classes(labels: &Value, network: &Network, keys: &mut Map<String, Value>, problems: &mut Vec<String>) {
    let Some(labels) = labels.as_object() else { return };
    let mut names: Vec<(u64, &String)> = Vec::new();
    for (name, value) in labels.iter().filter(|(name, _)| *name != "ignore") {
        match value.as_u64() {
            Some(value) => names.push((value, name)),
            None => problems.push(format!("dataset_json: {name} is {value}; regions are not mapped")),
        }
    }
    names.sort_unstable();
    let are_numbers = names.iter().enumerate().all(|(class, (value, _))| class as u64 == *value);
    if are_numbers && names.len() == network.classes && network.activation == Activation::Softmax {
        keys.insert("class_names".into(), names.iter().map(|(_, name)| (*name).clone()).collect());
    } else if problems.is_empty() {
        let found: Vec<String> = names.iter().map(|(value, name)| format!("{name} {value}")).collect();
        let classes = network.classes;
        problems.push(format!("dataset_json: labels are {}, expected 0 to {}", found.join(", "), classes.max(1) - 1));
    }
}
