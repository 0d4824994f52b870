//! Where a path leads: parameters whose schema says `format: "path"` must stay inside the project.
//!
//! Judged once, before the script starts: what a script, or another one beside it, changes on the
//! disk afterwards is not seen here.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io;
use std::path::{Component, Path, PathBuf};

use schemas::parameters::paths;
use serde_json::{Map, Value};
use thiserror::Error;

/// As the kernel: more links than this in one path are a circle.
const MAX_LINKS: usize = 40;

#[derive(Debug, Error)]
pub enum PathRefused {
    #[error(
        "parameter {at} is refused: \"{text}\" leads to {}, and a parameter with format \"path\" has to stay \
         inside the project folder {}",
        leads_to.display(), project_dir.display()
    )]
    Outside {
        at: String,
        text: String,
        leads_to: PathBuf,
        project_dir: PathBuf,
    },
    #[error(
        "parameter {at} is refused: where \"{text}\" leads cannot be told, and a parameter with format \"path\" \
         has to stay inside the project folder"
    )]
    Unknown {
        at: String,
        text: String,
        #[source]
        source: io::Error,
    },
}

/// Refuses the first path parameter that leads out of `project_dir`, which has to be absolute and
/// without links. Relative paths begin there.
///
/// # Errors
/// Which one it is, and where it leads.
pub fn check(
    schema: &Value,
    parameters: &Map<String, Value>,
    project_dir: &Path,
) -> Result<(), PathRefused> {
    for parameter in paths(schema, parameters) {
        let (at, text) = (parameter.at, parameter.text.to_owned());
        match destination(&project_dir.join(parameter.text)) {
            Ok(leads_to) if leads_to.starts_with(project_dir) => {}
            Ok(leads_to) => {
                return Err(PathRefused::Outside {
                    at,
                    text,
                    leads_to,
                    project_dir: project_dir.to_owned(),
                });
            }
            Err(source) => return Err(PathRefused::Unknown { at, text, source }),
        }
    }
    Ok(())
}

/// An absolute path with all its links resolved, also those that lead to nothing yet. What does not
/// exist is no link.
fn destination(path: &Path) -> io::Result<PathBuf> {
    let mut resolved = PathBuf::from("/");
    let mut pending: VecDeque<OsString> = names(path);
    let mut links = 0;
    while let Some(name) = pending.pop_front() {
        if name == ".." {
            resolved.pop();
            continue;
        }
        resolved.push(&name);
        let metadata = match resolved.symlink_metadata() {
            Ok(metadata) => metadata,
            Err(error) if is_absent(&error) => continue,
            Err(error) => return Err(error),
        };
        if !metadata.is_symlink() {
            continue;
        }
        links += 1;
        if links > MAX_LINKS {
            return Err(io::Error::other("too many links follow each other"));
        }
        let target = resolved.read_link()?;
        resolved.pop();
        if target.is_absolute() {
            resolved = PathBuf::from("/");
        }
        let mut next = names(&target);
        next.append(&mut pending);
        pending = next;
    }
    Ok(resolved)
}

fn is_absent(error: &io::Error) -> bool {
    // Below a file there is nothing either.
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

/// The names in a path, `..` among them.
fn names(path: &Path) -> VecDeque<OsString> {
    let names = path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::CurDir | Component::RootDir | Component::Prefix(_) => None,
    });
    names.collect()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use rstest::rstest;
    use serde_json::json;

    use super::*;

    #[rstest]
    #[case("file", true)]
    #[case("", true)]
    #[case("new/deeper/file", true)]
    #[case("folder/../file", true)]
    #[case("file/below", true)]
    #[case("..x", true)]
    #[case("inside/file", true)]
    #[case("../project/file", true)]
    #[case("PROJECT/file", true)]
    #[case("..", false)]
    #[case("new/../../other", false)]
    #[case("/etc/passwd", false)]
    #[case("PROJECT-beside/file", false)]
    #[case("out", false)]
    #[case("out/new", false)]
    #[case("dangling", false)]
    #[case("chain", false)]
    #[case("circle", false)]
    fn a_path_stays_in_the_project_or_is_refused(#[case] text: &str, #[case] fits: bool) {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        let project = root.join("project");
        fs::create_dir_all(project.join("folder")).unwrap();
        fs::create_dir_all(root.join("other")).unwrap();
        fs::write(project.join("file"), "").unwrap();
        for (target, link) in [
            ("..", "out"),
            ("folder/..", "inside"),
            ("../other/not-yet", "dangling"),
            ("folder/up", "chain"),
            ("../../other", "folder/up"),
            ("circle", "circle"),
        ] {
            symlink(target, project.join(link)).unwrap();
        }
        let text = text.replace("PROJECT", project.to_str().unwrap());
        let schema = json!({"properties": {"p": {"format": "path"}}});
        let parameters = json!({ "p": text });
        let checked = check(&schema, parameters.as_object().unwrap(), &project);
        assert_eq!(checked.is_ok(), fits, "{checked:?}");
        if let Err(error) = checked {
            assert!(error.to_string().contains("parameter $.p"), "{error}");
        }
    }
}
