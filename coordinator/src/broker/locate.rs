//! Finds a nats-server that is new enough, and when there is none says where it looked and what
//! was wrong there. Downloads nothing (`fetch` does, when asked to).

use std::ffi::OsString;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::server::{Candidate, Fault, OLDEST, PROGRAM, Server};

/// Where to look.
#[derive(Debug, Clone, Default)]
pub struct Search {
    /// `--nats-server`. If it is given nothing else is looked at.
    pub setting: Option<PathBuf>,
    /// `COORDINATOR_TOOLS`: a folder like `.tools`.
    pub tools: Option<PathBuf>,
    /// Folders from which `.tools` is searched upwards: the current one, the executable's.
    pub upwards_from: Vec<PathBuf>,
    /// `PATH`.
    pub path: Option<OsString>,
    pub data_dir: PathBuf,
}

#[derive(Debug, thiserror::Error)]
#[error(
    "no nats-server {OLDEST} or newer was found. Looked at:\n{}\n\
     PATH has no other, and no other .tools folder lies above the current folder or the \
     executable.\nStart again with --fetch-broker \
     to have version 2.15.1 put into the data folder, or install nats-server (from nats.io or \
     your package manager) and give its path with --nats-server, or run `cargo demo` once in the \
     source tree, or use a broker of your own with --nats-url",
    tried.iter().map(|place| format!("  {place}")).collect::<Vec<_>>().join("\n")
)]
pub struct NotFound {
    pub tried: Vec<Candidate>,
}

impl Search {
    /// The places of this process: current folder, executable and `PATH`.
    #[must_use]
    pub fn of_process(setting: Option<PathBuf>, tools: Option<PathBuf>, data_dir: &Path) -> Self {
        let executable = std::env::current_exe().ok();
        let beside = executable
            .as_deref()
            .and_then(Path::parent)
            .map(Path::to_path_buf);
        Self {
            setting,
            tools,
            upwards_from: std::env::current_dir()
                .ok()
                .into_iter()
                .chain(beside)
                .collect(),
            path: std::env::var_os("PATH"),
            data_dir: data_dir.to_path_buf(),
        }
    }

    /// The first nats-server that is new enough.
    pub fn locate(&self) -> Result<Server, NotFound> {
        let mut tried = Vec::new();
        for (path, trust) in self.places() {
            match try_trusted(path, trust) {
                Ok(server) => return Ok(server),
                Err(candidate) => tried.push(candidate),
            }
        }
        Err(NotFound { tried })
    }

    fn places(&self) -> Vec<(PathBuf, Trust)> {
        if let Some(path) = &self.setting {
            return vec![(path.clone(), Trust::Given)];
        }
        let mut places: Vec<(PathBuf, Trust)> = Vec::new();
        let mut add = |path: PathBuf, trust| {
            if !places.iter().any(|(known, _)| *known == path) {
                places.push((path, trust));
            }
        };
        if let Some(tools) = &self.tools {
            add(in_tools(tools), Trust::Given);
        }
        for tools in self
            .upwards_from
            .iter()
            .filter_map(|from| tools_above(from))
        {
            add(in_tools(&tools), Trust::ByOwner);
        }
        for folder in self.path.iter().flat_map(std::env::split_paths) {
            let program = folder.join(PROGRAM);
            // A search path has many folders; only what is there is worth a line.
            if folder.is_absolute() && program.exists() {
                add(program, Trust::Given);
            }
        }
        add(fetched(&self.data_dir), Trust::Given);
        places
    }
}

/// Where `fetch` puts it.
pub(super) fn fetched(data_dir: &Path) -> PathBuf {
    in_tools(&data_dir.join("broker").join("dist"))
}

/// Whether somebody named the place, or we came upon it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trust {
    Given,
    /// Anybody may make `/tmp/.tools` and wait for us to start below `/tmp`.
    ByOwner,
}

fn try_trusted(path: PathBuf, trust: Trust) -> Result<Server, Candidate> {
    if trust == Trust::ByOwner && !is_ours(&path) {
        return Err(Candidate {
            path,
            fault: Fault::ForeignOwner,
        });
    }
    Server::try_at(path)
}

fn is_ours(path: &Path) -> bool {
    let us = nix::unistd::geteuid().as_raw();
    // What is missing is reported as missing.
    path.metadata()
        .map_or(true, |file| file.uid() == us || file.uid() == 0)
}

fn in_tools(tools: &Path) -> PathBuf {
    tools.join("bin").join(PROGRAM)
}

/// The nearest `.tools`; a source tree has one at its top.
fn tools_above(from: &Path) -> Option<PathBuf> {
    from.ancestors()
        .map(|folder| folder.join(".tools"))
        .find(|tools| tools.is_dir())
}

#[cfg(test)]
mod tests {
    use super::super::server::tests::{program, says};
    use super::*;

    #[test]
    fn places_are_tried_in_order_and_an_old_server_is_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let old = folder.path().join("old");
        let tree = folder.path().join("tree");
        let data = folder.path().join("data");
        program(&old, &says("nats-server: v2.9.10"));
        let fetched = program(&data.join("broker/dist"), &says("nats-server: v2.15.1"));
        let mut search = Search {
            tools: Some(folder.path().join("none")),
            upwards_from: vec![tree.join("a/b")],
            path: Some(old.join("bin").into_os_string()),
            data_dir: data,
            ..Search::default()
        };
        assert_eq!(search.locate().unwrap().path, fetched);

        let in_tree = program(&tree.join(".tools"), &says("nats-server: v2.14.6"));
        assert_eq!(search.locate().unwrap().path, in_tree);

        search.setting = Some(old.join("bin/nats-server"));
        let error = search.locate().unwrap_err();
        assert_eq!(error.tried.len(), 1, "{error}");
    }

    #[test]
    fn not_found_names_every_place_and_the_ways_out() {
        let folder = tempfile::tempdir().unwrap();
        let old = folder.path().join("old");
        program(&old, &says("nats-server: v2.9.10"));
        let search = Search {
            tools: Some("/no/tools".into()),
            path: Some(old.join("bin").into_os_string()),
            data_dir: folder.path().join("data"),
            ..Search::default()
        };
        let text = search.locate().unwrap_err().to_string();
        for part in [
            "/no/tools/bin/nats-server: not there",
            "old/bin/nats-server: version 2.9.10 is too old",
            "data/broker/dist/bin/nats-server: not there",
            "--fetch-broker",
            "--nats-server",
            "cargo demo",
            "package manager",
        ] {
            assert!(text.contains(part), "{part} is missing in {text}");
        }
    }
}
