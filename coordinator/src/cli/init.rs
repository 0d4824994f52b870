//! `coordinator init`: writes the starter folder, which is part of this program. Never over
//! anything that is there already.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use clap::Args;
use rust_embed::RustEmbed;

use super::failure::Failure;
use super::output::Output;
use super::terminal::note;

#[derive(RustEmbed)]
#[folder = "starter/"]
#[allow_missing = true]
struct Starter;

/// Write a folder of example scripts and agents to begin with
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  coordinator init
  coordinator init automations && coordinator apply -f automations")]
pub struct InitArgs {
    /// Where to; made where it does not exist
    #[arg(value_name = "DIR", default_value = ".")]
    dir: PathBuf,
}

pub fn run(output: &Output, quiet: bool, args: &InitArgs) -> Result<(), Failure> {
    let files: Vec<(String, Vec<u8>)> = Starter::iter()
        .filter_map(|path| Some((path.to_string(), Starter::get(&path)?.data.into_owned())))
        .collect();
    if files.is_empty() {
        return Err(Failure::refused(
            "this program was built without the starter folder",
        ));
    }
    write_all(&args.dir, &files)?;
    for (path, _) in &files {
        output.line(&args.dir.join(path).display().to_string())?;
    }
    if !quiet {
        note(&format!(
            "next: coordinator apply -f {}",
            args.dir.display()
        ));
    }
    Ok(())
}

/// All of these files, or none where one is there already.
pub fn write_all(dir: &Path, files: &[(String, Vec<u8>)]) -> Result<(), Failure> {
    let in_the_way: Vec<String> = files
        .iter()
        .map(|(path, _)| dir.join(path))
        .filter(|path| path.symlink_metadata().is_ok())
        .map(|path| path.display().to_string())
        .collect();
    if !in_the_way.is_empty() {
        return Err(
            Failure::refused("nothing was written: these files are there already")
                .details(in_the_way)
                .hint("coordinator init NEW-DIR"),
        );
    }
    files
        .iter()
        .try_for_each(|(path, bytes)| write(&dir.join(path), bytes))
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let written = path
        .parent()
        .map_or(Ok(()), fs::create_dir_all)
        .and_then(|()| {
            // What begins with an interpreter's line is meant to be run.
            let mode = if bytes.starts_with(b"#!") {
                0o755
            } else {
                0o644
            };
            let mut file = OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(mode)
                .open(path)?;
            file.write_all(bytes)
        });
    written.map_err(|error| {
        Failure::refused(format!("cannot write {}", path.display())).because(error)
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn starter() -> Vec<(String, Vec<u8>)> {
        vec![
            ("scripts/deploy/deploy.sh".into(), b"#!/bin/bash\n".to_vec()),
            ("scripts/deploy/script.json".into(), b"{}".to_vec()),
        ]
    }

    #[test]
    fn writes_everything_and_what_runs_is_executable() {
        let dir = tempfile::tempdir().unwrap();
        write_all(&dir.path().join("new"), &starter()).unwrap();
        let mode = |path: &str| {
            fs::metadata(dir.path().join("new/scripts/deploy").join(path))
                .unwrap()
                .permissions()
                .mode()
                & 0o100
        };
        assert_eq!((mode("deploy.sh"), mode("script.json")), (0o100, 0));
    }

    #[test]
    fn one_file_in_the_way_and_nothing_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let there = dir.path().join("scripts/deploy/script.json");
        fs::create_dir_all(there.parent().unwrap()).unwrap();
        fs::write(&there, "mine").unwrap();
        let failure = write_all(dir.path(), &starter()).unwrap_err();
        assert!(
            failure.report().contains("scripts/deploy/script.json"),
            "{}",
            failure.report()
        );
        assert!(!dir.path().join("scripts/deploy/deploy.sh").exists());
        assert_eq!(fs::read_to_string(there).unwrap(), "mine");
    }
}
