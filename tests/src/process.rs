//! Child processes that end with the story, whatever happens to it.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};

/// A process that is killed when it is dropped.
pub struct Process {
    child: Child,
    name: &'static str,
}

impl Process {
    pub fn start(name: &'static str, command: &mut Command) -> Self {
        let child = command
            .spawn()
            .unwrap_or_else(|error| panic!("{name} does not start: {error}"));
        Self { child, name }
    }

    /// What it says on stderr, where that was piped; once.
    pub fn stderr(&mut self) -> std::process::ChildStderr {
        self.child.stderr.take().unwrap()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.pid()).unwrap());
        kill(pid, signal)
            .unwrap_or_else(|error| panic!("{} cannot get {signal}: {error}", self.name));
    }

    /// `kill -9`, and waits until it is gone.
    pub fn kill(&mut self) {
        if self.exited().is_none() {
            self.signal(Signal::SIGKILL);
        }
        self.child.wait().unwrap();
    }

    pub fn exited(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// The repository's root.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_owned()
}

/// A program fetched by `cargo verify`, or found on the machine.
pub fn tool(name: &str) -> PathBuf {
    let fetched = root().join(".tools/bin").join(name);
    if fetched.exists() {
        return fetched;
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|dir| dir.join(name))
        .find(|program| program.exists())
        .unwrap_or_else(|| {
            panic!("no {name}: run `cargo verify` once, it fetches what the tests need")
        })
}

/// One of our own binaries, as built beside this test.
pub fn binary(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    // target/<profile>/deps/<test> → target/<profile>/<name>
    let folder = test.ancestors().nth(2).unwrap();
    let program = folder.join(name);
    assert!(
        program.exists(),
        "no {program:?}: run `cargo build --workspace` first, as `cargo verify` does"
    );
    program
}

/// The machine's `PATH` with our fetched tools in front.
pub fn path_with_tools() -> std::ffi::OsString {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let tools = root().join(".tools/bin");
    let folders = [tools].into_iter().chain(std::env::split_paths(&path));
    std::env::join_paths(folders).unwrap()
}
