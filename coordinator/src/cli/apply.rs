//! `coordinator apply`: makes the server's scripts and agents what a folder says. One line per
//! item, nothing half hidden. It deletes nothing: what is not in the folder is left alone.

use std::path::PathBuf;

use clap::Args;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::client::Body;
use super::failure::{Exit, Failure};
use super::folder::{self, Kind};
use super::global::Context;
use super::output::Format;
use super::plan::{self, Content, Item, Step};
use super::terminal::note;

/// Create and update scripts and agents from a folder
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  coordinator apply -f .
  coordinator apply -f automations --dry-run
  coordinator apply -f scripts/deploy -y

The folder holds scripts/<name>/script.json and agents/<name>/agent.json (or
agents/<name>.json), or is one of these folders itself. Nothing is deleted.")]
pub struct ApplyArgs {
    /// Folder with scripts/ and agents/, or the folder of one script or agent
    #[arg(short, long, value_name = "DIR")]
    file: PathBuf,

    /// Show what would change, change nothing
    #[arg(long)]
    dry_run: bool,

    /// Do not ask before changing what exists (asked on a terminal only)
    #[arg(short, long)]
    yes: bool,
}

/// What became of one item.
struct Outcome {
    item: String,
    told: String,
    record: Value,
    failure: Option<Failure>,
}

pub async fn run(context: &Context, args: &ApplyArgs) -> Result<(), Failure> {
    let mut report = Report {
        context,
        records: Vec::new(),
    };
    let mut items = Vec::new();
    for source in folder::sources(&args.file)? {
        match plan::item(
            &context.client,
            &source,
            context.output.terminal.color_stderr(),
        )
        .await
        {
            Ok(item) => items.push(item),
            Err(failure) => report.add(Outcome::failed(source.label(), failure))?,
        }
    }
    let items = hooks_first(items);
    show_differences(context, &items);
    let changes = items
        .iter()
        .filter(|item| matches!(item.step, Step::Change { .. }))
        .count();
    if !args.dry_run && changes > 0 && !args.yes {
        confirm(context, changes)?;
    }
    for item in items {
        let outcome = if args.dry_run {
            Outcome::planned(&item)
        } else {
            carry_out(context, item).await
        };
        report.add(outcome)?;
    }
    report.finish()
}

/// An agent comes after those that its hooks run: the server takes no hook that runs nobody.
fn hooks_first(items: Vec<Item>) -> Vec<Item> {
    let mut waiting = items;
    let mut ordered = Vec::with_capacity(waiting.len());
    while !waiting.is_empty() {
        let is_free = |item: &Item| {
            let hooks = item.hook_agents();
            let mut others = waiting.iter().filter(|other| other.name != item.name);
            !others.any(|other| other.kind == Kind::Agent && hooks.contains(&other.name.as_str()))
        };
        // In a circle none is free; then the server says what it lacks.
        let next = waiting.iter().position(is_free).unwrap_or_default();
        ordered.push(waiting.remove(next));
    }
    ordered
}

async fn carry_out(context: &Context, item: Item) -> Outcome {
    let label = item.label();
    if item.step == Step::Keep {
        return Outcome::planned(&item);
    }
    let (noun, body) = match &item.content {
        Content::Script(packed) => ("scripts", Body::Zstd(packed.bytes.clone())),
        Content::Agent(document) => ("agents", Body::Json(document)),
    };
    match context
        .client
        .send(Method::PUT, &[noun, &item.name], &[], body)
        .await
    {
        Ok(answer) => Outcome::done(&item, answer.status, answer.body["version"].as_u64()),
        Err(failure) => Outcome::failed(label, failure),
    }
}

impl Outcome {
    fn planned(item: &Item) -> Self {
        let told = match &item.step {
            Step::Keep => format!("unchanged{}", version(item.version)),
            Step::Create => "would be created".to_owned(),
            Step::Change { what, .. } => {
                format!("would change{}: {}", version(item.version), what.join(", "))
            }
        };
        let action = match item.step {
            Step::Keep => "unchanged",
            Step::Create => "create",
            Step::Change { .. } => "change",
        };
        Self::new(item, action, told, item.version)
    }

    /// What the server made of it; it may know better than the plan.
    fn done(item: &Item, status: StatusCode, now: Option<u64>) -> Self {
        if status == StatusCode::CREATED {
            return Self::new(item, "created", format!("created{}", version(now)), now);
        }
        if now.is_some() && now == item.version {
            return Self::new(item, "unchanged", format!("unchanged{}", version(now)), now);
        }
        let versions = match (item.version, now) {
            (Some(before), Some(now)) => format!(" (v{before} → v{now})"),
            (_, now) => version(now),
        };
        let what = match &item.step {
            Step::Change { what, .. } => format!(": {}", what.join(", ")),
            _ => String::new(),
        };
        Self::new(item, "changed", format!("changed{versions}{what}"), now)
    }

