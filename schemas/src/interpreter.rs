//! What starts a script, as far as its document tells. Whether a runner has and allows it, and what a
//! script's `#!` line says, is the runner's.

use crate::name::Tag;
use crate::script::ScriptDocument;
use std::ffi::OsStr;
use std::fmt;
use std::path::Path;

/// A program that runs scripts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Interpreter {
    /// `uv run --script`, which installs what the script's PEP 723 header names.
    Uv,
    /// `bash`
    Bash,
    /// `python3`
    Python3,
    /// `node`
    Node,
}

impl Interpreter {
    /// All of them, in the order in which demand tags are looked at: `uv` goes before `python3`, which
    /// scripts may demand beside it.
    pub const ALL: [Self; 4] = [Self::Uv, Self::Bash, Self::Python3, Self::Node];

    /// What the script's demand tags and its file's extension say; `None` leaves it to its `#!` line.
    pub fn of(script: &ScriptDocument) -> Option<Self> {
        let tags = script.demands.tags.iter().map(Tag::as_str);
        Self::choose(tags, script.script_file.file_name())
    }

    /// The demanded one that the file's extension fits, else the first demanded, else the extension's
    /// usual one. Tags that name none do not count.
    pub fn choose<'a>(tags: impl IntoIterator<Item = &'a str>, file_name: &str) -> Option<Self> {
        let mut demanded: Vec<Self> = tags.into_iter().filter_map(Self::from_tag).collect();
        demanded.sort_unstable();
        let by_name = Self::of_extension(file_name);
        let both = demanded.iter().find(|demand| by_name.contains(demand));
        both.or(demanded.first()).or(by_name.first()).copied()
    }

    fn from_tag(tag: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.tag() == tag)
    }

    /// The demand tag that asks for it, and that a runner which has it carries.
    pub fn tag(self) -> &'static str {
        match self {
            Self::Uv => "uv",
            Self::Bash => "bash",
            Self::Python3 => "python3",
            Self::Node => "node",
        }
    }

    /// The command in front of the script's path.
    pub fn command(self) -> &'static [&'static str] {
        match self {
            Self::Uv => &["uv", "run", "--script"],
            Self::Bash => &["bash"],
            Self::Python3 => &["python3"],
            Self::Node => &["node"],
        }
    }

    /// Those that can run a file of this name, the usual one first.
    fn of_extension(file_name: &str) -> &'static [Self] {
        let extension = Path::new(file_name).extension().and_then(OsStr::to_str);
        match extension.map(str::to_ascii_lowercase).as_deref() {
            Some("py") => &[Self::Python3, Self::Uv],
            Some("sh" | "bash") => &[Self::Bash],
            Some("js" | "mjs" | "cjs") => &[Self::Node],
            _ => &[],
        }
    }
}

impl fmt::Display for Interpreter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.tag())
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    #[rstest]
    #[case("a.py", &["python3", "uv"], Some(Interpreter::Uv))]
    #[case("a.py", &["gpu"], Some(Interpreter::Python3))]
    #[case("a.txt", &["bash"], Some(Interpreter::Bash))]
    #[case("lib/a.SH", &[], Some(Interpreter::Bash))]
    #[case("a.mjs", &[], Some(Interpreter::Node))]
    #[case("a.sh", &["uv", "bash"], Some(Interpreter::Bash))]
    #[case("a.js", &["bash", "uv"], Some(Interpreter::Uv))]
    #[case("a.d/run", &[], None)]
    #[case(".py", &[], None)]
    fn goes_by_tag_then_by_extension(
        #[case] file: &str,
        #[case] tags: &[&str],
        #[case] expected: Option<Interpreter>,
    ) {
        let script = ScriptDocument::from_value(json!({
            "name": "a", "description": "", "script_file": file, "demands": { "tags": tags },
        }));
        assert_eq!(Interpreter::of(&script.unwrap()), expected);
    }
}
