//! `coordinator script|agent|capability history|diff|rollback`, and one old version for their `show`.
//! What is different between two versions is told as `coordinator diff` tells it.

use clap::Args;
use schemas::{AGENT_JSON, CAPABILITY_JSON};
use serde_json::{Value, json};

use super::failure::{Exit, Failure};
use super::folder;
use super::global::Context;
use super::output::{Column, Format, text};
use super::plan::{self, Step};

/// Versions asked for at once; the server gives as many.
const PAGE: usize = 200;

/// Changes named in a table's row; `-o wide` has them all.
const CHANGES_SHOWN: usize = 4;

const COLUMNS: &[Column] = &[
    Column::text("VERSION", "/version"),
    Column::made("EVENT", event),
    Column::time("WHEN", "/at"),
    Column::text("WHO", "/actor/name"),
    Column::text("VIA", "/actor/via"),
    Column::made("WHAT", changes),
    Column::text("DIGEST", "/digest").wide(),
];

/// What has versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Noun {
    Script,
    Agent,
    Capability,
}

#[derive(Args, Debug)]
pub struct HistoryArgs {
    /// Its name; it may be deleted
    name: String,

    /// How many versions at most
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,

    /// Only versions below this one
    #[arg(long, value_name = "N")]
    before: Option<u32>,
}

#[derive(Args, Debug)]
pub struct DiffArgs {
    /// Its name; it may be deleted
    name: String,

    /// The version to begin with
    from: u32,

    /// The version to compare it with [default: the current one]
    to: Option<u32>,
}

#[derive(Args, Debug)]
pub struct RollbackArgs {
    /// Its name
    name: String,

    /// The version to go back to
    #[arg(long, value_name = "N")]
    to: u32,

    /// Also where it was deleted since: it comes back
    #[arg(long)]
    recreate: bool,

    /// Only where this is the current version
    #[arg(long, value_name = "N")]
    if_version: Option<u32>,
}

impl Noun {
    fn as_str(self) -> &'static str {
        match self {
            Self::Script => "script",
            Self::Agent => "agent",
            Self::Capability => "capability",
        }
    }

    fn path(self) -> &'static str {
        match self {
            Self::Script => "scripts",
            Self::Agent => "agents",
            Self::Capability => "capabilities",
        }
    }
}

pub async fn history(context: &Context, noun: Noun, args: &HistoryArgs) -> Result<(), Failure> {
    let (versions, next) = pages(context, noun, args).await?;
    if let (Some(next), Format::Table | Format::Wide) = (&next, context.output.format) {
        context.remark(&format!("there are older ones: --before {next}"));
    }
    let body = json!({"kind": noun.as_str(), "name": args.name, "versions": versions, "next_before": next});
    let rows = match context.output.format {
        Format::Table => with_deletions(&shortened(versions)),
        Format::Wide => with_deletions(&versions),
        _ => versions,
    };
    context.output.list(&body, &rows, "version", COLUMNS)
}

async fn pages(
    context: &Context,
    noun: Noun,
    args: &HistoryArgs,
) -> Result<(Vec<Value>, Option<u64>), Failure> {
    let wanted = args.limit as usize;
    let mut versions = Vec::new();
    let mut before = args.before.map(u64::from);
    loop {
        let limit = (wanted - versions.len()).min(PAGE).to_string();
        let below = before.map(|before| before.to_string());
        let mut query = vec![("limit", limit.as_str())];
        query.extend(below.as_deref().map(|below| ("before", below)));
        let path = [noun.path(), &args.name, "versions"];
        let answer = context.client.get(&path, &query).await;
        let mut body = answer.map_err(|failure| failure.or_hint(list(noun)))?;
        let Value::Array(page) = body["versions"].take() else {
            return Ok((versions, None));
        };
        let page_was_empty = page.is_empty();
        versions.extend(page);
        before = body["next_before"].as_u64();
        if before.is_none() || page_was_empty || versions.len() >= wanted {
            return Ok((versions, before));
        }
    }
}

