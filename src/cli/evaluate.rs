use super::EvaluateArguments;
use super::status::WrongInput;
use anyhow::Result;
use std::path::Path;
use vnet_engine::evaluate::evaluate_folders;
use vnet_engine::metrics::{Evaluation, render_table};
use vnet_engine::report::write_dice_plot;

pub fn evaluate(arguments: &EvaluateArguments) -> Result<()> {
    let evaluation = evaluate_folders(&arguments.predictions, &arguments.labels, None)?;
    write(&evaluation, &arguments.out)?;
    println!("{}", render_table(&evaluation));
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
