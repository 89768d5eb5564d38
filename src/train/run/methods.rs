//! `methods.md` of a run: network, data, training, device, and the scores of the test cases.

use super::{Progress, Run};
use crate::gpu::Gpu;
use crate::methods::{Methods, Source};
use crate::metrics::Evaluation;
use crate::train::TrainError;
use serde_json::Value;

const CONFIG: &str = "config.toml";
const SPLIT: &str = "split.json";

impl<P: Progress> Run<'_, P> {
    /// Writes `methods.md` and `methods.json` into the run folder.
    pub(super) fn methods(&self, gpu: &Gpu, evaluation: Option<&Evaluation>) -> Result<(), TrainError> {
        let out = &self.settings.out;
        let path = out.join(CONFIG);
        let text = std::fs::read_to_string(&path).map_err(TrainError::io("read", &path))?;
        let table: toml::Table =
            text.parse().map_err(|e: toml::de::Error| TrainError::run_folder(&path, e.message().to_owned()))?;
        let config = serde_json::to_value(table).map_err(|e| TrainError::run_folder(&path, e.to_string()))?;
        let path = out.join(SPLIT);
        let text = std::fs::read_to_string(&path).map_err(TrainError::io("read", &path))?;
        let split = serde_json::from_str(&text).map_err(|e| TrainError::run_folder(&path, e.to_string()))?;
        let mut methods = Methods::new();
        self.network_methods(&mut methods, &config);
        self.data_methods(&mut methods, &config, &split);
        self.training_methods(&mut methods, &config);
        methods.say("The device was ");
        let description = gpu.description();
        methods.fact("device", description.name.as_str(), "log.jsonl: adapter of the last event start");
        methods.say(" (driver ");
        methods.fact("driver", description.driver.as_str(), "log.jsonl: driver of the last event start");
        methods.say("). ");
        methods.program();
        methods.say("\n\n");
        match evaluation {
            Some(evaluation) => methods.scores(evaluation, "test/scores.json"),
            None => methods.say("There were no test cases.\n"),
        }
        methods.write(out).map_err(|(path, error)| TrainError::io("write", &path)(error))
    }

    fn network_methods(&self, methods: &mut Methods, config: &Value) {
        let network = &self.network;
        methods.say("The network (");
        methods.settings(&config["network"], &[], &Source::new(CONFIG, "/network"));
        methods.say(") had ");
        let parameters: usize = self.trainer.layout().windows.iter().map(|window| window.len).sum();
        methods.fact("parameters", parameters, "model.safetensors: elements of all tensors");
        methods.say(" parameters, ");
        methods.fact("channels", network.in_channels, "model.safetensors: channels of the input");
        methods.say(" input channels and ");
        methods.fact("outputs", network.classes, "model.safetensors: outputs");
        methods.say(" outputs. ");
    }

    fn data_methods(&self, methods: &mut Methods, config: &Value, split: &Value) {
        let cases = ["train", "validation", "test"].map(|part| split[part].as_array().map_or(0, Vec::len));
        methods.say("Of the cases, ");
        for (position, (name, count)) in ["train", "validation", "test"].into_iter().zip(cases).enumerate() {
            methods.say(["", ", ", " and "][position]);
            methods.fact(&format!("cases_{name}"), count, &format!("{SPLIT}: entries of {name}"));
            methods.say([" were trained on", " chose the model", " were kept for the test"][position]);
        }
        methods.say(". Volumes were brought to the spacing ");
        let key = |key: &str| (config["data"][key].clone(), Source::new(CONFIG, format!("/data/{key}")));
        let mut data = |words: &str, name: &str| {
            let (value, source) = key(name);
            if !value.is_null() {
                methods.say(words);
                methods.value(&value, &source);
            }
        };
        data("(mm) ", "spacing");
        data(" with interpolation ", "interpolation");
        data(", normalised by ", "normalisation");
        data(", and sampled as ", "sampling");
        methods.say(", in inputs of ");
        let patch: Vec<Value> = self.position.patch.iter().map(|extent| Value::from(*extent)).collect();
        methods.fact("patch", patch, "checkpoint: extents x, y, z of the input");
        methods.say(" voxels. Augmentation: ");
        methods.settings(&config["augmentation"], &[], &Source::new(CONFIG, "/augmentation"));
        methods.say(". ");
    }

    fn training_methods(&self, methods: &mut Methods, config: &Value) {
        methods.say("The training took ");
        methods.fact("steps", self.trainer.step_count(), "log.jsonl: step of the event finished");
        methods.say(" steps (");
        let technical = ["checkpoint_every", "loader_threads", "tensorboard", "memory"];
        methods.settings(&config["training"], &technical, &Source::new(CONFIG, "/training"));
        methods.say("; seed ");
        methods.value(&config["seed"], &Source::new(CONFIG, "/seed"));
        methods.say("); optimiser: ");
        methods.settings(&config["optimiser"], &[], &Source::new(CONFIG, "/optimiser"));
        methods.say("; schedule: ");
        methods.settings(&config["schedule"], &[], &Source::new(CONFIG, "/schedule"));
        methods.say(". ");
        if let Some((dice, step)) = self.position.best {
            methods.say("The model is that with the best mean Dice on the validation cases, ");
            methods.fact("best_dice", dice, "log.jsonl: mean_dice of the last event validation with best");
            methods.say(" after ");
            methods.fact("best_step", step, "log.jsonl: step of the last event validation with best");
            methods.say(" steps. ");
        }
    }
}
