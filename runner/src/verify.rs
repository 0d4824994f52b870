//! `runner verify`: says how the scripts folder of this host stands to what its runners need. Changes
//! nothing: a runner at work on the folder puts it right by itself.

use crate::plan::{Entry, Ledger, Observed};
use crate::shelf::Shelf;
use events::RunnerId;
use schemas::Name;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::path::Path;

/// What stands under a name that some runner needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finding {
    Good,
    /// The link is right, and the files behind it are not what was unpacked.
    Changed,
    Missing,
    /// It points to another version, which is whole.
    Other,
    /// Somebody else's file, folder or link stands there; nobody of us touches it.
    Foreign,
}

/// Everything that was looked at.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Report {
    pub scripts: BTreeMap<Name, Finding>,
    /// Names of ours that no runner needs any more.
    pub unneeded: BTreeSet<Name>,
}

/// Looks at the folder of all runners on it.
///
/// # Errors
/// When the folder cannot be read, as when no runner has ever worked on it.
pub fn verify(scripts_dir: &Path, runner_id: &RunnerId) -> io::Result<Report> {
    Ok(report(&Shelf::look(scripts_dir, runner_id).observe()?))
}

fn report(observed: &Observed) -> Report {
    let ledgers = || observed.others.iter().chain([&observed.mine]);
    let names: BTreeSet<&Name> = ledgers().flat_map(|ledger| ledger.scripts.keys()).collect();
    let finding = |name: &Name| (name.clone(), finding(observed, ledgers(), name));
    let ours = observed.entries.iter();
    let ours = ours.filter(|(_, entry)| matches!(entry, Entry::Link(_)));
    let unneeded = ours
        .map(|(name, _)| name)
        .filter(|name| !names.contains(name));
    Report {
        unneeded: unneeded.cloned().collect(),
        scripts: names.into_iter().map(finding).collect(),
    }
}

fn finding<'a>(
    observed: &Observed,
    ledgers: impl Iterator<Item = &'a Ledger>,
    name: &Name,
) -> Finding {
    let needs = ledgers.filter_map(|ledger| ledger.scripts.get(name));
    let newest = needs.max_by_key(|need| need.catalog_sequence);
    match (observed.entries.get(name), newest) {
        (None, _) => Finding::Missing,
        (Some(Entry::Foreign), _) => Finding::Foreign,
        (Some(Entry::Link(digest)), _) if !observed.bundles.contains(digest) => Finding::Changed,
        (Some(Entry::Link(digest)), Some(need)) if need.digest == *digest => Finding::Good,
        (Some(Entry::Link(_)), _) => Finding::Other,
    }
}

impl Report {
    pub fn is_good(&self) -> bool {
        self.scripts
            .values()
            .all(|finding| *finding == Finding::Good)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, finding) in &self.scripts {
            writeln!(f, "{name}: {finding}")?;
        }
        for name in &self.unneeded {
            writeln!(
                f,
                "{name}: no runner needs it any more; it goes with the next change"
            )?;
        }
        let good = self
            .scripts
            .values()
            .filter(|finding| **finding == Finding::Good);
        write!(
            f,
            "{} of {} scripts are as they should be",
            good.count(),
            self.scripts.len()
        )
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Good => "as it should be",
            Self::Changed => "changed or incomplete on the disk; a runner at work here replaces it",
            Self::Missing => "missing; a runner at work here puts it back",
            Self::Other => "another version than the newest one needed; a runner at work here moves it on",
            Self::Foreign => {
                "something that no runner made stands in its place and stays untouched; move it away"
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Need;
    use schemas::Digest;

    #[test]
    fn every_kind_of_damage_is_told() {
        let name = |text: &str| text.parse::<Name>().unwrap();
        let (v1, v2) = (Digest::of(b"v1"), Digest::of(b"v2"));
        let need = Need {
            digest: v2,
            catalog_sequence: 2,
        };
        let needed = ["good", "changed", "missing", "other", "foreign"];
        let scripts = needed.map(|text| {
            let digest = if text == "changed" {
                Digest::of(b"gone")
            } else {
                v2
            };
            (
                name(text),
                Need {
                    digest,
                    ..need.clone()
                },
            )
        });
        let observed = Observed {
            bundles: [v1, v2].into(),
            entries: [
                (name("good"), Entry::Link(v2)),
                (name("changed"), Entry::Link(Digest::of(b"gone"))),
                (name("other"), Entry::Link(v1)),
                (name("foreign"), Entry::Foreign),
                (name("old"), Entry::Link(v1)),
                (name("theirs"), Entry::Foreign),
            ]
            .into(),
            mine: Ledger {
                scripts: scripts.into(),
            },
            others: Vec::new(),
        };
        let report = report(&observed);
        let expected = [
            ("good", Finding::Good),
            ("changed", Finding::Changed),
            ("missing", Finding::Missing),
            ("other", Finding::Other),
            ("foreign", Finding::Foreign),
        ];
        let expected: BTreeMap<Name, Finding> = expected.map(|(n, f)| (name(n), f)).into();
        assert_eq!(report.scripts, expected);
        assert_eq!(report.unneeded, [name("old")].into());
        assert!(
            !report.is_good()
                && report
                    .to_string()
                    .ends_with("1 of 5 scripts are as they should be")
        );
    }
}
