//! What follows from what runners say of their own agents: an agent comes to be, changes, or goes.
//! It stays while its runner is merely away; it goes when the runner left in order, registered
//! without it, or is forgotten. A name that somebody else has stays theirs.

use crate::domain::owned::clash;
use crate::projections::Runner;
use events::RunnerId;
use events::catalog::{Catalog, RunnerOwner};
use schemas::{CommandAgent, Name};
use std::collections::BTreeMap;

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    Announce {
        runner_id: RunnerId,
        agent: Box<CommandAgent>,
        /// In `RUNNERS`: the registration that says so.
        registered_sequence: u64,
    },
    Withdraw {
        runner_id: RunnerId,
        name: Name,
        /// In `RUNNERS`: how far we have read.
        read_to: u64,
    },
}

/// What follows now. `read_to` was applied before `runners` were looked at.
pub fn actions(
    catalog: &Catalog,
    runners: &BTreeMap<RunnerId, Runner>,
    read_to: u64,
) -> Vec<Action> {
    let there = runners.iter().filter(|(_, r)| r.left_at.is_none());
    let announced = there.flat_map(|(id, runner)| {
        let agents = runner.registration.agents.iter();
        let new = agents.filter(|agent| is_news(catalog, id, agent));
        new.map(|agent| Action::Announce {
            runner_id: id.clone(),
            agent: Box::new(agent.clone()),
            registered_sequence: runner.registered_sequence,
        })
    });
    let owned = catalog.agents.iter().filter_map(|(name, entry)| {
        let owner = entry.current.owner.as_ref()?;
        let gone = owner.registered_sequence <= read_to && !still_has(runners, owner, name);
        gone.then(|| Action::Withdraw {
            runner_id: owner.runner_id.clone(),
            name: name.clone(),
            read_to,
        })
    });
    // A name that one gives up is free for another.
    owned.chain(announced).collect()
}

fn is_news(catalog: &Catalog, runner_id: &RunnerId, agent: &CommandAgent) -> bool {
    let present = catalog.agents.get(&agent.name);
    let owner = present.and_then(|entry| entry.current.owner.as_ref());
    clash(catalog, runner_id, &agent.name).is_none()
        && owner.is_none_or(|owner| owner.digest != agent.digest())
}

fn still_has(runners: &BTreeMap<RunnerId, Runner>, owner: &RunnerOwner, name: &Name) -> bool {
    let runner = runners.get(&owner.runner_id);
    let there = runner.filter(|runner| runner.left_at.is_none());
    there.is_some_and(|runner| {
        let mut agents = runner.registration.agents.iter();
        agents.any(|agent| agent.name == *name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::testing::{agent_created, given, owned_agent, script_created};
    use crate::testing::registration;
    use events::Timestamp;
    use serde_json::json;

    fn agent(name: &str, command: &str) -> CommandAgent {
        serde_json::from_value(json!({"name": name, "command": command})).unwrap()
    }

    fn runner(agents: &[(&str, &str)], registered_sequence: u64) -> Runner {
        let mut registration = registration(&[]);
        registration.agents = agents.iter().map(|(n, c)| agent(n, c)).collect();
        Runner {
            registration,
            registered_at: Timestamp::UNIX_EPOCH,
            registered_sequence,
            synced: None,
            left_at: None,
        }
    }

    fn told(catalog: &Catalog, runners: &[(&str, Runner)], read_to: u64) -> Vec<String> {
        let runners = runners
            .iter()
            .map(|(id, runner)| (id.parse().unwrap(), runner.clone()))
            .collect();
        let tell = |action| match action {
            Action::Announce {
                runner_id, agent, ..
            } => format!("{runner_id} has {}", agent.name),
            Action::Withdraw {
                runner_id, name, ..
            } => format!("{runner_id} has no {name}"),
        };
        actions(catalog, &runners, read_to)
            .into_iter()
            .map(tell)
            .collect()
    }

    /// `web-1` has announced `backup`, which executes `true`, in its registration 5.
    fn announced() -> Catalog {
        owned_agent(Catalog::default(), "web-1", "backup", 5)
    }

    #[test]
    fn what_is_new_or_different_is_announced_once() {
        let web_1 = [("web-1", runner(&[("backup", "true")], 5))];
        let new = told(&Catalog::default(), &web_1, 5);
        assert_eq!(new, ["web-1 has backup"]);
        assert!(told(&announced(), &web_1, 5).is_empty());
        let again = [("web-1", runner(&[("backup", "true")], 9))];
        assert!(told(&announced(), &again, 9).is_empty());
        let changed = [("web-1", runner(&[("backup", "false")], 9))];
        assert_eq!(told(&announced(), &changed, 9), ["web-1 has backup"]);
    }

    #[test]
    fn it_goes_with_a_registration_without_it_and_when_its_runner_leaves_or_is_forgotten() {
        let gone = ["web-1 has no backup"];
        assert_eq!(told(&announced(), &[("web-1", runner(&[], 9))], 9), gone);
        assert_eq!(told(&announced(), &[], 9), gone);
        let mut left = runner(&[("backup", "true")], 5);
        left.left_at = Some(Timestamp::UNIX_EPOCH);
        assert_eq!(told(&announced(), &[("web-1", left)], 9), gone);
    }

    #[test]
    fn who_has_not_read_so_far_takes_nothing_back() {
        assert!(told(&announced(), &[], 4).is_empty());
    }

    #[test]
    fn a_name_that_is_taken_stays_with_its_owner_until_it_is_free() {
        let web_2 = ("web-2", runner(&[("backup", "true")], 6));
        let both = [("web-1", runner(&[("backup", "true")], 5)), web_2.clone()];
        assert!(told(&announced(), &both, 6).is_empty());
        let ours = given([script_created("s", "1"), agent_created("backup", "s")]);
        assert!(told(&ours, &both, 6).is_empty());
        let free = told(&announced(), std::slice::from_ref(&web_2), 6);
        assert_eq!(free, ["web-1 has no backup"]);
        let then = told(&Catalog::default(), &[web_2], 6);
        assert_eq!(then, ["web-2 has backup"]);
    }
}
