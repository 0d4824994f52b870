//! `coordinator completion`: what a shell sources to complete our lines, and the answers it gets while somebody
//! types. The names come from `names`.

use clap::builder::EnumValueParser;
use clap::{Arg, Args, Command, CommandFactory as _, ValueEnum};
use clap_complete::ArgValueCandidates;
use clap_complete::env::{CompleteEnv, Shells};

use super::Cli;
use super::failure::Failure;
use super::names::{Kind, names};
use super::output::Output;

/// By this variable a shell says that it only wants to know what could follow.
const ASKED_BY: &str = "COORDINATOR_COMPLETE";
const PROGRAM: &str = "coordinator";

/// Print what your shell needs to complete commands, flags, and the names of what the coordinator has
#[derive(Args, Debug)]
#[command(after_help = "\
Names of scripts, agents, runs and runners are asked from the coordinator while you type, with the
context, flags and environment that the command would have; one that does not answer within a second
is not waited for.

Examples:
  source <(coordinator completion bash)                # in ~/.bashrc
  source <(coordinator completion zsh)                 # in ~/.zshrc, after compinit
  coordinator completion fish | source                 # in ~/.config/fish/config.fish")]
pub struct CompletionArgs {
    /// The shell: bash, zsh or fish
    #[arg(value_parser = EnumValueParser::<Shell>::new())]
    shell: Shell,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

/// Answers a shell that asks what could follow, and ends the process; else does nothing.
pub fn complete() {
    CompleteEnv::with_factory(|| with_names(Cli::command()))
        .var(ASKED_BY)
        .complete();
}

pub fn run(output: &Output, args: &CompletionArgs) -> Result<(), Failure> {
    let shell = args.shell.to_possible_value();
    let shells = Shells::builtins();
    let shell = shell.and_then(|shell| shells.completer(shell.get_name()));
    let Some(shell) = shell else {
        return Err(Failure::usage("this shell is not known").hint("bash, zsh or fish"));
    };
    let mut script = Vec::new();
    shell
        .write_registration(ASKED_BY, PROGRAM, PROGRAM, PROGRAM, &mut script)
        .map_err(Failure::output)?;
    output.raw(&script)
}

/// What each noun's first argument names.
const NOUNS: [(&str, Kind); 8] = [
    ("script", Kind::Scripts),
    ("agent", Kind::Agents),
    ("capability", Kind::Capabilities),
    ("lane", Kind::Lanes),
    ("run", Kind::Runs),
    ("runner", Kind::Runners),
    ("token", Kind::Tokens),
    ("context", Kind::Contexts),
];

/// Verbs whose first argument is a new name, or a path.
const NEW: [&str; 4] = ["create", "new", "add", "check"];

/// Flags that name something wherever they stand.
const FLAGS: [(&str, Kind); 4] = [
    ("script", Kind::Scripts),
    ("agent", Kind::Agents),
    ("runner", Kind::Runners),
    ("context", Kind::Contexts),
];

fn with_names(command: Command) -> Command {
    let command = command.mut_args(flag);
    command.mut_subcommands(|noun| {
        let kind = of(&NOUNS, noun.get_name());
        let noun = noun.mut_args(flag);
        noun.mut_subcommands(|verb| {
            let verb = verb.mut_args(flag);
            match kind.filter(|_| !NEW.contains(&verb.get_name())) {
                Some(kind) => first_argument(verb, kind),
                None => verb,
            }
        })
    })
}

fn first_argument(verb: Command, kind: Kind) -> Command {
    let first = verb
        .get_positionals()
        .next()
        .map(|arg| arg.get_id().clone());
    // One by one: `mut_arg` would put it behind the others, and their order is what they mean.
    verb.mut_args(|arg| match Some(arg.get_id()) == first.as_ref() {
        true => named(arg, kind),
        false => arg,
    })
}

fn flag(arg: Arg) -> Arg {
    match arg.get_long().and_then(|long| of(&FLAGS, long)) {
        Some(kind) => named(arg, kind),
        None => arg,
    }
}

fn named(arg: Arg, kind: Kind) -> Arg {
    arg.add(ArgValueCandidates::new(move || names(kind)))
}

fn of(table: &[(&str, Kind)], name: &str) -> Option<Kind> {
    let found = table.iter().find(|(known, _)| *known == name);
    found.map(|(_, kind)| *kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_names_something_is_completed_and_what_is_new_is_not() {
        let mut command = with_names(Cli::command());
        command.build();
        for (noun, verb, expected) in [
            ("script", "show", true),
            ("script", "new", false),
            ("agent", "run", true),
            ("run", "logs", true),
            ("runner", "drain", true),
            ("token", "revoke", true),
        ] {
            let noun = command.find_subcommand(noun).unwrap();
            let verb = noun.find_subcommand(verb).unwrap();
            let first = verb.get_positionals().next().unwrap();
            let found = first.get::<ArgValueCandidates>().is_some();
            assert_eq!(found, expected, "{} {}", noun.get_name(), verb.get_name());
        }
    }
}
