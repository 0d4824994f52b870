//! `coordinator audit replay` and `diff`: the whole catalogue as it was, and what changed between two
//! moments.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};

use super::at::AtArgs;
use super::export;
use super::failure::{Exit, Failure};
use super::folder::{self, KINDS, Kind};
use super::global::Context;
use super::output::{Column, Format, text};
use super::terminal::plain;

const COLUMNS: &[Column] = &[
    Column::text("ITEM", "/item"),
    Column::text("VERSION", "/version"),
    Column::time("CHANGED", "/modified_at"),
    Column::text("DESCRIPTION", "/description"),
    Column::text("DIGEST", "/digest").wide(),
];

/// Show everything as it was at a moment: all scripts, capabilities, agents and pins
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  coordinator audit replay --to 2026-11-17T12:00
  coordinator audit replay --to 2h -o json | jq '.agents[].name'
  coordinator audit replay --to 42 --dir as-of-42

A number is a sequence of the log, all else a time. With --dir it is written as a folder, as export
writes the present one; agents that runners brought are left out there.")]
pub struct ReplayArgs {
    /// The moment: 2026-11-20T09:00:00Z, 2026-11-20 (UTC), 2h (ago), or a sequence
    #[arg(long, value_name = "TIME|SEQ")]
    to: String,

    /// Write it into this folder, which has none of it yet
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// Say what changed between two moments
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  coordinator audit diff --from 1d
  coordinator audit diff --from 2026-11-17 --to 2026-11-18
  coordinator audit diff --from 40 --to 42 -o json

Exit codes: 0 where nothing differs, 1 where something does.")]
pub struct DiffArgs {
    /// The first moment: 2026-11-20T09:00:00Z, 2026-11-20 (UTC), 2h (ago), or a sequence
    #[arg(long, value_name = "TIME|SEQ")]
    from: String,

