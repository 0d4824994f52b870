//! `coordinator script new`: the folder of a script to begin with, one template per interpreter. It writes
//! here only; `apply` sends it.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use schemas::{Interpreter, Name};
use serde_json::{Value, json};

use super::failure::Failure;
use super::folder::Kind;
use super::init::write_all;
use super::output::Output;
use super::terminal::note;

/// Write a new script's folder from a template: what runs, and what says what it takes
#[derive(Args, Debug)]
#[command(after_help = "\
The folder is scripts/NAME below --dir, so that `apply -f DIR` finds it.

Examples:
  coordinator script new greet
  coordinator script new report --interpreter uv --agent
  coordinator script new cleanup -i python3 --dir automations && coordinator script check automations")]
pub struct NewArgs {
    /// Name of the script
    name: Name,

    /// What runs it: bash, python3, uv or node
    #[arg(short, long, value_enum, default_value = "bash")]
    interpreter: Template,

    /// The folder that holds `scripts/` and `agents/`
    #[arg(short, long, value_name = "DIR", default_value = ".")]
    dir: PathBuf,

    /// What it does, in one sentence
    #[arg(long, value_name = "TEXT", default_value = "Says hello")]
    description: String,

    /// Write an agent of the same name as well, so that it can be run
    #[arg(long)]
    agent: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Template {
    Bash,
    Python3,
    Uv,
    Node,
}

impl Template {
    fn interpreter(self) -> Interpreter {
        match self {
            Self::Bash => Interpreter::Bash,
            Self::Python3 => Interpreter::Python3,
            Self::Uv => Interpreter::Uv,
            Self::Node => Interpreter::Node,
        }
    }

    fn extension(self) -> &'static str {
        match self {
            Self::Bash => "sh",
            Self::Python3 | Self::Uv => "py",
            Self::Node => "js",
        }
    }

    fn text(self) -> &'static str {
        match self {
            Self::Bash => include_str!("../../templates/script.sh"),
            Self::Python3 => include_str!("../../templates/script.py"),
            Self::Uv => include_str!("../../templates/script-uv.py"),
            Self::Node => include_str!("../../templates/script.js"),
        }
    }
}

pub fn run(output: &Output, quiet: bool, args: &NewArgs) -> Result<(), Failure> {
    let files = files(args);
    write_all(&args.dir, &files)?;
    for (path, _) in &files {
        output.line(&args.dir.join(path).display().to_string())?;
    }
    if !quiet {
        let dir = args.dir.display();
        note(&format!(
            "next: coordinator script check {dir}, then coordinator apply -f {dir}"
        ));
    }
    Ok(())
}

fn files(args: &NewArgs) -> Vec<(String, Vec<u8>)> {
    let name = args.name.as_str();
    let script_file = format!("{name}.{}", args.interpreter.extension());
    let folder = format!("{}/{name}", Kind::Script.plural());
    let content = args.interpreter.text().replace("NAME", name);
    let mut files = vec![
        (
            format!("{folder}/script.json"),
            pretty(&script(args, &script_file)),
        ),
        (format!("{folder}/{script_file}"), content.into_bytes()),
    ];
    if args.agent {
        let path = format!("{}/{name}/agent.json", Kind::Agent.plural());
        files.push((path, pretty(&agent(args))));
    }
    files
}

fn script(args: &NewArgs, script_file: &str) -> Value {
    json!({
        "name": args.name,
        "description": args.description,
        "script_file": script_file,
        "parameters_schema": {
            "type": "object",
            "properties": {
                "name": {"type": "string", "default": "world", "description": "Whom to greet"},
            },
            "additionalProperties": false,
        },
        "output_schema": {
            "type": "object",
            "required": ["greeting"],
            "properties": {"greeting": {"type": "string"}},
        },
        "demands": {"tags": [args.interpreter.interpreter().tag()]},
    })
}

fn agent(args: &NewArgs) -> Value {
    json!({
        "name": args.name,
        "type": "procedural",
        "description": args.description,
        "script": args.name,
    })
}

fn pretty(document: &Value) -> Vec<u8> {
    format!("{document:#}\n").into_bytes()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::super::{folder, script_syntax};
    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: NewArgs,
    }

    /// What is written is what the coordinator takes, and what its interpreter reads.
    #[test]
    fn every_template_is_a_script() {
        for interpreter in ["bash", "python3", "uv", "node"] {
            let dir = tempfile::tempdir().unwrap();
            let line = ["new", "greet-all", "--agent", "-i", interpreter];
            let args = Line::parse_from(line).args;
            write_all(dir.path(), &files(&args)).unwrap();
            let packed = folder::pack(&dir.path().join("scripts/greet-all")).unwrap();
            assert_eq!(packed.name, "greet-all");
            folder::agent(&dir.path().join("agents/greet-all")).unwrap();
            let checked = script_syntax::check(&packed.folder);
            assert!(
                checked.faults.is_empty(),
                "{interpreter}: {:?}",
                checked.faults
            );
        }
    }
}
