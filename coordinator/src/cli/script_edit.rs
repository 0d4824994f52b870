//! `coordinator script edit`: one file of a script in the user's editor, the difference shown, the whole stored as
//! the next version. What was written is kept where it could not be stored.

use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Args;
use schemas::bundle::{File, Folder};
use schemas::{FilePath, SCRIPT_JSON, ScriptDocument};
use serde_json::Value;

use super::diff;
use super::failure::Failure;
use super::folder;
use super::global::{Context, editor};
use super::input::read_text;
use super::output::{Format, text};
use super::script_syntax;
use super::terminal::note;

/// Edit a file of a script with your editor, and store it as the next version
#[derive(Args, Debug)]
#[command(after_help = "\
The editor is $VISUAL, else $EDITOR, else vi. A file that you leave as it is changes nothing. What the
coordinator refuses, or somebody else changed meanwhile, is kept in a file, and --from takes it up again.

Examples:
  coordinator script edit deploy
  coordinator script edit deploy --file script.json     # what it takes, demands and may do
  EDITOR='code --wait' coordinator script edit deploy
  coordinator script edit deploy --from deploy.sh --dry-run")]
pub struct EditArgs {
    /// Name of the script
    name: String,

    /// Which of its files [default: the one that runs]
    #[arg(long, value_name = "PATH")]
    file: Option<String>,

    /// Take the text from here instead of an editor
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,

    /// Show the difference, and store nothing
    #[arg(long)]
    dry_run: bool,
}

/// A script as it was when the editing began.
struct Before {
    version: u64,
    folder: Folder,
    path: String,
}

pub async fn run(context: &Context, args: &EditArgs) -> Result<(), Failure> {
    let before = before(context, args).await?;
    let old = text_of(&before)?;
    let new = match &args.from {
        Some(file) => read_text(file)?,
        None => edited(&before.path, &old)?,
    };
    if new == old {
        context.remark(&format!(
            "nothing was changed; {} stays as it is",
            args.name
        ));
        return Ok(());
    }
    let color = context.output.terminal.color_stderr();
    let difference = diff::unified(&before.path, old.as_bytes(), new.as_bytes(), color);
    context.remark(difference.trim_end());
    if args.dry_run {
        return Ok(());
    }
    let stored = store(context, args, &before, &new).await;
    let script = stored.map_err(|failure| kept(args, &before.path, &new, failure))?;
    let output = &context.output;
    match output.format {
        Format::Table | Format::Wide => output.line(&format!(
            "script/{} changed (v{} → v{})",
            args.name,
            before.version,
            text(&script["version"])
        )),
        Format::Name => output.line(&args.name),
        Format::Json | Format::Jsonl => output.json(&script),
    }
}

async fn before(context: &Context, args: &EditArgs) -> Result<Before, Failure> {
    let found = context.client.get(&["scripts", &args.name], &[]).await;
    let script = found.map_err(|failure| failure.or_hint("coordinator script list"))?;
    let version = script["version"].as_u64().unwrap_or_default();
    // Exactly that version: another may have come in between.
    let number = version.to_string();
    let query = [("format", "zst"), ("version", number.as_str())];
    let route = ["scripts", args.name.as_str(), "download"];
    let folder = folder::unpack(&context.client.download(&route, &query).await?)?;
    let path = args.file.clone();
    let path = path.unwrap_or_else(|| text(&script["script_file"]));
    if folder.get(&path).is_none() {
        let files = folder.files().map(|(path, _)| path.as_str().to_owned());
        return Err(
            Failure::usage(format!("script {} has no file {path}", args.name))
                .details(files)
                .hint("--file with one of these"),
        );
    }
    Ok(Before {
        version,
        folder,
        path,
    })
}

fn text_of(before: &Before) -> Result<String, Failure> {
    let bytes = before
        .folder
        .get(&before.path)
        .map(|file| file.bytes.clone());
    String::from_utf8(bytes.unwrap_or_default()).map_err(|_| {
        Failure::refused(format!("{} is no text", before.path))
            .hint("coordinator export DIR, change it there, coordinator apply -f DIR")
    })
}

