//! The command line of vnet-engine. Only this program prints, all of it in `cli::output`; the library never does.
#![warn(clippy::print_stdout, clippy::print_stderr)]

mod cli;

use clap::FromArgMatches;
use cli::output;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments = match cli::command().try_get_matches().and_then(|found| cli::Arguments::from_arg_matches(&found)) {
        Ok(arguments) => arguments,
        Err(error) => return output::usage(&error),
    };
    let done = cli::run(arguments);
    // Results are lost on top of what went wrong before, which is told first and decides on the status.
    let printed = output::finish().map_err(anyhow::Error::from);
    let errors: Vec<anyhow::Error> = [done, printed].into_iter().filter_map(Result::err).collect();
    for error in &errors {
        // Messages name their cause themselves; what a signal ended is no error.
        let kind = if i32::from(cli::exit_status(error)) > cli::BY_SIGNAL { "" } else { "error: " };
        output::print_message(format_args!("{kind}{}", cli::message(error)));
    }
    errors.first().map_or(ExitCode::SUCCESS, |error| ExitCode::from(cli::exit_status(error)))
}