/// One version, as the server has it.
pub async fn find(
    context: &Context,
    noun: Noun,
    name: &str,
    version: u32,
) -> Result<Value, Failure> {
    let path = [noun.path(), name, "versions", &version.to_string()];
    let found = context.client.get(&path, &[]).await;
    found.map_err(|failure| failure.or_hint(list(noun)))
}

pub async fn diff(context: &Context, noun: Noun, args: &DiffArgs) -> Result<(), Failure> {
    let to = match args.to {
        Some(to) => to,
        None => current(context, noun, &args.name).await?,
    };
    let step = match noun {
        Noun::Script => scripts(context, &args.name, args.from, to).await?,
        Noun::Agent | Noun::Capability => {
            documents(context, noun, &args.name, args.from, to).await?
        }
    };
    let (changes, diff) = match step {
        Step::Change { what, diff } => (what, diff),
        Step::Create | Step::Keep => (Vec::new(), String::new()),
    };
    let (kind, from) = (noun.as_str(), args.from);
    let (name, output) = (&args.name, &context.output);
    match output.format {
        Format::Table | Format::Wide if changes.is_empty() => {
            output.line(&format!(
                "{kind}/{name}: versions {from} and {to} are the same"
            ))?;
        }
        Format::Table | Format::Wide => {
            let what = changes.join(", ");
            output.line(&format!("{kind}/{name} (v{from} → v{to}): {what}"))?;
            output.raw(diff.as_bytes())?;
        }
        Format::Json | Format::Jsonl => output.json(&json!({"kind": kind, "name": name,
            "from": from, "to": to, "changes": changes, "diff": diff}))?,
        Format::Name => changes.iter().try_for_each(|path| output.line(path))?,
    }
    match changes.is_empty() {
        true => Ok(()),
        false => Err(Failure::silent(Exit::Refused)),
    }
}

/// The number of the current version.
async fn current(context: &Context, noun: Noun, name: &str) -> Result<u32, Failure> {
    let path = [noun.path(), name];
    let found = context.client.get(&path, &[]).await;
    let found = found.map_err(|failure| {
        let history = format!("coordinator {} history {name}", noun.as_str());
        failure.hint(format!("{history}, and name two versions if it is deleted"))
    })?;
    let version = found["version"].as_u64();
    let version = version.and_then(|version| u32::try_from(version).ok());
    version.ok_or_else(|| Failure::refused(format!("the server names no version of {name}")))
}

async fn scripts(context: &Context, name: &str, from: u32, to: u32) -> Result<Step, Failure> {
    let old = script_folder(context, name, from).await?;
    let new = script_folder(context, name, to).await?;
    let color = context.output.terminal.color_stdout();
    let step = plan::script_change(&old, &new, color);
    Ok(match step {
        Step::Change { what, .. } if what.is_empty() => Step::Keep,
        step => step,
    })
}

async fn script_folder(
    context: &Context,
    name: &str,
    version: u32,
) -> Result<schemas::bundle::Folder, Failure> {
    let version = version.to_string();
    let query = [("format", "zst"), ("version", version.as_str())];
    let path = ["scripts", name, "download"];
    let bundle = context.client.download(&path, &query).await;
    let bundle = bundle.map_err(|failure| failure.or_hint(list(Noun::Script)))?;
    folder::unpack(&bundle)
}

async fn documents(
    context: &Context,
    noun: Noun,
    name: &str,
    from: u32,
    to: u32,
) -> Result<Step, Failure> {
    let old = find(context, noun, name, from).await?;
    let new = find(context, noun, name, to).await?;
    let (file, canonical): (_, fn(&Value) -> Value) = match noun {
        Noun::Capability => (CAPABILITY_JSON, plan::canonical_capability),
        _ => (AGENT_JSON, plan::canonical),
    };
    let color = context.output.terminal.color_stdout();
    let (old, new) = (canonical(&old), canonical(&new));
    Ok(plan::document_change(file, &old, &new, color))
}

