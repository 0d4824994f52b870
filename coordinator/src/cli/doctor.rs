//! `coordinator doctor`: what is wrong, and the command that repairs it. Asks the coordinator, and where
//! it does not answer looks at the data folder on this host and says what that says.

use std::path::Path;

use clap::Args;
use serde_json::{Value, json};

use super::failure::{Exit, Failure};
use super::global::{Context, GlobalArgs};
use super::output::Format;
use crate::diagnosis::folder;

/// Look at everything, and say what is wrong and what to do
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  coordinator doctor
  coordinator doctor --fix
  coordinator doctor -o json | jq '.findings[] | select(.severity != \"ok\")'

Exit codes: 0 nothing is wrong, 1 something needs attention, 3 the coordinator does not answer.")]
pub struct DoctorArgs {
    /// Repair what can be repaired here: closes to others what only its owner should read
    #[arg(long)]
    fix: bool,
}

pub async fn run(context: &Context, global: &GlobalArgs, args: &DoctorArgs) -> Result<(), Failure> {
    let here = global
        .is_on_this_host()
        .then(|| global.data_dir().ok())
        .flatten();
    if let Some(data_dir) = here.as_ref().filter(|_| args.fix) {
        let done = folder::close_to_others(data_dir);
        done.iter()
            .for_each(|done| context.remark(&format!("done: {done}")));
    }
    let (report, dead) = match context.client.get(&["doctor"], &[]).await {
        Ok(report) => (report, None),
        Err(failure) if failure.exit() == Exit::Unreachable => {
            let report = silent(context, here.as_deref(), &failure);
            (report, Some(Failure::silent(Exit::Unreachable)))
        }
        Err(failure) => return Err(failure),
    };
    show(context, &report)?;
    match (dead, report["worst"].as_str()) {
        (Some(dead), _) => Err(dead),
        (None, Some("ok" | "note")) => Ok(()),
        (None, _) => Err(Failure::silent(Exit::Refused)),
    }
}

/// What can be said of a coordinator that does not answer.
fn silent(context: &Context, here: Option<&Path>, failure: &Failure) -> Value {
    let mut findings = vec![json!({
        "check": "coordinator", "severity": "failure", "text": failure.line(),
        "try": "coordinator serve, or --url where it listens",
    })];
    let looked = here.into_iter().flat_map(|data_dir| {
        let found = [folder::look(data_dir), folder::look_at_dead(data_dir)];
        found.into_iter().flatten()
    });
    findings.extend(looked.map(|finding| json!(finding)));
    if here.is_none() {
        let text = format!(
            "{} is another host, so its data folder cannot be looked at from here",
            context.client.base()
        );
        findings.push(json!({"check": "data folder", "severity": "note", "text": text}));
    }
    json!({"worst": "failure", "findings": findings})
}

fn show(context: &Context, report: &Value) -> Result<(), Failure> {
    let output = &context.output;
    let findings = report["findings"].as_array().map_or(&[][..], Vec::as_slice);
    match output.format {
        Format::Json => output.json(report),
        Format::Jsonl => findings
            .iter()
            .try_for_each(|finding| output.line(&finding.to_string())),
        Format::Name => findings
            .iter()
            .filter(|finding| !matches!(finding["severity"].as_str(), Some("ok" | "note")))
            .try_for_each(|finding| output.line(finding["check"].as_str().unwrap_or_default())),
        Format::Table | Format::Wide => findings.iter().try_for_each(|finding| {
            let part = |field: &str| finding[field].as_str().unwrap_or_default().to_owned();
            output.line(&format!(
                "{:8} {:12} {}",
                part("severity"),
                part("check"),
                part("text")
            ))?;
            match finding["try"].as_str() {
                Some(attempt) => output.line(&format!("{:21} try: {attempt}", "")),
                None => Ok(()),
            }
        }),
    }
}
