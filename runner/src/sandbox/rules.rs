//! Which paths the scripts of a runner may reach, and how. Pure: what a path really is, the caller says.

use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// The system: programs, libraries, settings, certificates, and what the kernel tells. No homes, and no
/// `/var`, `/run` or `/tmp`, where other people's secrets and sockets lie.
const SYSTEM: [&str; 15] = [
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/etc",
    "/opt",
    "/proc",
    "/sys",
    "/nix/store",
    "/gnu/store",
    "/snap",
    "/var/lib/ca-certificates",
    "/var/lib/snapd",
];

/// Usually a link to where the host's own resolver keeps it, below `/run`.
const RESOLVER: &str = "/etc/resolv.conf";

/// Devices that hold nothing of anybody's.
const DEVICES: [&str; 8] = [
    "/dev/null",
    "/dev/zero",
    "/dev/full",
    "/dev/random",
    "/dev/urandom",
    "/dev/tty",
    "/dev/ptmx",
    "/dev/pts",
];

/// Shared memory, as Python's `multiprocessing` needs it.
const SHARED_MEMORY: &str = "/dev/shm";

/// What an interpreter needs beside its own folder. Not the whole of what is around it, which may be
/// somebody's home or `~/.local`.
const BESIDE_PROGRAMS: [&str; 7] = [
    "lib",
    "lib64",
    "libexec",
    "include",
    "etc",
    "ssl",
    "pyvenv.cfg",
];

/// A file, or a folder with all that is below it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Rule {
    pub path: PathBuf,
    pub access: Access,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Access {
    /// To read, list and execute.
    Read,
    /// To open, read and write, and to control.
    Device,
    /// Also to make, change, move and remove. No device files.
    Write,
}

/// What the rules of a runner are made from.
pub struct Places<'a> {
    pub project_dir: &'a Path,
    pub uv_cache_dir: &'a Path,
    /// Interpreters.
    pub programs: Vec<&'a Path>,
    /// Values that scripts get in their environment; those that are paths can be read there.
    pub passed: Vec<&'a str>,
    pub allow_read: &'a [PathBuf],
    pub allow_write: &'a [PathBuf],
    /// Folders that are none of a script's business. Only what somebody asked for by name reaches into them.
    pub secret: Vec<&'a Path>,
}

/// The rules for every script of a runner. A run adds its own folders.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Sorted, none within another that allows the same.
    pub rules: Vec<Rule>,
    /// Not allowed, though part of the system, because a secret lies within.
    pub withheld: Vec<PathBuf>,
    /// Secrets that can be reached all the same, because they lie within what was asked for.
    pub exposed: Vec<PathBuf>,
}

impl Places<'_> {
    /// `real` says where a path leads, links followed, or that there is nothing.
    pub fn plan(&self, real: impl Fn(&Path) -> Option<PathBuf>) -> Plan {
        let resolved = |paths: Vec<PathBuf>, access| -> Vec<Rule> {
            let real = paths.iter().filter_map(|path| real(path));
            real.map(|path| Rule { path, access }).collect()
        };
        let secret: Vec<PathBuf> = self.secret.iter().filter_map(|path| real(path)).collect();
        let holds_secret = |path: &Path| secret.iter().any(|secret| secret.starts_with(path));
        let mut own = resolved(self.readable(&real), Access::Read);
        own.extend(resolved(paths(DEVICES), Access::Device));
        let (withheld, mut rules): (Vec<Rule>, Vec<Rule>) =
            own.into_iter().partition(|rule| holds_secret(&rule.path));
        let mut asked = resolved(self.allow_read.to_vec(), Access::Read);
        asked.extend(resolved(self.writable(), Access::Write));
        let is_exposed = |secret: &PathBuf| asked.iter().any(|rule| secret.starts_with(&rule.path));
        let exposed = secret.iter().filter(|path| is_exposed(path)).cloned();
        let exposed = exposed.collect();
        rules.extend(asked);
        let mut withheld: Vec<PathBuf> = withheld.into_iter().map(|rule| rule.path).collect();
        withheld.sort();
        withheld.dedup();
        Plan {
            rules: needed(rules),
            withheld,
            exposed,
        }
    }

    fn readable(&self, real: &impl Fn(&Path) -> Option<PathBuf>) -> Vec<PathBuf> {
        let mut readable = paths(SYSTEM);
        // Its folder: the file is replaced, not changed, when the network does.
        let resolver = real(Path::new(RESOLVER));
        readable.extend(resolver.and_then(|file| Some(file.parent()?.to_owned())));
        for program in &self.programs {
            // As it was found, as with a virtual environment, and where it really is.
            let found = [Some(program.to_path_buf()), real(program)];
            readable.extend(found.into_iter().flatten().flat_map(|at| around(&at)));
        }
        let passed = self.passed.iter().map(PathBuf::from);
        readable.extend(passed.filter(|path| path.is_absolute()));
        readable
    }

    fn writable(&self) -> Vec<PathBuf> {
        let mut writable = paths([SHARED_MEMORY]);
        writable.push(self.project_dir.to_owned());
        writable.push(self.uv_cache_dir.to_owned());
        writable.extend_from_slice(self.allow_write);
        writable
    }
}

