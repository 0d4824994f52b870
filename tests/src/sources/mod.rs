//! The workspace's sources as the rules of `tests/architecture.rs` read them: without comments,
//! without what only tests compile, with strings or without, and as the paths they name.
//!
//! It knows just enough Rust for that: no macros are expanded, and a `mod` written inside a file
//! counts as that file.

mod names;
mod silent;
mod uses;

pub use uses::{Use, modules, uses};

use silent::{blank, next_test, silent};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// One file below a crate's `src`.
#[derive(Debug)]
pub struct Source {
    /// From the workspace's root on.
    pub path: String,
    pub first_line: String,
    /// Without comments, tests and the content of strings.
    pub code: String,
    /// Without comments and tests.
    pub text: String,
}

/// A path that a source names, `use` lists taken apart: `use a::{b, c::d}` is `a::b` and `a::c::d`.
#[derive(Debug, PartialEq)]
pub struct Named {
    /// Counts from 1.
    pub line: usize,
    pub segments: Vec<String>,
}

/// A dependency as a `Cargo.toml` lists it, in whichever of its sections.
#[derive(Debug)]
pub struct Dependency {
    /// Counts from 1.
    pub line: usize,
    pub name: String,
}

/// The workspace's root.
pub fn root() -> PathBuf {
    let here = std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo says where the package is");
    Path::new(&here).parent().unwrap().to_owned()
}

/// Every file of a crate, those that only tests compile left out.
pub fn of(crate_name: &str) -> Vec<Source> {
    let mut files = Vec::new();
    collect(&root().join(crate_name).join("src"), &mut files);
    files.sort();
    let mut tests = BTreeSet::new();
    let mut sources = Vec::new();
    for file in files {
        let content = fs::read_to_string(&file).unwrap();
        let (source, test_modules) = read(&file, content);
        tests.extend(test_modules);
        sources.push((file, source));
    }
    let is_test = |file: &Path| {
        file.ancestors()
            .any(|part| tests.contains(&part.with_extension("")))
    };
    sources.retain(|(file, _)| !is_test(file));
    sources.into_iter().map(|(_, source)| source).collect()
}

/// All dependencies of a crate.
pub fn dependencies(crate_name: &str) -> Vec<Dependency> {
    let manifest = fs::read_to_string(root().join(crate_name).join("Cargo.toml")).unwrap();
    let mut inside = false;
    let mut found = Vec::new();
    for (line, text) in (1..).zip(manifest.lines().map(str::trim)) {
        if let Some(section) = text.strip_prefix('[') {
            let (_, after) = section.split_once("dependencies").unwrap_or(("", "no"));
            inside = after == "]";
            // As in `[dependencies.name]`.
            if let Some(name) = after.strip_prefix('.') {
                let name = name.trim_end_matches(']').to_owned();
                found.push(Dependency { line, name });
            }
        } else if inside && text.starts_with(|c: char| c.is_ascii_alphabetic()) {
            let own = text.split(['.', ' ', '=']).next().unwrap_or_default();
            let renamed = text.split("package = \"").nth(1);
            let name = renamed.and_then(|rest| rest.split('"').next());
            let name = name.unwrap_or(own).to_owned();
            found.push(Dependency { line, name });
        }
    }
    found
}

impl Source {
    /// The modules it stands in below its crate: `http/runs.rs` is `[http, runs]`.
    pub fn module(&self) -> Vec<&str> {
        let (_, below) = self.path.split_once("/src/").unwrap();
        let mut module: Vec<&str> = below.trim_end_matches(".rs").split('/').collect();
        if module.last() == Some(&"mod") {
            module.pop();
        }
        module
    }

    /// Whether it is one of these modules or stands below one; `runner/src/plan` is both the file
    /// and the folder of that name.
    pub fn is_below(&self, places: &BTreeSet<&str>) -> bool {
        let module = Path::new(&self.path).with_extension("");
        places.iter().any(|place| module.starts_with(place))
    }

