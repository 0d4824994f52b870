//! Whether a script's file can be read by what will run it, as far as that is on this host. Nothing of the script
//! is executed.

use std::ffi::OsStr;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use schemas::bundle::Folder;
use schemas::{Interpreter, SCRIPT_JSON, ScriptDocument};

/// What was found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// What would fail on every host.
    pub faults: Vec<String>,
    /// What could not be looked at here.
    pub skipped: Option<String>,
}

/// How many lines of an interpreter's complaint are repeated.
const LINES_MAX: usize = 8;

/// Reads Python without running it, and without leaving a compiled file; its name is the second argument.
const PYTHON: &str = "import ast, sys\n\
    try:\n    ast.parse(open(sys.argv[1], 'rb').read(), sys.argv[2])\n\
    except SyntaxError as e:\n    sys.exit(f'line {e.lineno}: {e.msg}')\n\
    except ValueError as e:\n    sys.exit(str(e))\n";

/// Looks at the file that a script's document names.
pub fn check(folder: &Folder) -> Checked {
    let json = folder.get(SCRIPT_JSON).map(|file| file.bytes.as_slice());
    let document = json.and_then(|json| ScriptDocument::from_json(json).ok());
    let Some(document) = document else {
        return Checked::default();
    };
    let name = document.script_file.as_str();
    let Some(file) = folder.get(name) else {
        return Checked::default();
    };
    match Interpreter::of(&document) {
        Some(interpreter) => read_by(interpreter, name, &file.bytes),
        None if file.bytes.starts_with(b"#!") => Checked::default(),
        None => fault(format!(
            "nothing says what runs {name}: demand one of uv, bash, python3, node, use the extension .py, .sh, .js, \
             or begin it with a #! line"
        )),
    }
}

fn fault(text: String) -> Checked {
    Checked {
        faults: vec![text],
        skipped: None,
    }
}

fn read_by(interpreter: Interpreter, name: &str, bytes: &[u8]) -> Checked {
    let program = match interpreter {
        // It starts the Python that it chooses; any one reads the same language.
        Interpreter::Uv | Interpreter::Python3 => "python3",
        Interpreter::Bash => "bash",
        Interpreter::Node => "node",
    };
    let Some(program) = find(program) else {
        return Checked {
            faults: Vec::new(),
            skipped: Some(format!(
                "{program} is not on this host, so {name} was not read by it"
            )),
        };
    };
    let said = said_of(&program, interpreter, name, bytes);
    match said {
        Ok(output) if output.status.success() => Checked::default(),
        Ok(output) => fault(complaint(name, &output)),
        Err(error) => Checked {
            faults: Vec::new(),
            skipped: Some(format!("{name} could not be looked at: {error}")),
        },
    }
}

fn said_of(
    program: &PathBuf,
    interpreter: Interpreter,
    name: &str,
    bytes: &[u8],
) -> std::io::Result<Output> {
    // By its own extension: node takes it for a module or for none.
    let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
    let mut file = tempfile::Builder::new()
        .suffix(&format!(".{extension}"))
        .tempfile()?;
    file.write_all(bytes)?;
    file.flush()?;
    let mut command = Command::new(program);
    match interpreter {
        Interpreter::Bash => command.args([OsStr::new("-n"), file.path().as_os_str()]),
        Interpreter::Node => command.args([OsStr::new("--check"), file.path().as_os_str()]),
        Interpreter::Uv | Interpreter::Python3 => command
            .args(["-I", "-c", PYTHON])
            .arg(file.path())
            .arg(name),
    };
    let output = command.stdin(Stdio::null()).output()?;
    // What it says names our copy; who reads it knows the other name.
    let copy = file.path().display().to_string();
    let stderr = String::from_utf8_lossy(&output.stderr).replace(&copy, name);
    Ok(Output {
        stderr: stderr.into_bytes(),
        ..output
    })
}

fn complaint(name: &str, output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    let lines: Vec<&str> = lines.take(LINES_MAX).collect();
    format!("{name} cannot be read: {}", lines.join("\n      "))
}

fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let mut places = std::env::split_paths(&path).map(|folder| folder.join(program));
    places.find(|place| place.is_file())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::bash(Interpreter::Bash, "a.sh", "if true; then\n", "a.sh")]
    #[case::python(Interpreter::Python3, "a.py", "def f(:\n", "line 1")]
    #[case::node(Interpreter::Node, "a.js", "function (", "a.js")]
    fn what_its_interpreter_cannot_read_is_said(
        #[case] interpreter: Interpreter,
        #[case] name: &str,
        #[case] text: &str,
        #[case] says: &str,
    ) {
        let checked = read_by(interpreter, name, text.as_bytes());
        let told = checked.faults.first().or(checked.skipped.as_ref()).unwrap();
        assert!(
            told.contains(says) || told.contains("not on this host"),
            "{told}"
        );
        assert!(read_by(interpreter, name, b"").faults.is_empty());
    }
}
