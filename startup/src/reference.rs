//! The reference page of a program: every command with its usage, its flags and its examples, as Markdown, made
//! from what the program itself knows. Whether the page in the tree is up to date is for a test to say.

use clap::builder::PossibleValue;
use clap::{Arg, Command};
use std::fmt::Write as _;

/// The page. Commands that are hidden are not on it.
pub fn page(command: &Command) -> String {
    let mut command = command.clone();
    // Also tells each command what it is called by.
    command.build();
    let mut page = format!(
        "<!-- Made from the code; a test compares it, and writes it with UPDATE=1. -->\n\n# `{}`\n",
        command.get_name()
    );
    section(&command, &mut page);
    commands(&command, &mut page);
    page
}

fn commands(command: &Command, page: &mut String) {
    let visible = command
        .get_subcommands()
        .filter(|one| !one.is_hide_set() && one.get_name() != "help");
    for one in visible {
        let name = one.get_bin_name().unwrap_or(one.get_name());
        let _ = write!(page, "\n## `{name}`\n");
        section(one, page);
        commands(one, page);
    }
}

fn section(command: &Command, page: &mut String) {
    if let Some(about) = command.get_long_about().or(command.get_about()) {
        let _ = write!(page, "\n{about}\n");
    }
    let aliases: Vec<String> = command
        .get_visible_aliases()
        .map(|alias| format!("`{alias}`"))
        .collect();
    if !aliases.is_empty() {
        let _ = write!(page, "\nAlso: {}\n", aliases.join(", "));
    }
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ").trim_end();
    let _ = write!(page, "\n```text\n{usage}\n```\n");
    // What every command takes stands once, at the top.
    let is_top = !command
        .get_bin_name()
        .is_some_and(|name| name.contains(' '));
    let shown = command
        .get_arguments()
        .filter(|arg| !arg.is_hide_set() && (is_top || !arg.is_global_set()))
        .filter(|arg| !matches!(arg.get_id().as_str(), "help" | "version"));
    let lines: Vec<String> = shown.map(line).collect();
    if !lines.is_empty() {
        let _ = write!(page, "\n{}\n", lines.join("\n"));
    }
    if let Some(more) = command.get_after_help() {
        let _ = write!(page, "\n```text\n{}\n```\n", more.to_string().trim_end());
    }
}

fn line(arg: &Arg) -> String {
    let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    let mut line = format!("- `{}`: {}", called(arg), help.replace('\n', " "));
    let choices = arg.get_possible_values();
    let takes = arg.get_action().takes_values();
    if takes && !choices.is_empty() && !arg.is_hide_possible_values_set() {
        let names: Vec<&str> = choices.iter().map(PossibleValue::get_name).collect();
        let _ = write!(line, " (one of {})", names.join(", "));
    }
    let defaults: Vec<_> = arg
        .get_default_values()
        .iter()
        .map(|v| v.to_string_lossy())
        .collect();
    if takes && !defaults.is_empty() {
        let _ = write!(line, " [default: {}]", defaults.join(","));
    }
    if let Some(env) = arg.get_env() {
        let _ = write!(line, " [env: {}]", env.to_string_lossy());
    }
    line
}

fn called(arg: &Arg) -> String {
    let value = arg.get_value_names().map(|names| {
        let names = names.iter().map(|name| format!("<{name}>"));
        names.collect::<Vec<_>>().join(" ")
    });
    let value = value.unwrap_or_else(|| format!("<{}>", arg.get_id().as_str().to_uppercase()));
    let takes = arg.get_action().takes_values();
    match (arg.get_short(), arg.get_long()) {
        (None, None) => value,
        (short, long) => {
            let names = [
                short.map(|short| format!("-{short}")),
                long.map(|long| format!("--{long}")),
            ];
            let names = names.into_iter().flatten().collect::<Vec<_>>().join(", ");
            match takes {
                true => format!("{names} {value}"),
                false => names,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::ArgAction;

    #[test]
    fn each_command_has_its_flags_and_examples() {
        let flag = Arg::new("kept")
            .long("kept")
            .short('k')
            .value_name("TIME")
            .help("How long");
        let hidden = Command::new("secret").hide(true);
        let list = Command::new("list")
            .about("Lists")
            .visible_alias("ls")
            .arg(flag.default_value("1d"))
            .arg(
                Arg::new("all")
                    .long("all")
                    .action(ArgAction::SetTrue)
                    .help("All"),
            )
            .after_help("Examples:\n  p list");
        let page = page(
            &Command::new("p")
                .about("Does")
                .subcommand(list)
                .subcommand(hidden),
        );
        for part in [
            "# `p`\n\nDoes\n",
            "## `p list`\n\nLists\n\nAlso: `ls`\n",
            "- `-k, --kept <TIME>`: How long [default: 1d]\n- `--all`: All\n",
            "Examples:\n  p list\n```\n",
        ] {
            assert!(page.contains(part), "{part:?} in {page}");
        }
        assert!(!page.contains("secret"));
    }
}
