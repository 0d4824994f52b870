//! Runners that long-poll: who they are, what they have still to be told, and what follows from their
//! reports. Pure.

use super::distribution::DesiredScript;
use events::run::{FailureReason, Outcome, Run, RunEvent, RunStatus};
use events::runner::{Holding, OverHttp, Registration};
use events::{Actor, RunId, RunnerId, SessionId, Via};
use schemas::{AgentKind, CommandAgent, Name, Tag};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Such a runner names no limit: each poll of it asks for one more run. More than any executes.
const MAX_RUNS: u32 = 1_000;

/// What such a runner says of itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Application {
    pub hostname: String,
    pub project_dir: String,
    pub executor_profile: String,
    /// `type`, `command` and what else it has.
    pub executor: Map<String, Value>,
    pub tags: BTreeSet<Tag>,
    pub require_matching_tags: bool,
    pub agents: Vec<CommandAgent>,
}

/// What it has still to be told of scripts, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScriptNews {
    pub sync: BTreeSet<Name>,
    pub remove: BTreeSet<Name>,
}

/// What it says of a run.
#[derive(Clone, Debug, PartialEq)]
pub enum Report {
    Started,
    Completed,
    Failed { error: String },
    Stopped { signal: String },
}

/// What a runner over HTTP may not do.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum OverHttpRejection {
    #[error("Runner {runner_id} is not registered")]
    NotRegistered { runner_id: RunnerId },
    #[error("Runner {runner_id} registered with another token")]
    OtherToken { runner_id: RunnerId },
    #[error("A runner with a key of its own does not long-poll")]
    HasKey,
    #[error(
        "A runner of this identity ({runner_id}) polls at this moment; stop it first, or give this one another executor_profile"
    )]
    Duplicate { runner_id: RunnerId },
    #[error("{}", clashes.values().map(String::as_str).collect::<Vec<_>>().join("; "))]
    AgentNames { clashes: BTreeMap<Name, String> },
    #[error("Run {run_id} is not held by runner {runner_id}")]
    NotHolder { run_id: RunId, runner_id: RunnerId },
    #[error("Run {run_id} had ended already: {status}")]
    Ended { run_id: RunId, status: RunStatus },
    #[error("No run of session {session_id} is at work on a runner that long-polls")]
    NotAtWork { session_id: SessionId },
}

impl Application {
    /// The same for the same host, directory, profile and command, whenever it asks.
    pub fn identity(&self) -> RunnerId {
        let command = self.executor.get("command").map(Value::to_string);
        let mut hash = Sha256::new();
        for part in [
            &self.hostname,
            &self.project_dir,
            &self.executor_profile,
            &command.unwrap_or_default(),
        ] {
            hash.update(part);
            // No path or name holds it, so no two quadruples give the same text.
            hash.update(b"\0");
        }
        let hash = hash.finalize();
        let first = hash.iter().take(8);
        RunnerId::over_http(first.fold(0, |bits, byte| bits << 8 | u64::from(*byte)))
    }

    /// What is stored of it; `token` is who registers it.
    pub fn registration(self, token: String, silence: Duration) -> Registration {
        let id = self.identity();
        let executor_type = self.executor_type();
        let implicit = [
            Tag::runner(id.as_str()),
            Tag::host(&self.hostname),
            Tag::profile(&self.executor_profile),
            Tag::executor_type(executor_type.as_str()),
            Tag::dir(&self.project_dir),
        ];
        // What names the runner itself is meant for no other.
        let itself = Tag::runner(id.as_str());
        let one_of = match self.require_matching_tags {
            true => self.tags.iter().cloned().chain([itself]).collect(),
            false => BTreeSet::new(),
        };
        Registration {
            hostname: self.hostname,
            project_dir: self.project_dir,
            executor_profile: self.executor_profile,
            executor_type,
            tags: self.tags.into_iter().chain(implicit).collect(),
            one_of,
            max_runs: MAX_RUNS,
            version: "http".to_owned(),
            sandbox: None,
            agents: self.agents,
            agent_faults: Vec::new(),
            over_http: Some(Box::new(OverHttp {
                executor: self.executor,
                token,
                silence_seconds: u32::try_from(silence.as_secs()).unwrap_or(u32::MAX),
            })),
        }
    }

    /// Every executor that is not procedural has a model.
    fn executor_type(&self) -> AgentKind {
        match self.executor.get("type").and_then(Value::as_str) {
            Some("procedural") => AgentKind::Procedural,
            _ => AgentKind::Autonomous,
        }
    }
}

