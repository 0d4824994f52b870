//! From what this host should hold and what it does hold to the steps between them. Pure, and
//! derived from the disk alone, so that a crash between any two steps is put right by the next
//! plan.

use crate::lanes::{Want, Wanted};
use schemas::{Digest, Name};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// What one runner needs in a scripts folder. Runners may share the folder: nothing goes while
/// one of their ledgers names it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    pub scripts: BTreeMap<Name, Need>,
}

/// One script of a [`Ledger`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Need {
    pub digest: Digest,
    /// The decision behind it; of two runners' needs the newer one is linked.
    pub catalog_sequence: u64,
}

/// What stands under a script's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// Our link, to this bundle.
    Link(Digest),
    /// Something that we did not make.
    Foreign,
}

/// The scripts folder as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// Unpacked and whole.
    pub bundles: BTreeSet<Digest>,
    pub entries: BTreeMap<Name, Entry>,
    pub mine: Ledger,
    pub others: Vec<Ledger>,
}

impl Observed {
    /// What there is once a step is done.
    pub fn apply(&mut self, step: &Step) {
        match step.clone() {
            Step::Record(ledger) => self.mine = ledger,
            Step::Install(digest) => {
                self.bundles.insert(digest);
            }
            Step::Link { name, digest } => {
                self.entries.insert(name, Entry::Link(digest));
            }
            Step::Unlink { name } => {
                self.entries.remove(&name);
            }
            Step::Collect(digest) => {
                self.bundles.remove(&digest);
            }
        }
    }
}

/// One step on disk; each is safe to repeat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Say what we need, before it is there, so that nobody takes it away meanwhile.
    Record(Ledger),
    /// Fetch, check and unpack.
    Install(Digest),
    /// Let the name point to the bundle, in one move.
    Link {
        name: Name,
        digest: Digest,
    },
    Unlink {
        name: Name,
    },
    /// Delete a bundle that nobody needs, unless a run still uses it.
    Collect(Digest),
}

/// The steps, in order, and the names that cannot be served.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Plan {
    pub steps: Vec<Step>,
    /// Wanted names under which somebody else's file or folder stands.
    pub foreign: BTreeSet<Name>,
}

/// What leads from `observed` to `wanted`.
pub fn plan(wanted: &Wanted, observed: &Observed) -> Plan {
    let mine = ledger(wanted);
    let ledgers = || observed.others.iter().chain([&mine]);
    let needed: BTreeSet<&Digest> = ledgers()
        .flat_map(|ledger| ledger.scripts.values().map(|need| &need.digest))
        .collect();
    let newest = newest(ledgers());
    let mut plan = Plan::default();
    if mine != observed.mine {
        plan.steps.push(Step::Record(mine.clone()));
    }
    let missing = mine.scripts.values().map(|need| &need.digest);
    let missing: BTreeSet<&Digest> = missing.filter(|d| !observed.bundles.contains(d)).collect();
    plan.steps
        .extend(missing.into_iter().cloned().map(Step::Install));
    for (name, need) in &mine.scripts {
        match observed.entries.get(name) {
            Some(Entry::Foreign) => {
                plan.foreign.insert(name.clone());
            }
            entry => plan
                .steps
                .extend(link(name, need, newest[name], observed, entry)),
        }
    }
    for (name, entry) in &observed.entries {
        if matches!(entry, Entry::Link(_)) && !newest.contains_key(name) {
            plan.steps.push(Step::Unlink { name: name.clone() });
        }
    }
    let linked = linked_after(&plan.steps, observed);
    let in_use = |digest: &&Digest| needed.contains(digest) || linked.contains(digest);
    let unneeded = observed.bundles.iter().filter(|digest| !in_use(digest));
    let collect: Vec<Step> = unneeded.cloned().map(Step::Collect).collect();
    plan.steps.extend(collect);
    plan
}

/// What names point to once the steps are done. Another runner may not have fetched yet what its
/// ledger names; until then the version before it is what its scripts run.
fn linked_after(steps: &[Step], observed: &Observed) -> BTreeSet<Digest> {
    let mut links: BTreeMap<&Name, Digest> = BTreeMap::new();
    for (name, entry) in &observed.entries {
        if let Entry::Link(digest) = entry {
            links.insert(name, *digest);
        }
    }
    for step in steps {
        match step {
            Step::Link { name, digest } => links.insert(name, *digest),
            Step::Unlink { name } => links.remove(name),
            Step::Record(_) | Step::Install(_) | Step::Collect(_) => None,
        };
    }
    links.into_values().collect()
}

fn ledger(wanted: &Wanted) -> Ledger {
    let need = |(name, want): (&Name, &Want)| {
        let need = Need {
            digest: want.digest,
            catalog_sequence: want.catalog_sequence,
        };
        (name.clone(), need)
    };
    Ledger {
        scripts: wanted.iter().map(need).collect(),
    }
}