    /// The lines on which `needle` stands, strings included; comments and tests do not count.
    pub fn lines_with(&self, needle: &str) -> Vec<usize> {
        let lines = (1..).zip(self.text.lines());
        lines
            .filter(|(_, text)| text.contains(needle))
            .map(|(line, _)| line)
            .collect()
    }

    /// Every path of at least two segments, and every single word, keywords included.
    pub fn names(&self) -> Vec<Named> {
        names::names(&self.code)
    }
}

impl Named {
    /// Whether `pattern`, as `std::fs`, stands in it.
    pub fn holds(&self, pattern: &str) -> bool {
        let pattern: Vec<&str> = pattern.split("::").collect();
        self.segments.windows(pattern.len()).any(|w| w == pattern)
    }
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|end| end == "rs") {
            files.push(path);
        }
    }
}

/// The source, and the modules it declares for tests only, as paths without an ending.
fn read(file: &Path, content: String) -> (Source, Vec<PathBuf>) {
    let (comments, literals) = silent(content.as_bytes());
    let first_line = content.lines().next().unwrap_or_default().to_owned();
    let mut text = content.into_bytes();
    comments
        .into_iter()
        .for_each(|range| blank(&mut text, range));
    let mut code = text.clone();
    literals
        .into_iter()
        .for_each(|range| blank(&mut code, range));
    let mut test_modules = Vec::new();
    while let Some(range) = next_test(&code) {
        let item = String::from_utf8_lossy(&code[range.clone()]).into_owned();
        if let Some(module) = item.strip_suffix(';').and_then(|i| i.split_once("mod ")) {
            test_modules.push(children_of(file).join(module.1));
        }
        blank(&mut text, range.clone());
        blank(&mut code, range);
    }
    let path = file.strip_prefix(root()).unwrap().to_string_lossy();
    let source = Source {
        path: path.into_owned(),
        first_line,
        code: String::from_utf8(code).unwrap(),
        text: String::from_utf8(text).unwrap(),
    };
    (source, test_modules)
}

/// The folder of the modules that `file` declares.
fn children_of(file: &Path) -> PathBuf {
    match file.file_name().and_then(|name| name.to_str()) {
        Some("mod.rs" | "lib.rs" | "main.rs") => file.parent().unwrap().to_owned(),
        _ => file.with_extension(""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(content: &str) -> Source {
        let file = root().join("events/src/run/view.rs");
        read(&file, content.to_owned()).0
    }

    fn names(content: &str) -> Vec<String> {
        let names = source(content).names();
        let long = names.into_iter().filter(|name| name.segments.len() > 1);
        long.map(|name| name.segments.join("::")).collect()
    }

    #[test]
    fn lists_are_taken_apart() {
        let content = "use crate::{a, b::{self, c as d}, e::*};\nlet x = std::fs::read(y.z);";
        let expected = [
            "crate::a",
            "crate::b::self",
            "crate::b::c",
            "crate::e",
            "std::fs::read",
        ];
        assert_eq!(names(content), expected);
    }

    #[test]
    fn comments_strings_and_tests_are_silent() {
        let content = r###"
            //! a::comment
            /* b::comment /* c::comment */ d::comment */
            let quotes = ('"', '\'', b'"', "\" e::text", r#"" f::text"#, 'x');
            fn life<'a>(x: &'a g::Seen) {}
            #[cfg(test)]
            fn only_here(x: [u8; 3]) { if a { h::unseen() } }
            use i::seen;
            #[cfg(test)]
            mod tests { use j::unseen; }
        "###;
        assert_eq!(names(content), ["g::Seen", "i::seen"]);
        let source = source(content);
        assert_eq!(source.lines_with("e::text"), [4]);
        assert_eq!(source.lines_with("f::text"), [4]);
        assert!(source.lines_with("comment").is_empty());
    }

    #[test]
    fn files_of_tests_are_found_by_their_declaration() {
        let declare =
            |file: &str| read(&root().join(file), "#[cfg(test)]\npub mod x;".to_owned()).1;
        assert_eq!(
            declare("events/src/run/mod.rs"),
            [root().join("events/src/run/x")]
        );
        assert_eq!(
            declare("events/src/lane.rs"),
            [root().join("events/src/lane/x")]
        );
    }
}
