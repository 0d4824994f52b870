//! `coordinator backup FILE`: the whole system as one file, taken from a running coordinator while it is
//! used. The file appears when it is whole, and not before.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use clap::Args;
use reqwest::Response;
use serde_json::{Value, json};

use super::failure::{Exit, Failure};
use super::global::Context;
use super::output::Column;
use super::progress::{Progress, size};
use crate::archive::{Archive, ArchiveError, Part};

/// Save everything (streams and bundles) into one file, while the system is in use
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  coordinator backup coordinator.backup
  coordinator backup --overwrite /srv/backups/monday.backup
  coordinator backup monday.backup --check

Everything that was acknowledged before this began is in it. Tokens and keys of the data folder are
not. `coordinator restore` puts it into an empty system.")]
pub struct BackupArgs {
    /// The file to write; a tar, compressed with zstd
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// Replace the file if it is there
    #[arg(long)]
    overwrite: bool,

    /// Write nothing: say whether this file is a whole backup, and what is in it
    #[arg(long, conflicts_with = "overwrite")]
    check: bool,
}

const COLUMNS: &[Column] = &[
    Column::text("FILE", "/file"),
    Column::made("SIZE", |backup| {
        size(backup["bytes"].as_u64().unwrap_or_default())
    }),
    Column::time("TAKEN", "/taken_at"),
    Column::text("COORDINATOR", "/coordinator"),
    Column::text("BROKER", "/broker"),
    Column::made("STREAMS", streams),
];

/// Only its owner may read what may hold secrets.
const OWNER_ONLY: u32 = 0o600;
/// What the streams take up; the server tells it with the file.
const ESTIMATE: &str = "x-backup-stream-bytes";

pub async fn run(context: &Context, args: &BackupArgs) -> Result<(), Failure> {
    if args.check {
        return show(context, &args.file);
    }
    if args.file.exists() && !args.overwrite {
        let there = format!("{} is there already", args.file.display());
        return Err(Failure::refused(there).hint("--overwrite, or another name"));
    }
    let part = unfinished(&args.file);
    let taken = take(context, &part).await;
    if taken.is_err() {
        // Half of one is worth nothing, and its name says so anyway.
        let _ = fs::remove_file(&part);
    }
    taken?;
    fs::rename(&part, &args.file).map_err(|error| cannot_write(&args.file).because(error))?;
    show(context, &args.file)
}

/// Receives the file, and sees that it is whole.
async fn take(context: &Context, part: &Path) -> Result<(), Failure> {
    let failed = |error| cannot_write(part).because(error);
    // Before anything is asked for: a folder that takes no file is a common mistake.
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(OWNER_ONLY)
        .open(part)
        .map_err(failed)?;
    let response = context.client.open(&["backup"], &[]).await?;
    receive(context, response, &mut file, part).await?;
    file.sync_all().map_err(failed)?;
    match Archive::open(part) {
        Ok(_) => Ok(()),
        Err(ArchiveError::CutOff(_) | ArchiveError::Foreign(_)) => Err(broken_off()),
        Err(error) => Err(Failure::refused(error.to_string())),
    }
}

async fn receive(
    context: &Context,
    mut response: Response,
    file: &mut File,
    part: &Path,
) -> Result<(), Failure> {
    let estimate = response.headers().get(ESTIMATE);
    let estimate = estimate.and_then(|text| text.to_str().ok()?.parse().ok());
    let mut progress = Progress::start(context, "saved", estimate);
    loop {
        match response.chunk().await {
            Ok(Some(bytes)) => {
                let written = file.write_all(&bytes);
                written.map_err(|error| cannot_write(part).because(error))?;
                progress.add(bytes.len() as u64);
            }
            Ok(None) => break,
            Err(_) => return Err(broken_off()),
        }
    }
    progress.end();
    Ok(())
}

/// What is in the file, read from itself.
fn show(context: &Context, file: &Path) -> Result<(), Failure> {
    let refused = |error: ArchiveError| Failure::refused(error.to_string()).because(error);
    let archive = Archive::open(file).map_err(refused)?;
    let mut streams = Vec::new();
    let taken = archive.each(|entry| {
        if let Part::Form(form) = entry.part {
            let form: Value = serde_json::from_slice(&form).unwrap_or_default();
            streams.push(json!({
                "name": entry.stream,
                "messages": form["state"]["messages"],
                "last_sequence": form["state"]["last_seq"],
            }));
        }
        true
    });
    taken.map_err(refused)?;
    let size = fs::metadata(file).map_or(0, |metadata| metadata.len());
    let backup = json!({
        "file": file.display().to_string(),
        "bytes": size,
        "taken_at": archive.manifest.taken_at,
        "coordinator": archive.manifest.coordinator,
        "broker": archive.manifest.broker,
        "streams": streams,
    });
    context.output.show(&backup, "file", COLUMNS)
}

fn streams(backup: &Value) -> String {
    let streams = backup["streams"].as_array().map_or(&[][..], Vec::as_slice);
    let each = streams.iter().map(|stream| {
        let name = stream["name"].as_str().unwrap_or_default();
        format!("{name} {}", stream["messages"])
    });
    each.collect::<Vec<_>>().join(", ")
}

fn unfinished(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".part");
    name.into()
}

fn broken_off() -> Failure {
    let what = "the backup broke off, so no file was written";
    Failure::new(Exit::Unreachable, what).hint("the same again; the coordinator's log says why")
}

fn cannot_write(path: &Path) -> Failure {
    Failure::refused(format!("cannot write {}", path.display()))
}
