//! `methods.md` of a run: network, data, training, device, and the scores of the test cases.

use super::{Progress, Run};
use crate::gpu::Gpu;
use crate::methods::Methods;
use crate::metrics::Evaluation;
use crate::train::TrainError;
use crate::train::folder::stored_config;
use serde_json::Value;

const SPLIT: &str = "split.json";

impl<P: Progress> Run<'_, P> {
    /// Writes `methods.md` and `methods.json` into the run folder.
    pub(super) fn methods(&self, gpu: &Gpu, evaluation: Option<&Evaluation>) -> Result<(), TrainError> {
        let out = &self.settings.out;
        let path = out.join(SPLIT);
        let text = std::fs::read_to_string(&path).map_err(TrainError::io("read", &path))?;
        let split: Value = serde_json::from_str(&text).map_err(|e| TrainError::run_folder(&path, e.to_string()))?;
        let mut methods = Methods::new();
        methods.say("Of the cases, ");
        for (position, name) in ["train", "validation", "test"].into_iter().enumerate() {
            methods.say(["", ", ", " and "][position]);
            let count = split[name].as_array().map_or(0, Vec::len);
            methods.fact(&format!("cases_{name}"), count, &format!("{SPLIT}: entries of {name}"));
            methods.say([" were trained on", " chose the model", " were kept for the test. "][position]);
        }
        methods.configuration(&stored_config(out)?, "config.toml");
        self.result_methods(&mut methods);
        let description = gpu.description();
        methods.say("The device was ");
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

    /// What came of the configuration.
    fn result_methods(&self, methods: &mut Methods) {
        let network = &self.network;
        let parameters: usize = self.trainer.layout().windows.iter().map(|window| window.len).sum();
        methods.say("The network had ");
        methods.fact("parameters", parameters, "model.safetensors: elements of all tensors");
        methods.say(" parameters, ");
        methods.fact("channels", network.in_channels, "model.safetensors: channels of the input");
        methods.say(" input channels, ");
        methods.fact("outputs", network.classes, "model.safetensors: outputs");
        methods.say(" outputs, and inputs of ");
        let patch: Vec<Value> = self.position.patch.iter().map(|extent| Value::from(*extent)).collect();
        methods.fact("patch", patch, "checkpoint: extents x, y, z of the input");
        methods.say(" voxels. The training took ");
        methods.fact("steps", self.trainer.step_count(), "log.jsonl: step of the event finished");
        methods.say(" steps. ");
        if let Some((dice, step)) = self.position.best {
            methods.say("The model is that with the best mean Dice on the validation cases, ");
            methods.fact_number("best_dice", dice, 4, "log.jsonl: mean_dice of the last event validation with best");
            methods.say(" after ");
            methods.fact("best_step", step, "log.jsonl: step of the last event validation with best");
            methods.say(" steps. ");
        }
    }
}