    /// The second one [default: now]
    #[arg(long, value_name = "TIME|SEQ")]
    to: Option<String>,
}

pub async fn replay(context: &Context, args: &ReplayArgs) -> Result<(), Failure> {
    let at = AtArgs::of(&args.to);
    let catalog = at.get(context, &["audit", "replay"], &[]).await?;
    if let Some(dir) = &args.dir {
        return write(context, &catalog, dir).await;
    }
    let output = &context.output;
    match output.format {
        Format::Json | Format::Jsonl => output.json(&catalog),
        Format::Table | Format::Wide | Format::Name => {
            output.list(&catalog, &items(&catalog), "item", COLUMNS)
        }
    }
}

fn items(catalog: &Value) -> Vec<Value> {
    let mut items = Vec::new();
    for kind in KINDS {
        let of_kind = catalog[kind.plural()].as_array();
        for item in of_kind.map_or(&[][..], Vec::as_slice) {
            let mut row = item.clone();
            row["item"] = json!(format!("{}/{}", kind.as_str(), text(&item["name"])));
            items.push(row);
        }
    }
    let pins = catalog["pins"].as_array();
    for pin in pins.map_or(&[][..], Vec::as_slice) {
        items.push(json!({
            "item": format!("pin/{}", text(&pin["script"])),
            "modified_at": pin["pinned_at"],
            "description": place(pin),
        }));
    }
    items
}

async fn write(context: &Context, catalog: &Value, dir: &Path) -> Result<(), Failure> {
    let there = folder::kinds(dir);
    if let Some(kind) = there.first() {
        let there = dir.join(kind.plural());
        let what = format!("nothing was written: {} is there already", there.display());
        return Err(Failure::refused(what).hint("--dir with another folder"));
    }
    for kind in KINDS {
        let of_kind = dir.join(kind.plural());
        fs::create_dir_all(&of_kind)
            .map_err(|error| export::cannot_write(&of_kind).because(error))?;
        let items = catalog[kind.plural()].as_array();
        for item in items.map_or(&[][..], Vec::as_slice) {
            if !item["runner_id"].is_null() {
                continue;
            }
            let name = text(&item["name"]);
            let place = of_kind.join(&name);
            fs::create_dir(&place).map_err(|error| export::cannot_write(&place).because(error))?;
            match kind {
                Kind::Script => {
                    let digest = text(&item["digest"]);
                    let written = export::script(&context.client, &name, Some(&digest), &place);
                    let doing = |f: Failure| f.doing(format!("cannot write script {name}"));
                    written.await.map_err(doing)?;
                }
                Kind::Capability => export::capability(item, &place)?,
                Kind::Agent => export::agent(item, &place)?,
            }
            let line = format!("{}/{name} → {}", kind.as_str(), place.display());
            context.output.line(&line)?;
        }
    }
    Ok(())
}

pub async fn diff(context: &Context, args: &DiffArgs) -> Result<(), Failure> {
    let mut query = vec![("from", args.from.as_str())];
    query.extend(args.to.as_deref().map(|to| ("to", to)));
    let answer = context.client.get(&["audit", "diff"], &query).await?;
    let differences = answer["differences"].as_array();
    let differences = differences.map_or(&[][..], Vec::as_slice);
    let output = &context.output;
    match output.format {
        Format::Json => output.json(&answer)?,
        Format::Jsonl => differences
            .iter()
            .try_for_each(|difference| output.line(&difference.to_string()))?,
        Format::Name => differences.iter().try_for_each(|d| output.line(&item(d)))?,
        Format::Table | Format::Wide => {
            let (from, to) = (moment(&answer["from"]), moment(&answer["to"]));
            context.remark(&format!("from {from} to {to}"));
            if differences.is_empty() {
                output.line("nothing differs")?;
            }
            differences
                .iter()
                .try_for_each(|difference| output.line(&plain(&line(difference))))?;
        }
    }
    match differences.is_empty() {
        true => Ok(()),
        false => Err(Failure::silent(Exit::Refused)),
    }
}

/// `script/deploy changed (v1 → v3): description, deploy.sh`
fn line(difference: &Value) -> String {
    let (item, change) = (item(difference), text(&difference["change"]));
    let version = |field: &str| text(&difference[field]);
    match change.as_str() {
        "added" => format!("{item} added (v{})", version("to_version")),
        "removed" => format!("{item} removed (was v{})", version("from_version")),
        "changed" => {
            let what = difference["changes"].as_array().into_iter().flatten();
            let what: Vec<String> = what.map(text).collect();
            let what = match what.is_empty() {
                true => "made anew, as it was".to_owned(),
                false => what.join(", "),
            };
            let (from, to) = (version("from_version"), version("to_version"));
            format!("{item} changed (v{from} → v{to}): {what}")
        }
        // Pins.
        _ => format!("{item} {change}: {}", place(&difference["place"])),
    }
}

fn item(difference: &Value) -> String {
    format!(
        "{}/{}",
        text(&difference["kind"]),
        text(&difference["name"])
    )
}

fn place(place: &Value) -> String {
    match (&place["runner"], &place["tags"]) {
        (Value::Null, tags) => format!("tags {}", text(tags)),
        (runner, _) => format!("runner {}", text(runner)),
    }
}

/// `CATALOG 42, 2026-11-20T09:00:00Z`
fn moment(as_of: &Value) -> String {
    let (stream, sequence) = (text(&as_of["stream"]), text(&as_of["sequence"]));
    match as_of["at"].as_str() {
        Some(at) => format!("{stream} {sequence}, {at}"),
        None => format!("{stream} {sequence}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case(json!({"kind": "script", "name": "a", "change": "added", "to_version": 1}), "script/a added (v1)")]
    #[case(json!({"kind": "agent", "name": "a", "change": "removed", "from_version": 3}), "agent/a removed (was v3)")]
    #[case(
        json!({"kind": "script", "name": "a", "change": "changed", "from_version": 1, "to_version": 3, "changes": ["description", "a.sh"]}),
        "script/a changed (v1 → v3): description, a.sh"
    )]
    #[case(
        json!({"kind": "script", "name": "a", "change": "changed", "from_version": 1, "to_version": 2, "changes": []}),
        "script/a changed (v1 → v2): made anew, as it was"
    )]
    #[case(
        json!({"kind": "pin", "name": "a", "change": "unpinned", "place": {"runner": "web-1"}}),
        "pin/a unpinned: runner web-1"
    )]
    fn differences_are_told_in_a_line(#[case] difference: Value, #[case] told: &str) {
        assert_eq!(line(&difference), told);
    }
}
