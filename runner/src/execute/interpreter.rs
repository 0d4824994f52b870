//! Which program runs a script: found once on this host, chosen per script.
//!
//! Not here: whether the host may run the script at all (its lane's demands), and the script's arguments.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use nix::unistd::{AccessFlags, access};
use schemas::Interpreter;
use thiserror::Error;
use tokio::process::Command;
use tokio::time::timeout;

/// How long an interpreter may take to say where it really is. A version manager's first start on a cold disk
/// takes a second or two.
const PROBE_PATIENCE: Duration = Duration::from_secs(10);

/// The allowed interpreters, and where on this host those of them are that exist.
#[derive(Clone, Debug, Default)]
pub struct Interpreters {
    allowed: Vec<Interpreter>,
    found: BTreeMap<Interpreter, PathBuf>,
}

/// What to execute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invocation {
    pub program: PathBuf,
    pub args: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NoInterpreter {
    #[error(
        "nothing says what runs \"{file}\": demand one of {}, use the extension .py, .sh, .js, .mjs or .cjs, \
         or begin the file with a #! line",
        list(&Interpreter::ALL)
    )]
    Unknown { file: String },
    #[error(
        "\"{file}\" needs {needed}, which this runner does not allow; it allows {}",
        list(allowed)
    )]
    NotAllowed {
        file: String,
        needed: Interpreter,
        allowed: Vec<Interpreter>,
    },
    #[error(
        "\"{file}\" needs {needed}, which this runner allows but did not find on its PATH; install it and \
         start the runner again"
    )]
    NotFound { file: String, needed: Interpreter },
}

impl Interpreters {
    /// Looks for the allowed interpreters in the folders of `search_path` (a `PATH`).
    ///
    /// One that does not answer is passed over in favour of the next on the path.
    pub async fn detect(allowed: &[Interpreter], search_path: &OsStr) -> Self {
        let mut found = BTreeMap::new();
        for interpreter in allowed {
            for folder in std::env::split_paths(search_path) {
                if let Some(program) = resolve(*interpreter, &folder).await {
                    found.insert(*interpreter, program);
                    break;
                }
            }
        }
        Self {
            allowed: allowed.to_vec(),
            found,
        }
    }

    /// Every interpreter that can be used here, with its program.
    pub fn found(&self) -> impl Iterator<Item = (Interpreter, &Path)> {
        self.found
            .iter()
            .map(|(interpreter, program)| (*interpreter, program.as_path()))
    }

    /// The interpreter of a script: by the script's *own* demand tags (not those of its lane, which are also
    /// its neighbours'), else by the file's extension, else by its `#!` line.
    ///
    /// # Errors
    /// When nothing decides, or what was decided on is not allowed or not there.
    pub fn choose<'a>(
        &self,
        demands: impl IntoIterator<Item = &'a str>,
        script_file: &str,
        first_bytes: &[u8],
    ) -> Result<Interpreter, NoInterpreter> {
        let file = script_file.to_owned();
        let known = Interpreter::choose(demands, script_file);
        let Some(needed) = known.or_else(|| of_first_line(first_bytes)) else {
            return Err(NoInterpreter::Unknown { file });
        };
        if !self.allowed.contains(&needed) {
            let allowed = self.allowed.clone();
            return Err(NoInterpreter::NotAllowed {
                file,
                needed,
                allowed,
            });
        }
        if !self.found.contains_key(&needed) {
            return Err(NoInterpreter::NotFound { file, needed });
        }
        Ok(needed)
    }

    /// The program and all its arguments for a script file. `None` for an interpreter that is not here.
    #[must_use]
    pub fn invocation(
        &self,
        interpreter: Interpreter,
        script_file: &str,
        args: impl IntoIterator<Item = String>,
    ) -> Option<Invocation> {
        let program = self.found.get(&interpreter)?.clone();
        // Quiet: else what uv says about downloads becomes part of the script's stderr.
        let before: &[&str] = match interpreter {
            Interpreter::Uv => &["run", "--quiet", "--script"],
            Interpreter::Bash | Interpreter::Python3 | Interpreter::Node => &[],
        };
        let mut all: Vec<String> = before.iter().map(ToString::to_string).collect();
        all.push(script_file.to_owned());
        all.extend(args);
        Some(Invocation { program, args: all })
    }
}

/// Arguments that make it print its own path: what is on the `PATH` may be a version manager's shim,
/// which costs tens of milliseconds per start.
fn probe(interpreter: Interpreter) -> Option<[&'static str; 2]> {
    match interpreter {
        Interpreter::Python3 => Some(["-c", "import sys; print(sys.executable)"]),
        Interpreter::Node => Some(["-p", "process.execPath"]),
        Interpreter::Uv | Interpreter::Bash => None,
    }
}

/// What a `#!` line names. Arguments on it do not count, except that `env` passes on to what it starts.
fn of_first_line(first_bytes: &[u8]) -> Option<Interpreter> {
    let line = first_bytes
        .strip_prefix(b"#!")?
        .split(|byte| *byte == b'\n')
        .next()?;
    let words = std::str::from_utf8(line).ok()?.split_whitespace();
    let name = words
        .filter(|word| !word.starts_with('-') && !word.contains('='))
        .filter_map(|word| Path::new(word).file_name()?.to_str())
        .find(|name| *name != "env")?;
    match name {
        "uv" => Some(Interpreter::Uv),
        "bash" | "sh" => Some(Interpreter::Bash),
        "node" | "nodejs" => Some(Interpreter::Node),
        "python" => Some(Interpreter::Python3),
        _ => name.starts_with("python3").then_some(Interpreter::Python3),
    }
}

