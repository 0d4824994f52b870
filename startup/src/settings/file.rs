//! The settings file: TOML, one key per setting, named as its flag. A key that is none is refused with the
//! name that was most likely meant.

use super::keys::{Keys, is_switch, takes_many};
use super::{Given, Layer};
use clap::Arg;
use std::io;
use std::path::{Path, PathBuf};
use toml::{Table, Value};

/// A file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    #[error("cannot read the settings in {}", path.display())]
    Unreadable {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{} is not TOML: {problem}", path.display())]
    NoToml { path: PathBuf, problem: String },
    #[error("{}: there is no setting {key:?}{}", path.display(), meant(nearest.as_deref()))]
    Unknown {
        path: PathBuf,
        key: String,
        nearest: Option<String>,
    },
    #[error("{}: {key} is {expected}", path.display())]
    Type {
        path: PathBuf,
        key: String,
        expected: &'static str,
    },
}

fn meant(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |name| format!("; did you mean {name}?"))
}

/// A settings file as it was read.
#[derive(Clone, Debug)]
pub struct File {
    pub path: PathBuf,
    table: Table,
}

/// The first of these files that is there.
///
/// # Errors
/// When one is there and cannot be read.
pub fn first(places: &[PathBuf]) -> Result<Option<File>, SettingsError> {
    for place in places {
        match File::read(place) {
            Err(SettingsError::Unreadable { source, .. }) if is_absent(&source) => {}
            read => return read.map(Some),
        }
    }
    Ok(None)
}

fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

impl File {
    pub fn read(path: &Path) -> Result<Self, SettingsError> {
        let text = std::fs::read_to_string(path).map_err(|source| {
            let path = path.to_path_buf();
            SettingsError::Unreadable { path, source }
        })?;
        let table = text.parse().map_err(|error: toml::de::Error| {
            let line = error.span().map(|span| line_of(&text, span.start));
            let line = line.map_or_else(String::new, |line| format!("line {line}: "));
            SettingsError::NoToml {
                path: path.to_path_buf(),
                problem: format!("{line}{}", error.message()),
            }
        })?;
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
        Ok(Self { path, table })
    }

    /// What it says, each key being a setting.
    ///
    /// # Errors
    /// For the first key that is none, or whose value has another type.
    pub fn layer(&self, keys: &Keys) -> Result<Layer, SettingsError> {
        let mut values = Vec::new();
        for (key, value) in &self.table {
            let Some(argument) = keys.find(key) else {
                return Err(SettingsError::Unknown {
                    path: self.path.clone(),
                    key: key.clone(),
                    nearest: keys.nearest(key).map(str::to_owned),
                });
            };
            let given = given(argument, value).map_err(|expected| SettingsError::Type {
                path: self.path.clone(),
                key: key.clone(),
                expected,
            })?;
            values.push((key.clone(), given));
        }
        Ok(Layer {
            name: self.path.display().to_string(),
            over_environment: false,
            values,
        })
    }
}

fn line_of(text: &str, at: usize) -> usize {
    let before = text.as_bytes().iter().take(at);
    before.filter(|byte| **byte == b'\n').count() + 1
}

fn given(argument: &Arg, value: &Value) -> Result<Given, &'static str> {
    match (is_switch(argument), value) {
        (true, Value::Boolean(on)) => Ok(Given::Switch(*on)),
        (true, _) => Err("true or false"),
        (false, Value::Array(items)) if takes_many(argument) => {
            let texts = items.iter().map(text).collect::<Option<Vec<_>>>();
            texts.map(Given::Values).ok_or("a list of texts")
        }
        (false, Value::Array(_)) => Err("one value, not a list"),
        (false, value) => {
            let text = text(value).ok_or("a text or a number")?;
            Ok(Given::Values(vec![text]))
        }
    }
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Integer(number) => Some(number.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{ArgAction, Command};
    use rstest::rstest;

    fn read(text: &str) -> Result<Layer, SettingsError> {
        let command = Command::new("serve")
            .arg(Arg::new("a").long("runs-kept"))
            .arg(Arg::new("b").long("allowed-host").action(ArgAction::Append))
            .arg(Arg::new("d").long("max-runs"))
            .arg(Arg::new("c").long("no-auth").action(ArgAction::SetTrue));
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&file, text).unwrap();
        File::read(file.path())?.layer(&Keys::of([&command], &[]))
    }

    #[test]
    fn each_key_is_a_flag() {
        let layer =
            read("runs-kept = '90d'\nallowed-host = ['a', 'b']\nno-auth = true\nmax-runs = 3");
        let mut values = layer.unwrap().values;
        values.sort_by(|(a, _), (b, _)| a.cmp(b));
        let texts: Vec<String> = values
            .iter()
            .map(|(key, given)| format!("{key} {}", given.text()))
            .collect();
        let expected = [
            "allowed-host a,b",
            "max-runs 3",
            "no-auth true",
            "runs-kept 90d",
        ];
        assert_eq!(texts, expected);
    }

    #[rstest]
    #[case::near("runs_kept = '1d'", "did you mean runs-kept?")]
    #[case::typo("alowed-host = []", "did you mean allowed-host?")]
    #[case::far("zzz = 1", "no setting \"zzz\"")]
    #[case::switch("no-auth = 'yes'", "no-auth is true or false")]
    #[case::list("runs-kept = ['1d']", "one value")]
    #[case::table("[runs-kept]\na = 1", "runs-kept is a text or a number")]
    #[case::syntax("\nruns-kept = = 1", "is not TOML: line 2")]
    fn what_is_no_setting_is_refused(#[case] text: &str, #[case] says: &str) {
        let refusal = read(text).unwrap_err().to_string();
        assert!(refusal.contains(says), "{refusal}");
    }

    #[test]
    fn a_file_that_is_not_there_is_none() {
        assert!(first(&["/no/such/file".into()]).unwrap().is_none());
        assert!(first(&["/".into()]).is_err());
    }
}
