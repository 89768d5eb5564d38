//! Which parameters are trained, and with which learning rate.

use super::TrainerSettings;
use crate::graph::{Graph, Role};
use crate::nn::Network;
use crate::nn::model::{parameter_shapes, trained_names};
use crate::optim::{Segment, group_of, matches_any, matches_pattern};
use crate::plan::ArenaLayout;
use crate::train::{TrainError, nearest_name};
use std::collections::BTreeSet;

impl TrainerSettings {
    /// The names of the parameters of a network that are frozen.
    ///
    /// # Errors
    /// [`TrainError::Pattern`] of a pattern that no parameter has, of a group that no parameter is left for, or when all are frozen.
    pub fn frozen(&self, network: &Network) -> Result<BTreeSet<String>, TrainError> {
        let frozen = self.freeze.iter().map(|pattern| ("freeze", pattern));
        let groups = self.groups.iter().map(|group| ("groups", &group.parameters));
        let mut patterns = frozen.chain(groups).peekable();
        if patterns.peek().is_none() {
            return Ok(BTreeSet::new());
        }
        let names: Vec<String> = parameter_shapes(network).into_keys().collect();
        for (key, pattern) in patterns {
            if !names.iter().any(|name| matches_pattern(pattern, name)) {
                let expected = format!("a pattern of names of parameters{}", some_names(pattern, &names));
                return Err(TrainError::Pattern { key, pattern: pattern.clone(), expected });
            }
        }
        let mut left = trained_names(network);
        left.retain(|name| !matches_any(&self.freeze, name));
        if left.is_empty() {
            let pattern = self.freeze.join(", ");
            let expected = "patterns that leave parameters to train".to_owned();
            return Err(TrainError::Pattern { key: "freeze", pattern, expected });
        }
        for (at, group) in self.groups.iter().enumerate() {
            if !left.iter().any(|name| group_of(&self.groups, name) == at + 1) {
                let expected = "a pattern of parameters that are not frozen and in no group before".to_owned();
                return Err(TrainError::Pattern { key: "groups", pattern: group.parameters.clone(), expected });
            }
        }
        Ok(trained_names(network).into_iter().filter(|name| matches_any(&self.freeze, name)).collect())
    }
}

/// The names that are nearest to a pattern, and the tables of all, as part of a sentence.
fn some_names(pattern: &str, names: &[String]) -> String {
    let plain = pattern.replace(['*', '?'], "");
    // Of names with dots those of the nearest first part, which patterns mostly name.
    let first = |name: &str| name.split('.').next().unwrap_or_default().to_owned();
    let tables: BTreeSet<String> = names.iter().map(|name| first(name)).collect();
    let near = nearest_name(&plain, names.iter().map(String::as_str)).map(str::to_owned);
    let table = || nearest_name(&first(&plain), tables.iter().map(String::as_str)).map(|table| format!("{table}.*"));
    let tables: Vec<String> = tables.iter().map(|table| format!("{table}.*")).collect();
    match near.or_else(table) {
        Some(near) => format!(" ({}), such as {near}", tables.join(", ")),
        None => format!(" ({}), such as {}", tables.join(", "), names.first().map_or("", String::as_str)),
    }
}

/// The segments of the arenas of a graph that the optimiser moves.
pub(super) fn segments(graph: &Graph, layout: &ArenaLayout, settings: &TrainerSettings) -> Vec<Segment> {
    let windows = layout.windows.iter().zip(graph.parameters());
    let moved = windows.filter(|(_, parameter)| parameter.role != Role::Statistic);
    let group = |name: &str| group_of(&settings.groups, name);
    let parameters =
        moved.map(|(window, parameter)| (window.start, (!parameter.frozen).then(|| group(&parameter.name))));
    Segment::of(parameters.collect(), layout.trained)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::vnet::VNet;
    use crate::optim::ParameterGroup;
    use crate::tensor::layout::ParameterLayout;

    fn frozen(freeze: &[&str], groups: &[&str]) -> Result<BTreeSet<String>, String> {
        let network = Network::new(1, 2, VNet { base: 2, encoder: vec![1, 1], decoder: vec![1] });
        let group = |of: &&str| ParameterGroup { parameters: (*of).to_owned(), learning_rate_factor: 0.5 };
        let settings = TrainerSettings {
            freeze: freeze.iter().map(|pattern| (*pattern).to_owned()).collect(),
            groups: groups.iter().map(group).collect(),
            ..TrainerSettings::default()
        };
        settings.frozen(&network).map_err(|error| error.to_string())
    }

    /// Windows of 64 elements: weights of a and b, their biases, then two statistics of each.
    #[test]
    fn frozen_parameters_and_statistics_are_in_no_segment() {
        let ranges = |frozen: &[&str]| {
            let mut graph = Graph::new();
            graph.freeze(frozen.iter().map(|name| (*name).to_owned()).collect());
            for name in ["a", "b"] {
                graph.parameter(&format!("{name}.weight"), &[5, 7], ParameterLayout::Vector, true);
                graph.parameter(&format!("{name}.bias"), &[5], ParameterLayout::Vector, false);
                graph.statistic(&format!("{name}.mean"), 5, 0.0);
                graph.statistic(&format!("{name}.var"), 5, 1.0);
            }
            let layout = ArenaLayout::new(&graph);
            let found = segments(&graph, &layout, &TrainerSettings::default());
            let moved: Vec<[usize; 2]> = found.iter().map(|s| [s.start, s.start + s.len]).collect();
            let frozen: Vec<&str> = graph.parameters().iter().filter(|p| p.frozen).map(|p| p.name.as_str()).collect();
            (moved, frozen.join(" "))
        };
        assert_eq!(ranges(&[]), (vec![[0, 256]], String::new()));
        assert_eq!(ranges(&["a.weight", "a.mean"]), (vec![[64, 256]], "a.weight".to_owned()), "statistics follow");
        assert_eq!(ranges(&["b.weight", "a.var"]), (vec![[0, 64], [128, 256]], "b.weight".to_owned()));
    }

    #[test]
    fn patterns_name_parameters_and_mistakes_the_nearest() {
        assert_eq!(frozen(&[], &[]), Ok(BTreeSet::new()));
        let found = frozen(&["encoder.1.*", "*.bias"], &["head.*"]).expect("patterns of parameters");
        assert!(found.iter().all(|name| name.starts_with("encoder.1.") || name.ends_with(".bias")) && found.len() > 5);
        let error = frozen(&["encodr.*"], &[]).expect_err("no such parameter");
        let start = "optimiser.freeze: expected a pattern of names of parameters (decoder.*, encoder.*, head.*), such as encoder.*";
        assert_eq!(error, format!("{start}, found \"encodr.*\""));
        let error = frozen(&[], &["head.wieght"]).expect_err("no such parameter");
        assert!(error.contains("optimiser.groups: ") && error.contains("such as head.weight"), "{error}");
        let error = frozen(&["encoder.*", "[de]*", "*"], &[]).expect_err("no brackets");
        assert!(error.contains("found \"[de]*\""), "{error}");
        let error = frozen(&["*"], &[]).expect_err("nothing is trained");
        assert_eq!(error, "optimiser.freeze: expected patterns that leave parameters to train, found \"*\"");
    }
}
