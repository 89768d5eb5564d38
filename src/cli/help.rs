//! `--help` of the program: its commands under headings, in the order of use.

use super::Arguments;
use clap::CommandFactory;
use clap::builder::StyledStr;
use std::fmt::Write;

/// Headings, each with its commands.
pub const GROUPS: [(&str, &[&str]); 5] = [
    ("A first look", &["demo", "doctor"]),
    ("Your own data", &["inspect", "plan", "train", "cross-validate", "segment", "evaluate"]),
    ("A closer look", &["augment", "info", "bench", "devices", "phantom"]),
    ("Other programs", &["export", "import", "forward"]),
    ("The shell", &["completions", "man", "help"]),
];

/// The command line. clap has one heading for all subcommands, so the template lists them.
pub fn command() -> clap::Command {
    let mut built = Arguments::command();
    built.build();
    let template = template(&built);
    Arguments::command().help_template(template)
}

/// Usage, the commands with a line for each, and what clap makes of options and examples.
fn template(command: &clap::Command) -> StyledStr {
    let (heading, literal) = (*command.get_styles().get_header(), *command.get_styles().get_literal());
    let mut text = StyledStr::from("{about-with-newline}\n{usage-heading} {usage}\n\n");
    for (title, names) in GROUPS {
        let _ = writeln!(text, "{heading}{title}:{heading:#}");
        for name in names {
            let about = command.find_subcommand(name).and_then(clap::Command::get_about).cloned().unwrap_or_default();
            let _ = writeln!(text, "  {literal}{name:<15}{literal:#} {about}");
        }
        let _ = writeln!(text);
    }
    let _ = write!(text, "{heading}Options:{heading:#}\n{{options}}{{after-help}}");
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// Columns of the narrowest terminal in which an option has a line to itself.
    const COLUMNS: usize = 100;

    fn built() -> clap::Command {
        let mut command = command().term_width(COLUMNS);
        command.build();
        command
    }

    #[test]
    fn every_command_is_listed_once_and_in_order() {
        let listed: Vec<&str> = GROUPS.iter().flat_map(|(_, names)| names.iter().copied()).collect();
        let command = built();
        let commands: Vec<&str> = command.get_subcommands().map(clap::Command::get_name).collect();
        assert_eq!(listed.iter().collect::<BTreeSet<_>>(), commands.iter().collect::<BTreeSet<_>>());
        assert_eq!(listed.len(), commands.len());
    }

    #[test]
    fn every_option_has_one_line() {
        for mut command in built().get_subcommands().filter(|command| command.get_name() != "help").cloned() {
            let (name, options) = (command.get_name().to_owned(), command.get_arguments().count());
            let help = command.render_help().to_string();
            let lines =
                help.lines().skip_while(|line| !line.ends_with(':')).take_while(|line| !line.contains("Example"));
            let lines = lines.filter(|line| line.starts_with(' ')).count();
            assert!(lines <= options, "{name}: {lines} lines for {options} options\n{help}");
        }
    }
}