impl ScriptNews {
    /// What has to be told to one that holds this and should hold that.
    pub fn between(
        shelf: &BTreeMap<Name, Holding>,
        wanted: &BTreeMap<Name, DesiredScript>,
    ) -> Self {
        let holds = |name: &Name| shelf.get(name)?.held.as_ref().map(|held| held.digest);
        let missing = wanted
            .iter()
            .filter(|(name, want)| holds(name) != Some(want.digest));
        let left = shelf.keys().filter(|name| !wanted.contains_key(*name));
        Self {
            sync: missing.map(|(name, _)| name.clone()).collect(),
            remove: left.cloned().collect(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.sync.is_empty() && self.remove.is_empty()
    }
}

/// The next step after a report of the runner that holds the run; `None` where the log says it already.
///
/// # Errors
/// When the run has ended otherwise.
pub fn next(
    run: &Run,
    runner_id: &RunnerId,
    report: &Report,
    outcome: Option<&Outcome>,
) -> Result<Option<RunEvent>, OverHttpRejection> {
    use RunStatus::{Claimed, Running, Stopping};
    let run_id = run.request.run_id.clone();
    let runner_id = runner_id.clone();
    if run.state.runner_id.as_ref() != Some(&runner_id) {
        return Err(OverHttpRejection::NotHolder { run_id, runner_id });
    }
    let attempt = run.state.attempt;
    let status = run.state.status;
    if status.is_final() {
        return match is_said(run, report) {
            true => Ok(None),
            false => Err(OverHttpRejection::Ended { run_id, status }),
        };
    }
    let outcome = outcome.cloned();
    let failed = |reason, error: String, outcome| RunEvent::Failed {
        reason,
        error,
        outcome,
    };
    let event = match (status, report) {
        // Its start was not told, or got lost.
        (Claimed, Report::Started | Report::Completed) => RunEvent::Started { runner_id, attempt },
        // What was asked to end is told so with the next poll, whatever it said of its start.
        (_, Report::Started) => return Ok(None),
        (Stopping, _) if is_timeout(run) => {
            let seconds = run.request.timeout_seconds;
            let error = format!(
                "the script took longer than its timeout of {seconds} s and was ended; raise timeout_seconds if it needs more"
            );
            failed(FailureReason::Timeout, error, outcome)
        }
        (Stopping, Report::Completed) if run.state.started => {
            completed(runner_id, attempt, outcome)
        }
        (Stopping, _) => RunEvent::Stopped { outcome },
        (Running, Report::Completed) => completed(runner_id, attempt, outcome),
        (_, Report::Failed { error }) => {
            let reason = match run.state.started {
                true => FailureReason::ExitCode,
                false => FailureReason::Rejected,
            };
            failed(reason, error.clone(), outcome)
        }
        (_, Report::Stopped { signal }) => {
            let error = format!("the script was ended by {signal}, which nobody here asked for");
            failed(FailureReason::ExitCode, error, outcome)
        }
        // Nothing else has a holder.
        (_, Report::Completed) => return Err(OverHttpRejection::Ended { run_id, status }),
    };
    Ok(Some(event))
}

/// Whether a run that has ended did so as the report says: its answer may have been lost.
fn is_said(run: &Run, report: &Report) -> bool {
    matches!(
        (run.state.status, report),
        (RunStatus::Completed, Report::Started | Report::Completed)
            | (RunStatus::Failed, Report::Failed { .. })
            | (RunStatus::Stopped, Report::Stopped { .. })
    )
}

/// Who asks for the end of a script that takes too long.
pub fn timekeeper() -> Actor {
    Actor::policy("timeout")
}

fn is_timeout(run: &Run) -> bool {
    let by = run.stopped_by.as_ref();
    by.is_some_and(|by| by.via == Via::Policy && *by == timekeeper())
}

fn completed(runner_id: RunnerId, attempt: u32, outcome: Option<Outcome>) -> RunEvent {
    RunEvent::Completed {
        runner_id,
        attempt,
        outcome: outcome.unwrap_or(Outcome {
            exit_code: 0,
            result_data: Value::Null,
            result_chunks: None,
            duration_ms: 0,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{request, requested_run, stepped};
    use events::Timestamp;
    use events::runner::Held;
    use rstest::rstest;
    use schemas::Digest;
    use serde_json::json;

    fn application(profile: &str, command: &str) -> Application {
        let executor = json!({"type": "procedural", "command": command, "config": {"a": 1}});
        Application {
            hostname: "web1".to_owned(),
            project_dir: "/srv".to_owned(),
            executor_profile: profile.to_owned(),
            executor: executor.as_object().unwrap().clone(),
            tags: ["bash".parse().unwrap()].into(),
            require_matching_tags: false,
            agents: Vec::new(),
        }
    }

    #[test]
    fn an_identity_is_stable_and_its_own() {
        let id = application("default", "run").identity();
        assert!(id.is_over_http());
        let mut again = application("default", "run");
        again.executor.insert("config".to_owned(), json!(2));
        again.tags.clear();
        assert_eq!(again.identity(), id);
        assert_ne!(application("other", "run").identity(), id);
        assert_ne!(application("default", "run -v").identity(), id);
    }

    #[test]
    fn a_registration_offers_its_own_tags_and_its_place() {
        let silence = Duration::from_secs(150);
        let offered = application("default", "run").registration("web1".to_owned(), silence);
        let has = |tag: &str| offered.tags.contains(&tag.parse::<Tag>().unwrap());
        for tag in [
            "bash",
            "type:procedural",
            "host:web1",
            "profile:default",
            "dir:/srv",
        ] {
            assert!(has(tag), "{tag}: {:?}", offered.tags);
        }
        assert!(offered.one_of.is_empty() && !offered.holds_scripts_only());
        assert_eq!(offered.over_http.unwrap().silence(), silence);
        let picky = Application {
            require_matching_tags: true,
            ..application("default", "run")
        };
        let picky = picky.registration(String::new(), silence);
        assert!(picky.one_of.contains(&"bash".parse::<Tag>().unwrap()));
    }

    #[test]
    fn what_is_told_of_scripts_is_the_difference() {
        let name = |text: &str| text.parse::<Name>().unwrap();
        let held = |content: &str| Holding {
            held: Some(Held {
                digest: Digest::of(content.as_bytes()),
                version: Some(1),
                since: Timestamp::UNIX_EPOCH,
            }),
            error: None,
        };
        let unknown = Holding {
            held: None,
            error: None,
        };
        let wanted = |content: &str| DesiredScript {
            version: 2,
            digest: Digest::of(content.as_bytes()),
            size: 1,
        };
        let shelf = [
            (name("same"), held("a")),
            (name("old"), held("a")),
            (name("unknown"), unknown),
            (name("left"), held("a")),
        ];
        let wants = [("same", "a"), ("old", "b"), ("unknown", "a"), ("new", "a")];
        let wants = wants.map(|(script, content)| (name(script), wanted(content)));
        let news = ScriptNews::between(&shelf.into(), &wants.into());
        assert_eq!(news.sync, ["new", "old", "unknown"].map(name).into());
        assert_eq!(news.remove, ["left"].map(name).into());
    }

    fn me() -> RunnerId {
        RunnerId::over_http(1)
    }

    /// A run of mine that was claimed, and these steps.
    fn run(steps: &[&str]) -> Run {
        let (runner_id, attempt) = (me(), 1);
        let claimed = RunEvent::Claimed { runner_id, attempt };
        let mut run = stepped(requested_run(request(1)), [claimed]);
        for step in steps {
            let (runner_id, attempt) = (me(), 1);
            let event = match *step {
                "start" => RunEvent::Started { runner_id, attempt },
                "stop" => RunEvent::StopRequested,
                "complete" => completed(runner_id, attempt, None),
                other => panic!("{other}"),
            };
            run = stepped(run, [event]);
        }
        run
    }

    fn report(what: &str) -> Report {
        match what {
            "started" => Report::Started,
            "completed" => Report::Completed,
            "failed" => Report::Failed {
                error: "no".to_owned(),
            },
            "stopped" => Report::Stopped {
                signal: "SIGKILL".to_owned(),
            },
            other => panic!("{other}"),
        }
    }

    #[rstest]
    #[case(&[], "started", "started")]
    #[case(&[], "completed", "started")]
    #[case(&[], "failed", "failed Rejected")]
    #[case(&["start"], "started", "nothing")]
    #[case(&["start"], "completed", "completed")]
    #[case(&["start"], "failed", "failed ExitCode")]
    #[case(&["start"], "stopped", "failed ExitCode")]
    #[case(&["stop"], "started", "nothing")]
    #[case(&["stop"], "completed", "stopped")]
    #[case(&["stop"], "stopped", "stopped")]
    #[case(&["start", "stop"], "stopped", "stopped")]
    #[case(&["start", "stop"], "completed", "completed")]
    #[case(&["start", "stop"], "failed", "stopped")]
    #[case(&["start", "complete"], "completed", "nothing")]
    #[case(&["start", "complete"], "failed", "Run run_0000000000000001 had ended already: completed")]
    fn what_follows_from_a_report(
        #[case] steps: &[&str],
        #[case] said: &str,
        #[case] expected: &str,
    ) {
        let told = match next(&run(steps), &me(), &report(said), None) {
            Ok(None) => "nothing".to_owned(),
            Ok(Some(RunEvent::Failed { reason, .. })) => format!("failed {reason:?}"),
            Ok(Some(event)) => event.name().to_owned(),
            Err(refused) => refused.to_string(),
        };
        assert_eq!(told, expected);
        let other = next(&run(steps), &RunnerId::over_http(2), &report(said), None);
        assert!(matches!(other, Err(OverHttpRejection::NotHolder { .. })));
    }

    #[test]
    fn what_was_ended_for_taking_too_long_says_so() {
        let mut run = run(&["start", "stop"]);
        run.stopped_by = Some(timekeeper());
        let event = next(&run, &me(), &report("stopped"), None).unwrap();
        let is_timeout = |event| {
            matches!(
                event,
                Some(RunEvent::Failed {
                    reason: FailureReason::Timeout,
                    ..
                })
            )
        };
        assert!(is_timeout(event));
    }
}