    fn new(item: &Item, action: &str, told: String, now: Option<u64>) -> Self {
        let mut record = json!({"item": item.label(), "kind": item.kind.as_str(), "name": item.name,
            "action": action, "version_before": item.version, "version": now});
        if let Step::Change { what, .. } = &item.step {
            record["changes"] = json!(what);
        }
        Self {
            item: item.label(),
            told,
            record,
            failure: None,
        }
    }

    fn failed(label: String, failure: Failure) -> Self {
        let record = json!({"item": label, "action": "failed", "error": failure.line()});
        let failure = Some(failure.doing(&label));
        Self {
            item: label,
            told: "failed".to_owned(),
            record,
            failure,
        }
    }
}

/// Tells each outcome when it is there, in the form that was asked for.
struct Report<'a> {
    context: &'a Context,
    records: Vec<Value>,
}

impl Report<'_> {
    /// An error where no further item can fare better ends it all.
    fn add(&mut self, outcome: Outcome) -> Result<(), Failure> {
        if let Some(failure) = outcome.failure {
            if matches!(failure.exit(), Exit::Unreachable | Exit::NotAllowed) {
                return Err(failure);
            }
            note(failure.report().trim_end());
        }
        let output = &self.context.output;
        match output.format {
            Format::Table | Format::Wide => {
                output.line(&format!("{} {}", outcome.item, outcome.told))?;
            }
            Format::Jsonl => output.line(&outcome.record.to_string())?,
            Format::Name => output.line(&outcome.item)?,
            Format::Json => {}
        }
        self.records.push(outcome.record);
        Ok(())
    }

    fn finish(self) -> Result<(), Failure> {
        let failed = self
            .records
            .iter()
            .filter(|record| record["action"] == "failed")
            .count();
        let of = self.records.len();
        if self.context.output.format == Format::Json {
            self.context.output.json(&json!({"items": self.records}))?;
        }
        if failed == 0 {
            return Ok(());
        }
        note(&format!("{failed} of {of} failed"));
        Err(Failure::silent(Exit::Refused))
    }
}

/// Text diffs are for eyes: on a terminal only, and never among the data.
fn show_differences(context: &Context, items: &[Item]) {
    if !context.output.terminal.stderr || context.quiet {
        return;
    }
    for item in items {
        if let Step::Change { diff, .. } = &item.step {
            note(&format!("{}\n{}", item.label(), diff.trim_end()));
        }
    }
}

fn confirm(context: &Context, changes: usize) -> Result<(), Failure> {
    let terminal = &context.output.terminal;
    if !terminal.stdin || !terminal.stderr {
        return Ok(());
    }
    note(&format!(
        "{changes} existing item(s) will change. Go on? [y/N]"
    ));
    let mut answer = String::new();
    let read = std::io::stdin().read_line(&mut answer);
    match (read, answer.trim().to_lowercase().as_str()) {
        (Ok(_), "y" | "yes") => Ok(()),
        _ => Err(Failure::refused("nothing was changed").hint("answer y, or pass -y")),
    }
}

fn version(version: Option<u64>) -> String {
    version.map_or_else(String::new, |version| format!(" (v{version})"))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn item(version: Option<u64>, step: Step) -> Item {
        Item {
            kind: Kind::Agent,
            name: "notifier".to_owned(),
            content: Content::Agent(json!({})),
            step,
            version,
        }
    }

    fn change() -> Step {
        Step::Change {
            what: vec!["demands.tags".to_owned(), "script".to_owned()],
            diff: String::new(),
        }
    }

    #[rstest]
    #[case::created(item(None, Step::Create), StatusCode::CREATED, Some(1), "created (v1)")]
    #[case::changed(
        item(Some(2), change()),
        StatusCode::OK,
        Some(3),
        "changed (v2 → v3): demands.tags, script"
    )]
    #[case::server_sees_no_change(
        item(Some(2), change()),
        StatusCode::OK,
        Some(2),
        "unchanged (v2)"
    )]
    #[case::no_versions(
        item(None, change()),
        StatusCode::OK,
        None,
        "changed: demands.tags, script"
    )]
    #[case::somebody_was_faster(item(None, Step::Create), StatusCode::OK, Some(2), "changed (v2)")]
    fn what_was_done(
        #[case] item: Item,
        #[case] status: StatusCode,
        #[case] now: Option<u64>,
        #[case] told: &str,
    ) {
        assert_eq!(Outcome::done(&item, status, now).told, told);
    }

    #[rstest]
    #[case(item(None, Step::Create), "would be created")]
    #[case(item(Some(2), Step::Keep), "unchanged (v2)")]
    #[case(item(Some(2), change()), "would change (v2): demands.tags, script")]
    fn what_would_be_done(#[case] item: Item, #[case] told: &str) {
        assert_eq!(Outcome::planned(&item).told, told);
    }
}
