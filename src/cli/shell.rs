//! `completions` and `man`.

use super::Arguments;
use super::status::WrongInput;
use anyhow::Result;
use clap::{Args, CommandFactory};
use clap_complete::Shell;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub struct CompletionsArguments {
    /// Shell to complete in
    #[arg(value_enum, value_name = "SHELL")]
    shell: Shell,
}

#[derive(Debug, Args)]
pub struct ManArguments {
    /// Folder for vnet-engine.1 and a page for each command; created where it is missing
    #[arg(value_name = "DIR")]
    out: PathBuf,
}

/// Prints a completion script.
pub fn completions(arguments: &CompletionsArguments) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Arguments::command(), "vnet-engine", &mut script);
    // In scripts for bash, labels of subcommands escape the hyphen otherwise than what is looked up: clap-rs/clap#6421.
    out!("{}", String::from_utf8_lossy(&script).replace("vnet__subcmd__engine", "vnet__engine"));
    Ok(())
}

/// Writes the manual, a page per command.
pub fn man(arguments: &ManArguments) -> Result<()> {
    let out = &arguments.out;
    let wrong = |e: std::io::Error| WrongInput(format!("{}: cannot write the manual: {e}", out.display()));
    std::fs::create_dir_all(out).map_err(wrong)?;
    let mut command = Arguments::command().disable_help_subcommand(true);
    command.build();
    let mut pages = vec![(command.get_name().to_owned(), command.clone())];
    pages.extend(command.get_subcommands().map(|c| (format!("vnet-engine-{}", c.get_name()), c.clone())));
    for (name, command) in pages {
        // clap keeps names as they live; a page of a command is called by its full one.
        let name: &'static str = Box::leak(name.into_boxed_str());
        let mut page = Vec::new();
        clap_mangen::Man::new(command.name(name)).render(&mut page)?;
        let path = out.join(format!("{name}.1"));
        std::fs::write(&path, page).map_err(wrong)?;
        outln!("{}", path.display());
    }
    Ok(())
}