async fn resolve(interpreter: Interpreter, folder: &Path) -> Option<PathBuf> {
    let candidate = folder.join(interpreter.tag());
    if !is_program(&candidate) {
        return None;
    }
    let Some(probe) = probe(interpreter) else {
        return Some(candidate);
    };
    let output = Command::new(&candidate)
        .args(probe)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = timeout(PROBE_PATIENCE, output).await.ok()?.ok()?;
    let real = PathBuf::from(String::from_utf8(output.stdout).ok()?.trim_end());
    (output.status.success() && is_program(&real)).then_some(real)
}

pub fn is_program(path: &Path) -> bool {
    path.is_absolute() && path.is_file() && access(path, AccessFlags::X_OK).is_ok()
}

fn list(interpreters: &[Interpreter]) -> String {
    match interpreters {
        [] => "none".to_owned(),
        some => some
            .iter()
            .map(|interpreter| interpreter.tag())
            .collect::<Vec<_>>()
            .join(", "),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use rstest::rstest;

    use super::*;
    use schemas::Interpreter::{Bash, Node, Python3, Uv};

    #[rstest]
    #[case::a_demand_wins(&["team", "uv"], "job.py", "", Uv)]
    #[case::also_over_a_foreign_extension(&["uv"], "job.sh", "", Uv)]
    #[case::several_by_extension(&["uv", "bash"], "job.sh", "", Bash)]
    #[case::several_that_fit(&["python3", "uv"], "job.py", "", Uv)]
    #[case::several_without(&["node", "python3"], "job", "", Python3)]
    #[case::python(&[], "job.py", "#!/bin/bash", Python3)]
    #[case::shell(&["team"], "job.sh", "", Bash)]
    #[case::bash(&[], "job.bash", "", Bash)]
    #[case::module(&[], "job.mjs", "", Node)]
    #[case::line(&[], "job", "#!/bin/bash\nexit", Bash)]
    #[case::sh_line(&[], "job", "#!/bin/sh -e\n", Bash)]
    #[case::env_line(&[], "job.txt", "#!/usr/bin/env python3\n", Python3)]
    #[case::version(&[], "job", "#! /usr/bin/python3.13", Python3)]
    #[case::env_options(&[], "job", "#!/usr/bin/env -S A=b uv run --script\n", Uv)]
    fn a_script_says_what_runs_it(
        #[case] demands: &[&str],
        #[case] file: &str,
        #[case] first: &str,
        #[case] expected: Interpreter,
    ) {
        let all = everywhere(&Interpreter::ALL);
        let chosen = all.choose(demands.iter().copied(), file, first.as_bytes());
        assert_eq!(chosen, Ok(expected));
    }

    #[rstest]
    #[case("job", b"".as_slice())]
    #[case("job.rb", b"#!/usr/bin/ruby\n")]
    #[case("job", b"#!")]
    #[case("job", b"#!\xff\xfe\n")]
    #[case("job", b"#!/usr/bin/env\n")]
    #[case("job", b"bash")]
    fn a_script_that_says_nothing_is_refused(#[case] file: &str, #[case] first: &[u8]) {
        let all = everywhere(&Interpreter::ALL);
        let refused = all.choose([], file, first).unwrap_err();
        let file = file.to_owned();
        assert_eq!(refused, NoInterpreter::Unknown { file });
    }

    #[test]
    fn refusals_name_what_is_allowed() {
        let mut some = everywhere(&[Bash, Node]);
        let refused = some.choose([], "a.py", b"").unwrap_err().to_string();
        assert!(refused.contains("needs python3"), "{refused}");
        assert!(refused.contains("allows bash, node"), "{refused}");
        some.found.clear();
        let refused = some.choose([], "a.sh", b"").unwrap_err();
        let file = "a.sh".to_owned();
        assert_eq!(refused, NoInterpreter::NotFound { file, needed: Bash });
    }

    #[test]
    fn only_uv_takes_words_of_its_own() {
        let all = everywhere(&Interpreter::ALL);
        let args = |interpreter| {
            let given = ["--a".to_owned(), "b c".to_owned()];
            all.invocation(interpreter, "/s/job", given).unwrap().args
        };
        assert_eq!(
            args(Uv),
            ["run", "--quiet", "--script", "/s/job", "--a", "b c"]
        );
        assert_eq!(args(Node), ["/s/job", "--a", "b c"]);
        assert_eq!(everywhere(&[]).invocation(Node, "x", []), None);
    }

    #[tokio::test]
    async fn detection_goes_through_shims_and_passes_broken_ones() {
        let host = tempfile::tempdir().unwrap();
        let folder = |name: &str| host.path().join(name);
        let program = |path: PathBuf, text: &str| {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        };
        let real = folder("real/python3.13");
        program(real.clone(), "");
        program(
            folder("shims/python3"),
            &format!("#!/bin/sh\necho {}\n", real.display()),
        );
        program(folder("broken/python3"), "#!/bin/sh\nexit 127\n");
        program(folder("shims/uv"), "");
        program(folder("shims/bash"), "");
        fs::create_dir_all(folder("broken/bash")).unwrap();
        symlink("/nowhere", folder("broken/uv")).unwrap();
        let path = std::env::join_paths(["broken", "shims"].map(folder)).unwrap();

        let found = Interpreters::detect(&[Uv, Python3, Node], &path).await;
        let found: Vec<_> = found.found().collect();
        let expected = [(Uv, folder("shims/uv")), (Python3, real)];
        assert_eq!(
            found,
            expected
                .each_ref()
                .map(|(tag, path)| (*tag, path.as_path()))
        );
    }

    fn everywhere(allowed: &[Interpreter]) -> Interpreters {
        Interpreters {
            allowed: allowed.to_vec(),
            found: allowed
                .iter()
                .map(|interpreter| (*interpreter, Path::new("/bin").join(interpreter.tag())))
                .collect(),
        }
    }
}
