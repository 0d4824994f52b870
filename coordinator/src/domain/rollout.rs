//! How far a script's present version has come: which runners should hold it, which do, and what
//! keeps the others. Pure; who is there and what was reported are facts that the caller brings.

use events::runner::{Holding, Registration, SyncError};
use events::{Lane, LaneTags, RunnerId, Timestamp};
use schemars::JsonSchema;
use schemas::{Digest, Name};
use serde::Serialize;
use std::collections::BTreeMap;

/// A lane that wants the script.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[schemars(rename = "RolloutLane")]
pub struct Way {
    pub lane: Lane,
    pub tags: LaneTags,
    /// How many runners serve it.
    pub runners: usize,
}

/// What is known.
#[derive(Debug)]
pub struct Facts<'a> {
    pub script: &'a Name,
    pub version: u32,
    pub digest: Digest,
    pub changed_at: Timestamp,
    pub lanes: BTreeMap<Lane, LaneTags>,
    pub runners: Vec<Host<'a>>,
}

/// A runner that has not left in order.
#[derive(Clone, Debug)]
pub struct Host<'a> {
    pub runner_id: &'a RunnerId,
    pub registration: &'a Registration,
    pub online: bool,
    pub last_heard: Option<Timestamp>,
    pub drained: bool,
    pub holding: Option<&'a Holding>,
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Rollout {
    pub script: Name,
    pub version: u32,
    pub digest: Digest,
    /// When this version was stored.
    pub changed_at: Timestamp,
    /// The runners that should hold it.
    pub total: usize,
    /// Those of them that do, also if they are offline now.
    pub current: usize,
    pub behind: usize,
    /// All that should, do.
    pub done: bool,
    /// One line: `98/100 on v7 (sha256:ab…), 2 behind: host-3 offline since …`.
    pub summary: String,
    pub lanes: Vec<Way>,
    /// What is behind stands first.
    pub runners: Vec<Line>,
}

/// One runner of a [`Rollout`].
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[schemars(rename = "RolloutLine")]
pub struct Line {
    pub runner_id: RunnerId,
    pub hostname: String,
    pub state: State,
    pub online: bool,
    pub drained: bool,
    /// The version it holds, as far as it said.
    pub version: Option<u32>,
    pub digest: Option<Digest>,
    /// Since when it holds that.
    pub since: Option<Timestamp>,
    pub error: Option<SyncError>,
    /// Its last heartbeat, where it is offline; none where it was never heard since we started.
    pub last_seen: Option<Timestamp>,
}

/// How a runner stands to the present version; the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "RolloutState")]
pub enum State {
    /// It says why it cannot.
    Failed,
    /// It is not there to say anything.
    Offline,
    /// It is there, and will.
    Behind,
    /// It was told to fetch it; one that long-polls cannot say that it did.
    Delivered,
    Current,
}

/// Runners that a summary names.
const NAMED_MAX: usize = 3;
/// Hex digits of a digest that a line shows.
const DIGEST_DIGITS: usize = 8;

pub fn rollout(facts: &Facts<'_>) -> Rollout {
    let serves = |host: &&Host<'_>| {
        facts
            .lanes
            .values()
            .any(|tags| host.registration.serves(tags))
    };
    let hosts = facts.runners.iter().filter(serves);
    let mut lines: Vec<Line> = hosts.map(|host| line(facts, host)).collect();
    lines.sort_by(|a, b| {
        (a.state, &a.hostname, &a.runner_id).cmp(&(b.state, &b.hostname, &b.runner_id))
    });
    let current = lines.iter().filter(|l| l.state.is_done()).count();
    let way = |(lane, tags): (&Lane, &LaneTags)| Way {
        lane: lane.clone(),
        tags: tags.clone(),
        runners: facts
            .runners
            .iter()
            .filter(|host| host.registration.serves(tags))
            .count(),
    };
    let mut rollout = Rollout {
        script: facts.script.clone(),
        version: facts.version,
        digest: facts.digest,
        changed_at: facts.changed_at,
        total: lines.len(),
        current,
        behind: lines.len() - current,
        done: current == lines.len(),
        summary: String::new(),
        lanes: facts.lanes.iter().map(way).collect(),
        runners: lines,
    };
    rollout.summary = summary(&rollout);
    rollout
}

fn line(facts: &Facts<'_>, host: &Host<'_>) -> Line {
    let held = host.holding.and_then(|holding| holding.held.as_ref());
    let error = host.holding.and_then(|holding| holding.error.clone());
    let is_current = held.is_some_and(|held| held.digest == facts.digest);
    let state = match (is_current, host.online, &error) {
        (true, _, _) if host.registration.over_http.is_some() => State::Delivered,
        (true, _, _) => State::Current,
        (false, false, _) => State::Offline,
        (false, true, Some(_)) => State::Failed,
        (false, true, None) => State::Behind,
    };
    Line {
        runner_id: host.runner_id.clone(),
        hostname: host.registration.hostname.clone(),
        state,
        online: host.online,
        drained: host.drained,
        version: match is_current {
            true => Some(facts.version),
            false => held.and_then(|held| held.version),
        },
        digest: held.map(|held| held.digest),
        since: held.map(|held| held.since),
        // What was wrong with an earlier version says nothing about one that is in place.
        error: error.filter(|_| !is_current),
        last_seen: host.last_heard.filter(|_| !host.online),
    }
}