impl Plan {
    /// The rules of one run: those of all, what it is made of, and its own folder.
    #[must_use]
    pub fn for_run(&self, reads: &[PathBuf], folder: &Path) -> Vec<Rule> {
        let mut rules = self.rules.clone();
        rules.extend(reads.iter().map(|path| Rule {
            path: path.clone(),
            access: Access::Read,
        }));
        rules.push(Rule {
            path: folder.to_owned(),
            access: Access::Write,
        });
        rules
    }
}

/// The folder of a program, and what it needs of those beside it.
#[must_use]
pub fn around(program: &Path) -> Vec<PathBuf> {
    let Some(folder) = program.parent() else {
        return Vec::new();
    };
    let mut around = vec![folder.to_owned()];
    if let (Some(name), Some(beside)) = (folder.file_name(), folder.parent())
        && name == "bin"
    {
        around.extend(BESIDE_PROGRAMS.map(|name| beside.join(name)));
    }
    around
}

/// Without those that lie within others which allow as much: each costs every run three system calls.
fn needed(mut rules: Vec<Rule>) -> Vec<Rule> {
    rules.sort();
    rules.dedup();
    let is_within = |rule: &Rule, other: &Rule| {
        let as_much = other.access == rule.access
            || (other.access == Access::Write && rule.access == Access::Read);
        other != rule && as_much && rule.path.starts_with(&other.path)
    };
    let all = rules.clone();
    rules.retain(|rule| !all.iter().any(|other| is_within(rule, other)));
    rules
}

