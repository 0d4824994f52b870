//! Which top-level module of a crate uses which.

use super::Source;
use std::collections::{BTreeMap, BTreeSet};

/// One module that uses another one of its crate, or one of our crates.
#[derive(Debug)]
pub struct Use {
    pub from: String,
    pub to: String,
    /// The file and the line.
    pub place: String,
}

/// What each module of a crate uses. `lib.rs` is the list of modules and uses none.
pub fn uses(crate_name: &str, sources: &[Source]) -> Vec<Use> {
    let modules = modules(sources);
    let exports = exports(sources);
    let at_root = |name: &str| match modules.get(name) {
        Some(module) => Some((*module).to_owned()),
        None => exports.get(name).cloned().unwrap_or(Some("lib".to_owned())),
    };
    let mut uses = Vec::new();
    for source in sources {
        let module = source.module();
        for name in source.names() {
            let segments: Vec<&str> = name.segments.iter().map(String::as_str).collect();
            let supers = segments
                .iter()
                .take_while(|segment| **segment == "super")
                .count();
            let to = match segments.as_slice() {
                ["crate", name, ..] => at_root(name),
                [first, name, ..] if *first == crate_name && module == ["main"] => at_root(name),
                [first @ ("schemas" | "events"), _, ..] if *first != crate_name => {
                    Some((*first).to_owned())
                }
                _ if supers > 0 && supers == module.len() => {
                    segments.get(supers).and_then(|name| at_root(name))
                }
                _ => None,
            };
            let from = module[0].to_owned();
            if let Some(to) = to.filter(|to| *to != from && from != "lib") {
                let place = format!("{}:{}", source.path, name.line);
                uses.push(Use { from, to, place });
            }
        }
    }
    uses
}

/// The top-level modules of a crate; `main` is one, `lib` only lists them.
pub fn modules(sources: &[Source]) -> BTreeSet<&str> {
    sources
        .iter()
        .map(|source| source.module()[0])
        .filter(|module| *module != "lib")
        .collect()
}

/// What `lib.rs` re-exports: from which module, or `None` for what another crate has.
fn exports(sources: &[Source]) -> BTreeMap<String, Option<String>> {
    let modules = modules(sources);
    let lib = sources.iter().filter(|source| source.module() == ["lib"]);
    let names = lib.flat_map(Source::names).map(|name| name.segments);
    let long = names.filter(|segments| segments.len() > 1);
    long.map(|s| {
        (
            s[s.len() - 1].clone(),
            modules.get(s[0].as_str()).map(|m| (*m).to_owned()),
        )
    })
    .collect()
}
