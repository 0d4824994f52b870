//! `coordinator script check`: what the coordinator would refuse, found before it is sent. Documents, schemas,
//! folders and syntax are looked at here; what they refer to is looked for in the folder, and then asked.

use std::collections::BTreeSet;
use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};

use super::failure::{Exit, Failure};
use super::folder::{self, Kind, Source};
use super::global::Context;
use super::output::{Format, Output};
use super::script_syntax;
use super::terminal::note;

/// Check scripts, capabilities and agents in a folder: everything the coordinator would refuse, and syntax
#[derive(Args, Debug)]
#[command(after_help = "\
Needs no coordinator, unless the folder refers to what is not in it; --offline leaves that open.
A script is read by its interpreter where that is on this host; nothing of it is executed.

Examples:
  coordinator script check automations
  coordinator script check automations/scripts/deploy
  coordinator script check . --offline -o jsonl

Exit codes: 0 where nothing is wrong, 1 where something is.")]
pub struct CheckArgs {
    /// A folder as `apply` takes it, or that of one script
    #[arg(value_name = "DIR", default_value = ".")]
    dir: PathBuf,

    /// Ask no coordinator about names that are not in the folder
    #[arg(long)]
    offline: bool,
}

/// What is known of one of them.
struct Finding {
    label: String,
    faults: Vec<String>,
    open: Vec<String>,
}

/// A name that something refers to.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Reference {
    kind: &'static str,
    route: &'static str,
    name: String,
}

pub async fn run(context: &Context, args: &CheckArgs) -> Result<(), Failure> {
    let sources = folder::sources(&args.dir)?;
    let here: BTreeSet<(&str, String)> = sources
        .iter()
        .map(|source| (source.kind.as_str(), source.name().into_owned()))
        .collect();
    let asked = (!args.offline).then_some(context);
    let output = &context.output;
    let mut wrong = 0;
    let mut records = Vec::new();
    for source in &sources {
        let (mut finding, references) = look(source);
        for reference in references {
            if !here.contains(&(reference.kind, reference.name.clone())) {
                ask(asked, &reference, &mut finding).await?;
            }
        }
        wrong += usize::from(!finding.faults.is_empty());
        tell(output, &finding)?;
        records.push(record(&finding));
    }
    if output.format == Format::Json {
        output.json(&json!({"items": records}))?;
    }
    match wrong {
        0 => Ok(()),
        _ => {
            note(&format!("{wrong} of {} would be refused", sources.len()));
            Err(Failure::silent(Exit::Refused))
        }
    }
}

fn look(source: &Source) -> (Finding, BTreeSet<Reference>) {
    let mut finding = Finding {
        label: source.label(),
        faults: Vec::new(),
        open: Vec::new(),
    };
    let document = match source.kind {
        Kind::Script => script(source, &mut finding),
        Kind::Capability => folder::capability(&source.path),
        Kind::Agent => folder::agent(&source.path),
    };
    let named = document.and_then(|document| {
        let name = document["name"].as_str().unwrap_or_default().to_owned();
        source.holds(&name).map(|()| references(&document))
    });
    match named {
        Ok(references) => (finding, references),
        Err(failure) => {
            finding.faults.push(failure.line());
            (finding, BTreeSet::new())
        }
    }
}

fn script(source: &Source, finding: &mut Finding) -> Result<Value, Failure> {
    let packed = folder::pack(&source.path)?;
    let checked = script_syntax::check(&packed.folder);
    finding.faults.extend(checked.faults);
    finding.open.extend(checked.skipped);
    Ok(json!({"name": packed.name}))
}

fn references(document: &Value) -> BTreeSet<Reference> {
    let mut found = BTreeSet::new();
    let mut add = |kind: Kind, name: &Value| {
        if let Some(name) = name.as_str() {
            found.insert(Reference {
                kind: kind.as_str(),
                route: kind.plural(),
                name: name.to_owned(),
            });
        }
    };
    add(Kind::Script, &document["script"]);
    let capabilities = document["capabilities"].as_array().into_iter().flatten();
    capabilities.for_each(|name| add(Kind::Capability, name));
    let hooks = document["hooks"].as_object().into_iter().flatten();
    hooks.for_each(|(_, hook)| add(Kind::Agent, &hook["agent_name"]));
    found
}

async fn ask(
    context: Option<&Context>,
    reference: &Reference,
    finding: &mut Finding,
) -> Result<(), Failure> {
    let Reference { kind, route, name } = reference;
    let open = |why: &str| format!("whether there is {kind} {name} is open: {why}");
    let Some(context) = context else {
        finding.open.push(open("it is not in this folder"));
        return Ok(());
    };
    match context.client.find(&[route, name], &[]).await {
        Ok(Some(_)) => {}
        Ok(None) => finding.faults.push(format!(
            "it refers to {kind} {name}, which is neither in this folder nor on the coordinator"
        )),
        Err(failure) if failure.exit() == Exit::Unreachable => {
            finding.open.push(open("the coordinator does not answer"));
        }
        Err(failure) => return Err(failure),
    }
    Ok(())
}

fn tell(output: &Output, finding: &Finding) -> Result<(), Failure> {
    match output.format {
        Format::Json => Ok(()),
        Format::Jsonl => output.line(&record(finding).to_string()),
        Format::Name if finding.faults.is_empty() => Ok(()),
        Format::Name => output.line(&finding.label),
        Format::Table | Format::Wide => {
            let verdict = match finding.faults.is_empty() {
                true => "ok",
                false => "would be refused",
            };
            output.line(&format!("{} {verdict}", finding.label))?;
            let faults = finding.faults.iter().map(|fault| format!("  - {fault}"));
            let open = finding.open.iter().map(|open| format!("  ? {open}"));
            faults.chain(open).try_for_each(|line| output.line(&line))
        }
    }
}

fn record(finding: &Finding) -> Value {
    json!({"item": finding.label, "ok": finding.faults.is_empty(), "faults": finding.faults, "open": finding.open})
}
