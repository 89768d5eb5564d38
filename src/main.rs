//! The command line of vnet-engine. Only this program prints; the library never does.

mod cli;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    match cli::run(cli::Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let status = cli::exit_status(&error);
            // Messages name their cause themselves; what a signal ended is no error.
            let kind = if i32::from(status) > cli::BY_SIGNAL { "" } else { "error: " };
            eprintln!("{kind}{}", cli::message(&error));
            ExitCode::from(status)
        }
    }
}