/// What the editor left.
fn edited(path: &str, old: &str) -> Result<String, Failure> {
    let refused = |error| Failure::refused("cannot make a file to edit").because(error);
    let folder = tempfile::Builder::new()
        .prefix("coordinator-edit-")
        .tempdir()
        .map_err(refused)?;
    // By its own name, so that editors know the language.
    let name = Path::new(path).file_name().unwrap_or(path.as_ref());
    let file = folder.path().join(name);
    std::fs::write(&file, old).map_err(refused)?;
    let editor = editor();
    // Editors are given with their options, as `code --wait`; the path is no part of the line.
    let ended = Command::new("sh")
        .arg("-c")
        .arg(format!("{editor} \"$1\""))
        .arg(&editor)
        .arg(&file)
        .status();
    match ended {
        Ok(status) if status.success() => read_text(&file),
        Ok(status) => Err(Failure::refused(format!(
            "the editor `{editor}` ended with {status}; nothing was stored"
        ))
        .hint("EDITOR=nano coordinator script edit …")),
        Err(error) => {
            Err(Failure::refused(format!("cannot start the editor `{editor}`")).because(error))
        }
    }
}

async fn store(
    context: &Context,
    args: &EditArgs,
    before: &Before,
    new: &str,
) -> Result<Value, Failure> {
    let changed = changed(before, new)?;
    let document = changed.get(SCRIPT_JSON).map(|file| file.bytes.as_slice());
    let document = ScriptDocument::from_json(document.unwrap_or_default());
    let name = document.map(|document| document.name.to_string());
    if name.as_ref().ok() != Some(&args.name) {
        return Err(
            Failure::refused("a script keeps its name").hint("coordinator script create -f DIR")
        );
    }
    for fault in script_syntax::check(&changed).faults {
        context.remark(&format!("  warning: {fault}"));
    }
    let now = context.client.get(&["scripts", &args.name], &[]).await?;
    if now["version"].as_u64() != Some(before.version) {
        return Err(Failure::refused(format!(
            "somebody changed it meanwhile: it is v{} now, and you began with v{}",
            text(&now["version"]),
            before.version
        )));
    }
    let bundle = changed
        .pack()
        .map_err(|error| Failure::refused("it cannot be stored").because(error))?;
    let path = ["scripts", args.name.as_str()];
    let answer = context
        .client
        .replace(&path, before.version, bundle.bytes)
        .await?;
    Ok(answer.body)
}

/// The folder with the new text, checked as the server will.
fn changed(before: &Before, new: &str) -> Result<Folder, Failure> {
    let refused = || Failure::refused("it cannot be stored");
    let files = before.folder.files().map(|(path, file)| {
        let file = match path.as_str() == before.path {
            true => File {
                bytes: new.as_bytes().to_vec(),
                ..file.clone()
            },
            false => file.clone(),
        };
        (path.clone(), file)
    });
    let files: Vec<(FilePath, File)> = files.collect();
    let json = files.iter().find(|(path, _)| path.as_str() == SCRIPT_JSON);
    let json = json
        .map(|(_, file)| file.bytes.to_vec())
        .unwrap_or_default();
    let document = ScriptDocument::from_json(&json).map_err(|error| refused().because(error))?;
    document.check().map_err(|error| refused().because(error))?;
    Folder::script(&document, files).map_err(|error| refused().because(error))
}

/// Nobody types it twice.
fn kept(args: &EditArgs, path: &str, new: &str, failure: Failure) -> Failure {
    if args.from.is_some() {
        return failure.doing(format!("cannot store script {}", args.name));
    }
    let name = Path::new(path).file_name().unwrap_or_default();
    let kept = tempfile::Builder::new()
        .prefix(&format!("{}-", args.name))
        .suffix(&format!("-{}", name.to_string_lossy()))
        .tempfile()
        .and_then(|file| {
            std::fs::write(file.path(), new)?;
            Ok(file.keep()?.1)
        });
    let failure = failure.doing(format!("cannot store script {}", args.name));
    match kept {
        Ok(kept) => {
            let file = match &args.file {
                Some(file) => format!(" --file {file}"),
                None => String::new(),
            };
            failure
                .details([format!("your text is in {}", kept.display())])
                .hint(format!(
                    "coordinator script edit {}{file} --from {}",
                    args.name,
                    kept.display()
                ))
        }
        Err(error) => {
            note(new);
            failure.details([format!(
                "your text could not be kept ({error}); it stands above"
            )])
        }
    }
}
