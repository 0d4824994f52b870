//! The complete environment of a script: nothing else is inherited from the runner.
//!
//! Three layers, later ones win: our defaults, what the runner's configuration passes by name, and what
//! belongs to this one run. So an operator may set another `TZ` or `PATH`, and nobody can fake a `RUN_ID`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use thiserror::Error;

const STANDARD_PATH: [&str; 6] = [
    "/usr/local/sbin",
    "/usr/local/bin",
    "/usr/sbin",
    "/usr/bin",
    "/sbin",
    "/bin",
];

/// The same on every host, whatever the shell of who started the runner had: texts are UTF-8, sorting is by
/// byte, times are UTC.
const LANG: &str = "C.UTF-8";
const TZ: &str = "UTC";

/// What a script's environment is made of.
pub struct Environment<'a> {
    pub run_id: &'a str,
    /// From 1.
    pub attempt: u32,
    /// The same for every attempt of one run.
    pub idempotency_key: &'a str,
    pub script_dir: &'a Path,
    pub project_dir: &'a Path,
    pub params_file: &'a Path,
    pub home: &'a Path,
    pub tmpdir: &'a Path,
    /// Outside the run's folder, so that what uv has installed once serves the next run.
    pub uv_cache_dir: &'a Path,
    /// The programs of the interpreters that were found; their folders come first on the `PATH`, so that a
    /// script's own `python3` is the detected one and no slow shim.
    pub interpreters: Vec<&'a Path>,
    /// The trace that the run belongs to, where its request named one.
    pub traceparent: Option<&'a str>,
    /// What the runner's configuration passes on, name and value.
    pub passed: &'a [(String, String)],
}

#[derive(Debug, PartialEq, Eq, Error)]
#[error(
    "the folder {} has a name that is not Unicode, which a script's environment cannot carry; rename it",
    .0.display()
)]
pub struct NotUnicode(PathBuf);

impl Environment<'_> {
    /// All variables, sorted by name, each once.
    ///
    /// # Errors
    /// When one of the folders has no Unicode name.
    pub fn variables(&self) -> Result<Vec<(String, String)>, NotUnicode> {
        let mut all: BTreeMap<&str, String> = self.defaults()?;
        for (name, value) in self.passed {
            all.insert(name, value.clone());
        }
        all.extend(self.own()?);
        all.extend(
            self.traceparent
                .map(|parent| ("TRACEPARENT", parent.to_owned())),
        );
        Ok(all
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect())
    }

    fn defaults(&self) -> Result<BTreeMap<&'static str, String>, NotUnicode> {
        Ok(BTreeMap::from([
            ("PATH", self.path()?),
            ("LANG", LANG.to_owned()),
            ("TZ", TZ.to_owned()),
            ("UV_CACHE_DIR", text(self.uv_cache_dir)?),
            // uv keeps the interpreters it downloads below HOME, which is new for every run: each run of a
            // script that wants another Python than this host's would fetch one again, within its time limit.
            // So the host's Python is used, and where it does not fit uv says so. Who wants downloads passes
            // this variable and UV_PYTHON_INSTALL_DIR by name.
            ("UV_PYTHON_DOWNLOADS", "never".to_owned()),
        ]))
    }

    fn own(&self) -> Result<[(&'static str, String); 8], NotUnicode> {
        Ok([
            ("RUN_ID", self.run_id.to_owned()),
            ("ATTEMPT", self.attempt.to_string()),
            ("IDEMPOTENCY_KEY", self.idempotency_key.to_owned()),
            ("SCRIPT_DIR", text(self.script_dir)?),
            ("PROJECT_DIR", text(self.project_dir)?),
            ("PARAMS_FILE", text(self.params_file)?),
            ("HOME", text(self.home)?),
            ("TMPDIR", text(self.tmpdir)?),
        ])
    }

    /// The folders of interpreters outside the standard ones, then those in their usual order.
    fn path(&self) -> Result<String, NotUnicode> {
        let mut folders: Vec<String> = Vec::new();
        for folder in self.interpreters.iter().filter_map(|path| path.parent()) {
            let folder = text(folder)?;
            // A colon cannot be written in a PATH; such a program is still reached by its full path.
            let usable = !folder.contains(':') && !STANDARD_PATH.contains(&folder.as_str());
            if usable && !folders.contains(&folder) {
                folders.push(folder);
            }
        }
        folders.extend(STANDARD_PATH.map(str::to_owned));
        Ok(folders.join(":"))
    }
}

fn text(path: &Path) -> Result<String, NotUnicode> {
    let text = path.to_str().ok_or_else(|| NotUnicode(path.to_owned()))?;
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    use super::*;

    fn environment(passed: &[(String, String)]) -> Environment<'_> {
        Environment {
            run_id: "run_0123456789abcdef",
            attempt: 2,
            idempotency_key: "key",
            script_dir: Path::new("/p/scripts/job"),
            project_dir: Path::new("/p"),
            params_file: Path::new("/r/params.json"),
            home: Path::new("/r/home"),
            tmpdir: Path::new("/r/tmp"),
            uv_cache_dir: Path::new("/state/uv"),
            interpreters: ["/opt/py/bin/python3", "/usr/bin/node", "/opt/py/bin/uv"]
                .map(Path::new)
                .to_vec(),
            traceparent: None,
            passed,
        }
    }

    #[test]
    fn it_is_complete_and_has_nothing_else() {
        let variables = environment(&[]).variables().unwrap();
        let lines: Vec<String> = variables
            .into_iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let expected = [
            "ATTEMPT=2",
            "HOME=/r/home",
            "IDEMPOTENCY_KEY=key",
            "LANG=C.UTF-8",
            "PARAMS_FILE=/r/params.json",
            "PATH=/opt/py/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "PROJECT_DIR=/p",
            "RUN_ID=run_0123456789abcdef",
            "SCRIPT_DIR=/p/scripts/job",
            "TMPDIR=/r/tmp",
            "TZ=UTC",
            "UV_CACHE_DIR=/state/uv",
            "UV_PYTHON_DOWNLOADS=never",
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn what_is_passed_changes_defaults_but_not_the_run() {
        let passed = [("TZ", "Europe/Berlin"), ("RUN_ID", "other"), ("TOKEN", "t")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
        let variables = environment(&passed).variables().unwrap();
        let value = |wanted: &str| {
            let mut values = variables.iter().filter(|(name, _)| name == wanted);
            let value = values.next().map(|(_, value)| value.as_str());
            assert_eq!(values.next(), None);
            value
        };
        assert_eq!(value("TZ"), Some("Europe/Berlin"));
        assert_eq!(value("TOKEN"), Some("t"));
        assert_eq!(value("RUN_ID"), Some("run_0123456789abcdef"));
    }

    #[test]
    fn a_folder_without_a_unicode_name_is_refused_by_its_name() {
        let bad = Path::new(OsStr::from_bytes(b"/p\xff"));
        let mut environment = environment(&[]);
        environment.project_dir = bad;
        assert_eq!(environment.variables(), Err(NotUnicode(bad.to_owned())));
    }
}