fn paths<const N: usize>(names: [&str; N]) -> Vec<PathBuf> {
    names.map(PathBuf::from).to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    /// A host where everything exists and is no link, but for these.
    fn plan(places: &Places) -> Plan {
        places.plan(|path| {
            Some(PathBuf::from(match path.to_str()? {
                "/bin" => "/usr/bin",
                "/lib" | "/lib32" | "/lib64" => return None,
                "/etc/resolv.conf" => "/run/resolver/stub.conf",
                "/venv/bin/python3" => "/opt/python/bin/python3.12",
                "/home/u/.local/bin/uv" => "/home/u/.local/bin/uv",
                other => other,
            }))
        })
    }

    fn places() -> Places<'static> {
        Places {
            project_dir: Path::new("/srv/project"),
            uv_cache_dir: Path::new("/home/u/.cache/uv"),
            programs: vec![
                Path::new("/usr/bin/bash"),
                Path::new("/venv/bin/python3"),
                Path::new("/home/u/.local/bin/uv"),
            ],
            passed: vec!["/home/u/certs.pem", "not/absolute", "text"],
            allow_read: &[],
            allow_write: &[],
            secret: vec![
                Path::new("/home/u/.local/state/runner"),
                Path::new("/home/u/.local/share/coordinator"),
            ],
        }
    }

    /// The most that a path may be used for.
    fn access(plan: &Plan, path: &str) -> Option<Access> {
        let holds = |rule: &&Rule| Path::new(path).starts_with(&rule.path);
        plan.rules
            .iter()
            .filter(holds)
            .map(|rule| rule.access)
            .max()
    }

    #[rstest]
    #[case::programs("/usr/bin/grep", Some(Access::Read))]
    #[case::settings("/etc/ssl/certs/ca.pem", Some(Access::Read))]
    #[case::what_the_kernel_tells("/proc/self/status", Some(Access::Read))]
    #[case::where_the_resolver_writes("/run/resolver/resolv.conf", Some(Access::Read))]
    #[case::a_virtual_environment("/venv/lib/python3.12/site.py", Some(Access::Read))]
    #[case::its_marker("/venv/pyvenv.cfg", Some(Access::Read))]
    #[case::its_base("/opt/python/lib/libpython.so", Some(Access::Read))]
    #[case::a_program_at_home("/home/u/.local/bin/uv", Some(Access::Read))]
    #[case::a_passed_path("/home/u/certs.pem", Some(Access::Read))]
    #[case::the_project("/srv/project/a/b", Some(Access::Write))]
    #[case::the_cache_of_uv("/home/u/.cache/uv/x", Some(Access::Write))]
    #[case::shared_memory("/dev/shm/sem.x", Some(Access::Write))]
    #[case::nothing("/dev/null", Some(Access::Device))]
    #[case::a_disk("/dev/sda", None)]
    #[case::credentials("/home/u/.local/state/runner/membership.json", None)]
    #[case::the_token("/home/u/.local/share/coordinator/admin.token", None)]
    #[case::other_runs("/home/u/.local/state/runner/runs/run_2/params.json", None)]
    #[case::a_home("/home/u/.ssh/id_ed25519", None)]
    #[case::other_homes("/home/other/.bashrc", None)]
    #[case::sockets("/run/docker.sock", None)]
    #[case::temporary_files("/tmp/x", None)]
    #[case::beside_the_project("/srv/other", None)]
    #[case::a_longer_name("/srv/project-2", None)]
    #[case::the_system_itself("/", None)]
    fn scripts_reach_what_they_need(#[case] path: &str, #[case] expected: Option<Access>) {
        assert_eq!(access(&plan(&places()), path), expected);
    }

    #[test]
    fn a_run_reaches_its_own_folders_and_no_other_runs() {
        let run = |name: &str| PathBuf::from("/home/u/.local/state/runner/runs").join(name);
        let rules = plan(&places()).for_run(&["/scripts/.bundles/a".into()], &run("run_1"));
        let plan = Plan {
            rules,
            ..Plan::default()
        };
        let own = run("run_1").join("tmp/x");
        assert_eq!(access(&plan, own.to_str().unwrap()), Some(Access::Write));
        assert_eq!(
            access(&plan, "/scripts/.bundles/a/x.sh"),
            Some(Access::Read)
        );
        for path in [
            "/scripts/.bundles/b",
            "/scripts/.owners/r",
            run("run_2").to_str().unwrap(),
        ] {
            assert_eq!(access(&plan, path), None, "{path}");
        }
    }

    #[test]
    fn what_is_asked_for_is_allowed() {
        let (read, write) = ([PathBuf::from("/data")], [PathBuf::from("/tmp")]);
        let plan = plan(&Places {
            allow_read: &read,
            allow_write: &write,
            ..places()
        });
        assert_eq!(access(&plan, "/data/x"), Some(Access::Read));
        assert_eq!(access(&plan, "/tmp/x"), Some(Access::Write));
        assert!(plan.exposed.is_empty(), "{plan:?}");
    }

    #[test]
    fn part_of_the_system_that_holds_a_secret_is_withheld() {
        let plan = plan(&Places {
            secret: vec![Path::new("/opt/coordinator/state")],
            ..places()
        });
        assert_eq!(plan.withheld, [Path::new("/opt")]);
        assert_eq!(access(&plan, "/opt/coordinator/state/key"), None);
        assert_eq!(
            access(&plan, "/opt/python/bin/python3.12"),
            Some(Access::Read),
            "an interpreter is needed all the same"
        );
    }

    #[test]
    fn a_secret_within_the_project_is_told() {
        let plan = plan(&Places {
            project_dir: Path::new("/home/u"),
            ..places()
        });
        assert_eq!(plan.exposed.len(), 2, "{plan:?}");
    }

    #[test]
    fn no_rule_is_there_twice() {
        let plan = plan(&places());
        assert!(!plan.rules.iter().any(|rule| {
            let others = plan.rules.iter().filter(|other| *other != rule);
            others
                .into_iter()
                .any(|other| rule.path.starts_with(&other.path))
        }));
    }
}
