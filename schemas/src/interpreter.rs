//! What starts a script, as far as its document tells. Whether a runner has and allows it, and what a
//! script's `#!` line says, is the runner's.

use crate::script::ScriptDocument;

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

    /// What the script's demand tags say, else its file's extension; `None` leaves it to its `#!` line.
    pub fn of(script: &ScriptDocument) -> Option<Self> {
        let demanded = |it: &Self| {
            script
                .demands
                .tags
                .iter()
                .any(|tag| tag.as_str() == it.tag())
        };
        Self::ALL.into_iter().find(demanded).or_else(|| {
            let (stem, extension) = script.script_file.file_name().rsplit_once('.')?;
            if stem.is_empty() {
                None
            } else {
                Self::of_extension(extension)
            }
        })
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

    fn of_extension(extension: &str) -> Option<Self> {
        match extension.to_ascii_lowercase().as_str() {
            "py" => Some(Self::Python3),
            "sh" | "bash" => Some(Self::Bash),
            "js" | "mjs" | "cjs" => Some(Self::Node),
            _ => None,
        }
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
