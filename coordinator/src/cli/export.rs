//! `coordinator export`: writes what the server has as the folder that `apply` reads. The same
//! state gives the same bytes, so a repository shows what changed and nothing else.

use std::fs;
use std::path::{Path, PathBuf};

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use clap::Args;
use schemas::{AGENT_JSON, CAPABILITY_JSON};
use serde_json::{Value, json};

use super::client::Client;
use super::failure::Failure;
use super::folder::{self, KINDS, Kind, STATUS};
use super::global::Context;
use super::output::Format;
use super::plan;
use super::terminal::agreed;

/// Write all scripts, capabilities and agents into a folder, as apply reads them
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  coordinator export automations
  coordinator export . --overwrite && git diff

Agents that a runner brought are its own, and are left out.")]
pub struct ExportArgs {
    /// Where to; made where it does not exist
    #[arg(value_name = "DIR")]
    dir: PathBuf,

    /// Replace the folders scripts/, capabilities/ and agents/ that are there; all else in DIR stays
    #[arg(long)]
    overwrite: bool,

    /// Do not ask before replacing what is there
    #[arg(short, long)]
    yes: bool,
}

pub async fn run(context: &Context, args: &ExportArgs) -> Result<(), Failure> {
    let there: Vec<String> = folder::kinds(&args.dir)
        .into_iter()
        .map(|kind| args.dir.join(kind.plural()).display().to_string())
        .collect();
    may_replace(context, args, &there)?;
    // Beside the place, so that one move of each folder ends it, and a failure leaves all as it was.
    fs::create_dir_all(&args.dir).map_err(|error| cannot_write(&args.dir).because(error))?;
    let fresh = tempfile::Builder::new()
        .prefix(".export-")
        .tempdir_in(&args.dir)
        .map_err(|error| cannot_write(&args.dir).because(error))?;
    let mut records = Vec::new();
    for kind in KINDS {
        records.extend(export(&context.client, kind, fresh.path()).await?);
    }
    for kind in KINDS {
        let place = args.dir.join(kind.plural());
        put(&fresh.path().join(kind.plural()), &place)
            .map_err(|error| cannot_write(&place).because(error))?;
    }
    tell(context, &args.dir, &records)
}

fn may_replace(context: &Context, args: &ExportArgs, there: &[String]) -> Result<(), Failure> {
    let refused = || Failure::refused("nothing was written");
    if there.is_empty() {
        return Ok(());
    }
    if !args.overwrite {
        let in_the_way = format!("these are there already: {}", there.join(", "));
        return Err(refused()
            .details([in_the_way])
            .hint("--overwrite, or another folder"));
    }
    let asked = context.output.terminal.can_ask() && !args.yes;
    match !asked || agreed(&format!("{} will be replaced.", there.join(", "))) {
        true => Ok(()),
        false => Err(refused().hint("answer y, or pass -y")),
    }
}

/// All of one kind, each in a folder of its own.
async fn export(client: &Client, kind: Kind, dir: &Path) -> Result<Vec<Value>, Failure> {
    let dir = dir.join(kind.plural());
    fs::create_dir(&dir).map_err(|error| cannot_write(&dir).because(error))?;
    let list = client.get(&[kind.plural()], &[]).await?;
    let mut records = Vec::new();
    for item in list.as_array().into_iter().flatten() {
        let name = item["name"].as_str().unwrap_or_default();
        if !item["runner_id"].is_null() {
            continue;
        }
        let place = dir.join(name);
        fs::create_dir(&place).map_err(|error| cannot_write(&place).because(error))?;
        match kind {
            Kind::Script => script(client, name, None, &place).await?,
            Kind::Capability => {
                capability(&client.get(&["capabilities", name], &[]).await?, &place)?;
            }
            Kind::Agent => {
                let raw = [("raw", "true")];
                agent(&client.get(&["agents", name], &raw).await?, &place)?;
            }
        }
        let label = format!("{}/{name}", kind.as_str());
        records.push(json!({"item": label, "kind": kind.as_str(), "name": name,
            "path": format!("{}/{name}", kind.plural())}));
    }
    Ok(records)
}

/// Writes a script's folder: the present one, or the one of a digest.
pub async fn script(
    client: &Client,
    name: &str,
    digest: Option<&str>,
    place: &Path,
) -> Result<(), Failure> {
    let mut query = vec![("format", "zst")];
    query.extend(digest.map(|digest| ("digest", digest)));
    let bundle = client
        .download(&["scripts", name, "download"], &query)
        .await?;
    let folder = folder::unpack(&bundle)?;
    let written = Dir::open_ambient_dir(place, ambient_authority())
        .map_err(|error| cannot_write(place).because(error))?;
    folder
        .write_to(&written)
        .map_err(|error| cannot_write(place).because(error))
}

pub fn capability(there: &Value, place: &Path) -> Result<(), Failure> {
    let document = plan::canonical_capability(there);
    let file = place.join(CAPABILITY_JSON);
    fs::write(&file, format!("{document:#}\n")).map_err(|error| cannot_write(&file).because(error))
}

pub fn agent(there: &Value, place: &Path) -> Result<(), Failure> {
    let mut document = plan::canonical(there);
    // Being active is what a file means that says nothing.
    if document[STATUS] == "active"
        && let Some(fields) = document.as_object_mut()
    {
        fields.remove(STATUS);
    }
    let file = place.join(AGENT_JSON);
    fs::write(&file, format!("{document:#}\n")).map_err(|error| cannot_write(&file).because(error))
}

fn put(fresh: &Path, place: &Path) -> std::io::Result<()> {
    if place.exists() {
        // Into the temporary folder, and gone with it.
        fs::rename(place, fresh.with_extension("old"))?;
    }
    fs::rename(fresh, place)
}

fn tell(context: &Context, dir: &Path, records: &[Value]) -> Result<(), Failure> {
    let output = &context.output;
    let line = |record: &Value, field: &str| record[field].as_str().unwrap_or_default().to_owned();
    match output.format {
        Format::Json => output.json(&json!({ "items": records })),
        Format::Jsonl => records
            .iter()
            .try_for_each(|record| output.line(&record.to_string())),
        Format::Name => records
            .iter()
            .try_for_each(|record| output.line(&line(record, "item"))),
        Format::Table | Format::Wide => records.iter().try_for_each(|record| {
            let path = dir.join(line(record, "path"));
            output.line(&format!("{} → {}", line(record, "item"), path.display()))
        }),
    }
}

pub fn cannot_write(path: &Path) -> Failure {
    Failure::refused(format!("cannot write {}", path.display()))
}
