use super::EvaluateArguments;
use super::status::WrongInput;
use anyhow::Result;
use std::path::Path;
use vnet_engine::evaluate::evaluate_folders;
use vnet_engine::metrics::{Evaluation, Observer, Region, Summary, render_table};
use vnet_engine::report::write_dice_plot;

pub fn evaluate(arguments: &EvaluateArguments) -> Result<()> {
    let observer = arguments.observer.as_deref().map(Observer::read).transpose().map_err(WrongInput)?;
    let regions: &[Region] = if arguments.regions || observer.is_some() { &Region::ALL } else { &[Region::Whole] };
    let evaluation = evaluate_folders(&arguments.predictions, &arguments.labels, None, regions)?;
    write(&evaluation, &arguments.out)?;
    println!("{}", render_table(&evaluation));
    if let Some(observer) = observer {
        promise12(&observer, &evaluation, &arguments.out)?;
    }
    Ok(())
}

/// Writes `promise12.csv` and prints the mean.
fn promise12(observer: &Observer, evaluation: &Evaluation, out: &Path) -> Result<()> {
    let scores = observer.scores(&evaluation.cases);
    let mut csv = "case,score\n".to_owned();
    for (case, score) in &scores {
        let case = if case.contains([',', '"']) { format!("\"{}\"", case.replace('"', "\"\"")) } else { case.clone() };
        csv += &format!("{case},{}\n", score.map_or_else(String::new, |score| score.to_string()));
    }
    let path = out.join("promise12.csv");
    std::fs::write(&path, csv).map_err(|e| WrongInput(format!("{}: cannot write: {e}", path.display())))?;
    let summary = Summary::of(scores.iter().map(|(_, score)| *score));
    match (summary.mean, summary.standard_deviation) {
        (Some(mean), deviation) => {
            let spread = deviation.map_or_else(String::new, |deviation| format!(" ± {deviation:.2}"));
            println!("PROMISE12 score {mean:.2}{spread} ({} cases, {} undefined)", summary.defined, summary.undefined);
        }
        (None, _) => println!("PROMISE12 score undefined: no case has a reference"),
    }
    Ok(())
}

/// Writes `scores.csv`, `scores.json` and `dice.png`.
pub fn write(evaluation: &Evaluation, out: &Path) -> Result<()> {
    std::fs::create_dir_all(out)
        .map_err(|e| WrongInput(format!("{}: cannot create the output folder: {e}", out.display())))?;
    evaluation.write_csv(&out.join("scores.csv"))?;
    evaluation.write_json(&out.join("scores.json"))?;
    let mut cases: Vec<(String, Vec<f64>)> = Vec::new();
    let mut names: Vec<String> = Vec::new();
    for score in &evaluation.cases {
        if !names.contains(&score.class_name) {
            names.push(score.class_name.clone());
        }
        let dice = score.dice.unwrap_or(f64::NAN);
        match cases.last_mut().filter(|(case, _)| *case == score.case) {
            Some((_, all)) => all.push(dice),
            None => cases.push((score.case.clone(), vec![dice])),
        }
    }
    write_dice_plot(&out.join("dice.png"), &cases, &names)?;
    Ok(())
}