pub async fn rollback(context: &Context, noun: Noun, args: &RollbackArgs) -> Result<(), Failure> {
    let RollbackArgs {
        name, to, recreate, ..
    } = args;
    let kind = noun.as_str();
    let path = [noun.path(), name, "rollback"];
    let body = json!({"to": to, "recreate": recreate});
    let answer = context.client.send_if(&path, args.if_version, &body).await;
    let answer = answer.map_err(|failure| {
        let failure = failure.doing(format!("cannot roll {kind} {name} back to version {to}"));
        failure.or_hint(list(noun))
    })?;
    let done = answer.body;
    let version = text(&done["version"]);
    match context.output.format {
        Format::Table | Format::Wide if done["changed"] == false => context.output.line(&format!(
            "{kind}/{name} unchanged: version {version}, the current one, is as version {to} was"
        )),
        Format::Table | Format::Wide => context
            .output
            .line(&format!("{kind}/{name} is now v{version}, as v{to} was")),
        Format::Json | Format::Jsonl => context.output.json(&done),
        Format::Name => context.output.line(name),
    }
}

fn list(noun: Noun) -> String {
    format!("coordinator {} list", noun.as_str())
}

/// A deletion is a row of its own, above the version that it ended.
fn with_deletions(versions: &[Value]) -> Vec<Value> {
    let rows = versions.iter().flat_map(|version| {
        let deletion = &version["deleted"];
        let deletion = (!deletion.is_null()).then(
            || json!({"change": "deleted", "at": deletion["at"], "actor": deletion["actor"]}),
        );
        deletion.into_iter().chain([version.clone()])
    });
    rows.collect()
}

fn shortened(mut versions: Vec<Value>) -> Vec<Value> {
    for version in &mut versions {
        if let Some(changes) = version["changes"].as_array_mut()
            && changes.len() > CHANGES_SHOWN
        {
            let more = changes.len() - CHANGES_SHOWN;
            changes.truncate(CHANGES_SHOWN);
            changes.push(json!(format!("and {more} more")));
        }
    }
    versions
}

fn event(version: &Value) -> String {
    let change = text(&version["change"]);
    let change = match (version["rollback_of"].as_u64(), change.as_str()) {
        (None, _) => change,
        (Some(of), "changed") => format!("rolled back to {of}"),
        (Some(of), _) => format!("{change} as {of} was"),
    };
    match version["current"] == true {
        true => format!("{change} (current)"),
        false => change,
    }
}

fn changes(version: &Value) -> String {
    let changes = version["changes"].as_array().map_or(&[][..], Vec::as_slice);
    changes.iter().map(text).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case(json!({"change": "created"}), "created")]
    #[case(json!({"change": "changed", "current": true}), "changed (current)")]
    #[case(json!({"change": "changed", "rollback_of": 2}), "rolled back to 2")]
    #[case(json!({"change": "created", "rollback_of": 2}), "created as 2 was")]
    fn events(#[case] version: Value, #[case] told: &str) {
        assert_eq!(event(&version), told);
    }

    #[test]
    fn a_deletion_stands_above_what_it_ended() {
        let deleted = json!({"at": "then", "actor": {"name": "alice"}});
        let versions = [
            json!({"version": 2, "deleted": deleted}),
            json!({"version": 1}),
        ];
        let rows = with_deletions(&versions);
        let told: Vec<String> = rows.iter().map(|row| text(&row["version"])).collect();
        assert_eq!(told, ["", "2", "1"]);
        assert_eq!(rows[0]["actor"]["name"], "alice");
    }

    #[test]
    fn a_row_names_only_some_of_many_changes() {
        let many = json!({"changes": ["a", "b", "c", "d", "e", "f"]});
        let told = changes(&shortened(vec![many])[0]);
        assert_eq!(told, "a, b, c, d, and 2 more");
    }
}
