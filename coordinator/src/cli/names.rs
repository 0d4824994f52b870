//! Names for a shell that completes a line: asked from the coordinator that the line would ask, quickly or not
//! at all. It says nothing of what goes wrong: somebody is typing.

use std::ffi::OsString;
use std::time::Duration;

use clap::{CommandFactory as _, FromArgMatches as _};
use clap_complete::CompletionCandidate;
use serde_json::Value;
use startup::settings::CommandLine;

use super::Cli;
use super::context_file::Contexts;
use super::output::text;
use super::settings;
use super::terminal::plain;

/// Whoever presses Tab does not wait longer.
const PATIENCE: Duration = Duration::from_secs(1);
/// More than anybody reads.
const RUNS: &str = "100";
/// What stands beside a name.
const HELP_MAX_CHARS: usize = 60;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Scripts,
    Agents,
    Capabilities,
    Lanes,
    Runs,
    Runners,
    Tokens,
    Contexts,
}

/// Where the names of a kind are.
struct Place {
    route: &'static str,
    /// A JSON pointer to the list in the answer.
    list: &'static str,
    name: &'static str,
    /// What tells more of one.
    more: &'static [&'static str],
}

impl Kind {
    fn place(self) -> Option<Place> {
        let (route, list, name, more): (_, _, _, &'static [_]) = match self {
            Self::Scripts => ("scripts", "", "name", &["description"]),
            Self::Agents => ("agents", "", "name", &["description"]),
            Self::Capabilities => ("capabilities", "", "name", &["description"]),
            Self::Lanes => ("lanes", "", "lane", &["tags"]),
            Self::Runs => ("runs", "/runs", "run_id", &["agent_name", "status"]),
            Self::Runners => ("runners", "/runners", "runner_id", &["hostname", "status"]),
            Self::Tokens => ("tokens", "/tokens", "name", &["role", "status"]),
            Self::Contexts => return None,
        };
        Some(Place {
            route,
            list,
            name,
            more,
        })
    }
}

/// All names of a kind; none where nobody answers in time.
pub fn names(kind: Kind) -> Vec<CompletionCandidate> {
    match kind.place() {
        Some(place) => asked(&place).unwrap_or_default(),
        None => contexts(),
    }
}

fn contexts() -> Vec<CompletionCandidate> {
    let folder = settings::user_folder();
    let contexts = folder.and_then(|folder| Contexts::load(&folder).ok());
    let named = contexts.unwrap_or_default().named.into_iter();
    named
        .map(|(name, context)| CompletionCandidate::new(name).help(Some(context.url.into())))
        .collect()
}

fn asked(place: &Place) -> Option<Vec<CompletionCandidate>> {
    let context = line_so_far()?.global.context().ok()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .ok()?;
    let query: &[(&str, &str)] = match place.route {
        "runs" => &[("limit", RUNS)],
        _ => &[],
    };
    let route = [place.route];
    let answer = runtime.block_on(async {
        tokio::time::timeout(PATIENCE, context.client.get(&route, query)).await
    });
    let body = answer.ok()?.ok()?;
    let items = body.pointer(place.list)?.as_array()?;
    Some(items.iter().map(|item| candidate(place, item)).collect())
}

fn candidate(place: &Place, item: &Value) -> CompletionCandidate {
    let more = place.more.iter().map(|field| text(&item[field]));
    let more: Vec<String> = more.filter(|text| !text.is_empty()).collect();
    let more = plain(&more.join(", "));
    let help: String = more.chars().take(HELP_MAX_CHARS).collect();
    CompletionCandidate::new(text(&item[place.name])).help((!help.is_empty()).then(|| help.into()))
}

/// What has been typed, with what a context or a file adds. Only what every command takes counts: the rest is
/// not complete yet.
fn line_so_far() -> Option<Cli> {
    let command = Cli::command();
    let words = std::env::args_os().skip_while(|word| word != "--").skip(1);
    let line = CommandLine::read(&command, words.collect());
    let sources = settings::sources(&command, &line).ok()?;
    let global = line.globals_with(&sources.layers).into_iter();
    let any = ["coordinator", "status"].map(OsString::from);
    let matches = Cli::command().try_get_matches_from(any.into_iter().chain(global));
    Cli::from_arg_matches(&matches.ok()?).ok()
}
