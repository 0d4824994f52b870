//! Where things are in this clone, and how programs are started in it.

use std::env;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

pub struct Checkout {
    root: PathBuf,
    binaries: PathBuf,
}

impl Checkout {
    pub fn locate() -> io::Result<Checkout> {
        let manifest = env::var_os("CARGO_MANIFEST_DIR")
            .unwrap_or_else(|| OsString::from(env!("CARGO_MANIFEST_DIR")));
        let root = Path::new(&manifest).join("..").canonicalize()?;
        // Cargo puts us beside the binaries we start, wherever the target folder is.
        // Asked once and early: a rebuild replaces the file we were started from.
        let binaries = env::current_exe()?.with_file_name("");
        Ok(Checkout { root, binaries })
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    pub fn tools(&self) -> PathBuf {
        self.root.join(".tools")
    }

    /// A binary of this workspace, as the dev profile builds it.
    pub fn binary(&self, name: &str) -> PathBuf {
        self.binaries.join(name)
    }

    /// `path` as somebody in the clone's root would type it.
    pub fn relative<'a>(&self, path: &'a Path) -> &'a Path {
        path.strip_prefix(&self.root).unwrap_or(path)
    }

    pub fn cargo(&self, arguments: &[&str]) -> Command {
        let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = Command::new(cargo);
        command.args(arguments).current_dir(&self.root);
        command
    }

    /// `program` in the clone's root, finding the fetched tools before any others.
    pub fn with_tools(&self, mut command: Command) -> Command {
        let tools = self.tools().join("bin");
        command
            .current_dir(&self.root)
            .env("PATH", path_beginning_with(&tools, env::var_os("PATH")))
            .env("COORDINATOR_TOOLS", &tools);
        command
    }
}

fn path_beginning_with(first: &Path, rest: Option<OsString>) -> OsString {
    let mut path = OsString::from(first);
    if let Some(rest) = rest {
        // Not `join_paths`: it refuses what it is given as a whole if one entry is odd.
        path.push(":");
        path.push(rest);
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_holds_this_crate() {
        let checkout = Checkout::locate().unwrap();
        assert!(checkout.root().join("xtask/tools.txt").is_file());
        assert_eq!(checkout.relative(&checkout.tools()), Path::new(".tools"));
        assert_eq!(
            checkout.relative(Path::new("/elsewhere")),
            Path::new("/elsewhere")
        );
    }

    #[test]
    fn fetched_tools_come_first_on_the_path() {
        let tools = Path::new("/clone/.tools/bin");
        assert_eq!(
            path_beginning_with(tools, Some("/usr/bin:/bin".into())),
            "/clone/.tools/bin:/usr/bin:/bin"
        );
        assert_eq!(path_beginning_with(tools, None), "/clone/.tools/bin");
    }
}
