//! What became of each item of `apply`, told when it is there, in the form that was asked for. It
//! decides nothing.

use reqwest::StatusCode;
use serde_json::{Value, json};

use super::failure::{Exit, Failure};
use super::global::Context;
use super::output::Format;
use super::plan::{Item, Step};
use super::prune::Surplus;
use super::terminal::note;

/// What became of one item.
pub struct Outcome {
    item: String,
    told: String,
    record: Value,
    failure: Option<Failure>,
}

/// Tells each outcome when it is there, in the form that was asked for.
pub struct Report<'a> {
    context: &'a Context,
    /// Whether items that stay as they are get a line, too.
    unchanged: bool,
    records: Vec<Value>,
}

impl Outcome {
    pub fn planned(item: &Item) -> Self {
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
    pub fn done(item: &Item, status: StatusCode, now: Option<u64>) -> Self {
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

    /// The server alone had it.
    pub fn surplus(surplus: &Surplus, action: &str, told: &str) -> Self {
        let Surplus { kind, name, .. } = surplus;
        let record = json!({"item": surplus.label(), "kind": kind.as_str(), "name": name,
            "action": action, "version_before": surplus.version, "version": null});
        Self {
            item: surplus.label(),
            told: format!("{told}{}", version(surplus.version)),
            record,
            failure: None,
        }
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

    pub fn failed(label: String, failure: Failure) -> Self {
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

impl<'a> Report<'a> {
    pub fn new(context: &'a Context, unchanged: bool) -> Self {
        Self {
            context,
            unchanged,
            records: Vec::new(),
        }
    }

    /// An error where no further item can fare better ends it all.
    pub fn add(&mut self, outcome: Outcome) -> Result<(), Failure> {
        if let Some(failure) = outcome.failure {
            if failure.is_final() {
                return Err(failure);
            }
            note(failure.report().trim_end());
        }
        if outcome.record["action"] == "unchanged" && !self.unchanged {
            return Ok(());
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

    /// Whether something did not succeed up to here.
    pub fn has_failures(&self) -> bool {
        self.records
            .iter()
            .any(|record| record["action"] == "failed")
    }

    pub fn finish(self) -> Result<(), Failure> {
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

fn version(version: Option<u64>) -> String {
    version.map_or_else(String::new, |version| format!(" (v{version})"))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::super::folder::Kind;
    use super::super::plan::Content;
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