fn summary(rollout: &Rollout) -> String {
    let Rollout {
        script,
        version,
        total,
        current,
        ..
    } = rollout;
    if rollout.lanes.is_empty() {
        return format!(
            "{script} v{version} goes nowhere: no active agent needs it, and it is not pinned"
        );
    }
    if *total == 0 {
        return format!("{script} v{version} waits for a runner: none serves its lanes");
    }
    let digest: String = rollout.digest.hex().chars().take(DIGEST_DIGITS).collect();
    let delivered = rollout.runners.iter();
    let delivered = delivered.filter(|l| l.state == State::Delivered).count();
    let unconfirmed = match delivered {
        0 => String::new(),
        delivered => format!(", {delivered} of them delivered, unconfirmed"),
    };
    let head = format!("{current}/{total} on v{version} (sha256:{digest}…){unconfirmed}");
    if rollout.done {
        return head;
    }
    let behind = rollout.runners.iter().filter(|l| !l.state.is_done());
    let named: Vec<String> = behind.take(NAMED_MAX).map(Line::trouble).collect();
    let more = rollout.behind.saturating_sub(NAMED_MAX);
    let more = match more {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!(
        "{head}, {} behind: {}{more}",
        rollout.behind,
        named.join(", ")
    )
}

impl State {
    fn is_done(self) -> bool {
        matches!(self, Self::Current | Self::Delivered)
    }
}

impl Line {
    /// Who, and why it is not where it should be.
    fn trouble(&self) -> String {
        let id = &self.runner_id;
        match (self.state, &self.error, self.last_seen) {
            (State::Failed, Some(error), _) => format!("{id} {}", error.message),
            (State::Offline, _, Some(at)) => format!("{id} offline since {at:.0}"),
            (State::Offline, _, None) => format!("{id} offline"),
            _ => match self.version {
                Some(version) => format!("{id} on v{version}"),
                None => format!("{id} has none yet"),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::registration;
    use events::runner::Held;
    use schemas::Tag;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn holding(content: &str, error: Option<&str>) -> Holding {
        Holding {
            held: Some(Held {
                digest: Digest::of(content.as_bytes()),
                version: Some(6),
                since: at(1),
            }),
            error: error.map(|message| SyncError {
                message: message.to_owned(),
                since: at(2),
            }),
        }
    }

    /// A rollout to runners named by their number: what each holds, and whether it is online.
    fn of(hosts: &[(Option<Holding>, bool)]) -> Rollout {
        let tags: LaneTags = ["bash".parse::<Tag>().unwrap()].into_iter().collect();
        let registration = registration(&["bash"]);
        let script = "deploy".parse().unwrap();
        let ids: Vec<RunnerId> = (1..=hosts.len())
            .map(|n| format!("host-{n}").parse().unwrap())
            .collect();
        let runners = ids.iter().zip(hosts).map(|(id, (holding, online))| Host {
            runner_id: id,
            registration: &registration,
            online: *online,
            last_heard: Some(at(0)),
            drained: false,
            holding: holding.as_ref(),
        });
        rollout(&Facts {
            script: &script,
            version: 7,
            digest: Digest::of(b"v7"),
            changed_at: at(0),
            lanes: [(tags.lane(), tags)].into(),
            runners: runners.collect(),
        })
    }

    #[test]
    fn a_summary_says_who_is_behind_and_why() {
        let rollout = of(&[
            (Some(holding("v7", None)), true),
            (Some(holding("v7", Some("old trouble"))), false),
            (Some(holding("v6", None)), false),
            (Some(holding("v6", Some("disk full"))), true),
            (Some(holding("v6", None)), true),
            (None, true),
        ]);
        let digest: String = Digest::of(b"v7").hex().chars().take(8).collect();
        assert_eq!(
            rollout.summary,
            format!(
                "2/6 on v7 (sha256:{digest}…), 4 behind: host-4 disk full, host-3 offline since \
                 1970-01-01T00:00:00Z, host-5 on v6 and 1 more"
            )
        );
        assert!(!rollout.done);
        let states: Vec<State> = rollout.runners.iter().map(|line| line.state).collect();
        assert!(states.is_sorted(), "{states:?}");
    }

    #[test]
    fn all_is_done_when_all_hold_it_also_who_is_offline() {
        let rollout = of(&[(Some(holding("v7", None)), false)]);
        assert!(rollout.done, "{rollout:?}");
        assert_eq!(rollout.runners[0].version, Some(7));
    }

    #[test]
    fn nobody_to_hold_it_is_said_and_done() {
        let rollout = of(&[]);
        assert!(rollout.done && rollout.summary.contains("waits for a runner"));
    }
}