fn newest<'a>(ledgers: impl Iterator<Item = &'a Ledger>) -> BTreeMap<&'a Name, &'a Need> {
    let mut newest: BTreeMap<&Name, &Need> = BTreeMap::new();
    for (name, need) in ledgers.flat_map(|ledger| &ledger.scripts) {
        let known = newest.entry(name).or_insert(need);
        if need.catalog_sequence > known.catalog_sequence {
            *known = need;
        }
    }
    newest
}

/// The link that the name needs. Another runner's newer need is its own to link, once it has
/// the bundle; until then ours is better than none.
fn link(
    name: &Name,
    mine: &Need,
    newest: &Need,
    observed: &Observed,
    entry: Option<&Entry>,
) -> Option<Step> {
    let digest = if observed.bundles.contains(&newest.digest) {
        &newest.digest
    } else {
        &mine.digest
    };
    (entry != Some(&Entry::Link(*digest))).then(|| Step::Link {
        name: name.clone(),
        digest: *digest,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    fn digest(text: &str) -> Digest {
        Digest::of(text.as_bytes())
    }

    fn wanted(scripts: &[(&str, &str, u64)]) -> Wanted {
        let entry = |&(n, d, catalog_sequence): &(&str, &str, u64)| {
            let want = Want {
                version: 1,
                digest: digest(d),
                catalog_sequence,
            };
            (name(n), want)
        };
        scripts.iter().map(entry).collect()
    }

    #[test]
    fn an_empty_folder_gets_everything_in_a_safe_order() {
        let wanted = wanted(&[("deploy", "v1", 1)]);
        let plan = plan(&wanted, &Observed::default());
        let expected = [
            Step::Record(ledger(&wanted)),
            Step::Install(digest("v1")),
            Step::Link {
                name: name("deploy"),
                digest: digest("v1"),
            },
        ];
        assert_eq!(plan.steps, expected);
    }

    #[test]
    fn a_crash_after_any_step_is_put_right_by_the_next_plan() {
        let mut before = Observed::default();
        let old = wanted(&[("deploy", "v1", 1), ("gone", "x", 1)]);
        for step in plan(&old, &before.clone()).steps {
            before.apply(&step);
        }
        let new = wanted(&[("deploy", "v2", 2), ("fresh", "y", 2)]);
        let steps = plan(&new, &before).steps;
        for crash_after in 0..=steps.len() {
            let mut folder = before.clone();
            for step in &steps[..crash_after] {
                folder.apply(step);
            }
            for step in plan(&new, &folder.clone()).steps {
                folder.apply(&step);
            }
            assert_eq!(
                plan(&new, &folder),
                Plan::default(),
                "after {crash_after} steps"
            );
            let bundles: BTreeSet<Digest> = [digest("v2"), digest("y")].into();
            assert_eq!(folder.bundles, bundles);
        }
    }

    #[test]
    fn what_another_runner_needs_stays() {
        let observed = Observed {
            bundles: [digest("v1")].into(),
            entries: [(name("deploy"), Entry::Link(digest("v1")))].into(),
            others: vec![ledger(&wanted(&[("deploy", "v1", 1)]))],
            ..Observed::default()
        };
        assert_eq!(plan(&Wanted::new(), &observed), Plan::default());
    }

    #[test]
    fn what_a_name_still_points_to_stays_until_its_owner_has_the_next_version() {
        let observed = Observed {
            bundles: [digest("v1"), digest("x")].into(),
            entries: [(name("deploy"), Entry::Link(digest("v1")))].into(),
            others: vec![ledger(&wanted(&[("deploy", "v2", 2)]))],
            ..Observed::default()
        };
        let steps = plan(&Wanted::new(), &observed).steps;
        assert_eq!(steps, [Step::Collect(digest("x"))]);
    }

    #[test]
    fn a_runner_that_is_behind_does_not_turn_a_link_back() {
        let observed = Observed {
            bundles: [digest("v1"), digest("v2")].into(),
            entries: [(name("deploy"), Entry::Link(digest("v2")))].into(),
            mine: ledger(&wanted(&[("deploy", "v1", 1)])),
            others: vec![ledger(&wanted(&[("deploy", "v2", 2)]))],
        };
        let plan = plan(&wanted(&[("deploy", "v1", 1)]), &observed);
        assert_eq!(plan, Plan::default());
    }

    #[test]
    fn a_folder_that_we_did_not_make_is_never_touched() {
        let observed = Observed {
            entries: [
                (name("deploy"), Entry::Foreign),
                (name("other"), Entry::Foreign),
            ]
            .into(),
            ..Observed::default()
        };
        let plan = plan(&wanted(&[("deploy", "v1", 1)]), &observed);
        assert_eq!(plan.foreign, [name("deploy")].into());
        let touched = |step: &Step| matches!(step, Step::Link { .. } | Step::Unlink { .. });
        assert!(!plan.steps.iter().any(touched));
    }
}
