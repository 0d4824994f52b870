//! `/runners`: the hosts that execute, as existing clients know them, and what ours say beyond that;
//! drain, resume, forget.

use super::body::JsonBody;
use super::error::ApiError;
use super::page_link::{Listed, Page};
use super::params::{self, Caller, QueryOf, RunnerInPath, Speaker, Wait};
use super::state::{Api, BrokerMode};
use crate::app::{DesiredScript, Drained, RunnerCommand, RunnerView, Shows};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use events::member::Member;
use events::runner::{Registration, Sandbox, SyncError};
use events::{Actor, BrokerKey, Lane, LaneTags, RunId, RunnerId, Timestamp};
use schemars::JsonSchema;
use schemas::{Digest, Name, Tag};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Default, Deserialize, JsonSchema)]
pub struct DrainBody {
    reason: Option<String>,
}

/// `?wait=30s`: until the runner has no run left.
#[derive(Deserialize, JsonSchema)]
pub struct WaitQuery {
    wait: Option<Wait>,
}

/// A runner as it is listed.
#[derive(Serialize, JsonSchema)]
pub struct RunnerLine {
    runner_id: RunnerId,
    registered_at: Timestamp,
    /// `null`: nothing was heard since this coordinator was started.
    last_heartbeat: Option<Timestamp>,
    hostname: String,
    project_dir: String,
    executor_profile: String,
    /// `type`; in the words of one that long-polls also `command`, and what else it has.
    executor: Map<String, Value>,
    /// All it offers.
    tags: BTreeSet<Tag>,
    require_matching_tags: bool,
    /// Where not empty, it takes only lanes that demand one of these.
    one_of: BTreeSet<Tag>,
    status: RunnerStatus,
    seconds_since_heartbeat: Option<i64>,
    running: BTreeSet<RunId>,
    /// 0: it holds scripts only.
    max_runs: u32,
    draining: bool,
    drained: Option<DrainedView>,
    left_at: Option<Timestamp>,
    lanes: BTreeMap<Lane, LaneTags>,
    version: String,
    /// Whether it long-polls, and coordinators serve its lanes for it.
    over_http: bool,
    /// Its own agents, and why others in its folder are not among them.
    agents: Vec<Value>,
    agent_faults: Vec<String>,
    scripts_held: usize,
    script_errors: usize,
    sandbox: Option<Sandbox>,
    synced_at: Option<Timestamp>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum RunnerStatus {
    Online,
    Stale,
}

impl RunnerStatus {
    fn of(runner: &RunnerView) -> Self {
        match runner.online {
            true => Self::Online,
            false => Self::Stale,
        }
    }
}

#[derive(Serialize, JsonSchema)]
struct DrainedView {
    since: Timestamp,
    by: String,
    reason: Option<String>,
    /// The runner says itself that it takes no new runs.
    confirmed: bool,
    /// And it has none left.
    done: bool,
}

/// A runner's own key on the broker.
#[derive(Serialize, JsonSchema)]
struct AccessView {
    public_key: BrokerKey,
    joined_at: Timestamp,
    token: Option<Name>,
    revoked_at: Option<Timestamp>,
}

#[derive(Serialize, JsonSchema)]
pub struct RunnersView {
    runners: Vec<ListedView>,
}

#[derive(Serialize, JsonSchema)]
struct ListedView {
    #[serde(flatten)]
    runner: RunnerLine,
    /// `null` where it has no key of its own, and shares one with others.
    access: Option<AccessView>,
}

/// A runner with what it holds.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Runner")]
pub struct WholeView {
    #[serde(flatten)]
    listed: ListedView,
    scripts: Vec<HeldView>,
    /// Agents of its own whose names others have.
    agent_clashes: BTreeMap<Name, String>,
}

/// A script that it holds or should hold.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ScriptOnRunner")]
struct HeldView {
    name: Name,
    current: bool,
    wanted_version: Option<u32>,
    wanted_digest: Option<Digest>,
    version: Option<u32>,
    digest: Option<Digest>,
    since: Option<Timestamp>,
    error: Option<SyncError>,
}

#[derive(Serialize, JsonSchema)]
pub struct ForgottenView {
    ok: bool,
    message: String,
    initiated_by: String,
}

#[derive(Serialize, JsonSchema)]
pub struct RevokedView {
    ok: bool,
    runner_id: RunnerId,
    message: String,
}

#[derive(Deserialize, JsonSchema)]
pub struct ForgetQuery {
    /// A runner that long-polls says that it leaves by itself.
    #[serde(default, rename = "self")]
    own: bool,
}

#[derive(Deserialize, JsonSchema)]
pub struct ListQuery {
    status: Option<RunnerStatus>,
    hostname: Option<String>,
    /// Separated by commas; a runner must offer all of them.
    #[serde(default)]
    tags: String,
    /// How the id begins.
    #[serde(default)]
    prefix: String,
}

impl ListQuery {
    fn wants(&self, runner: &RunnerView, tags: &[Tag]) -> bool {
        let registration = &runner.registration;
        let (id, host) = (&runner.runner_id, &registration.hostname);
        self.status
            .is_none_or(|status| status == RunnerStatus::of(runner))
            && self.hostname.as_ref().is_none_or(|wanted| wanted == host)
            && tags.iter().all(|tag| registration.tags.contains(tag))
            && id.as_str().starts_with(&self.prefix)
    }
}

pub async fn list(
    State(api): State<Api>,
    QueryOf(query): QueryOf<ListQuery>,
    page: Page,
) -> Result<Listed<RunnersView>, ApiError> {
    let tags = params::tags(&query.tags)?;
    let now = api.app.now();
    let runners = api.app.runners().into_iter();
    let there = runners.filter(|runner| runner.online || runner.left_at.is_none());
    let wanted = there.filter(|runner| query.wants(runner, &tags));
    let cut = page.cut(wanted.collect(), |runner| runner.runner_id.to_string());
    let members = api.app.members().by_runner;
    let shown = |runner: &RunnerView| ListedView {
        access: members.get(runner.runner_id.as_str()).map(access),
        runner: view(runner, now),
    };
    Ok(cut.shown(|runners| RunnersView {
        runners: runners.iter().map(shown).collect(),
    }))
}

pub async fn show(
    State(api): State<Api>,
    RunnerInPath(id): RunnerInPath,
) -> Result<Json<WholeView>, ApiError> {
    let runner = api.app.runner(&id)?;
    // Whoever left gave up all names.
    let announced = runner
        .left_at
        .is_none()
        .then_some(&runner.registration.agents);
    let names = announced.into_iter().flatten().map(|agent| &agent.name);
    let clashes = api.app.agent_clashes(&id, names).into_iter();
    Ok(Json(WholeView {
        listed: ListedView {
            runner: view(&runner, api.app.now()),
            access: api.app.member(&id).as_ref().map(access),
        },
        scripts: scripts(&api.app.wishes().of(&runner), &runner),
        agent_clashes: clashes.map(|(name, why)| (name.clone(), why)).collect(),
    }))
}

/// Every script that it holds or should hold: what is wanted, what is in place, what is wrong.
fn scripts(wanted: &BTreeMap<&Name, &DesiredScript>, runner: &RunnerView) -> Vec<HeldView> {
    let names: BTreeSet<&Name> = wanted
        .keys()
        .copied()
        .chain(runner.scripts.keys())
        .collect();
    let line = |name: &Name| {
        let (want, holding) = (wanted.get(name), runner.scripts.get(name));
        let held = holding.and_then(|holding| holding.held.as_ref());
        let is_current = want.map(|want| want.digest) == held.map(|held| held.digest);
        HeldView {
            name: name.clone(),
            current: is_current,
            wanted_version: want.map(|want| want.version),
            wanted_digest: want.map(|want| want.digest),
            version: held.and_then(|held| held.version),
            digest: held.map(|held| held.digest),
            since: held.map(|held| held.since),
            error: holding.and_then(|holding| holding.error.clone()),
        }
    };
    names.into_iter().map(line).collect()
}

/// The body may be left out.
pub async fn drain(
    State(api): State<Api>,
    Caller(actor): Caller,
    RunnerInPath(id): RunnerInPath,
    QueryOf(query): QueryOf<WaitQuery>,
    body: Option<JsonBody<DrainBody>>,
) -> Result<Json<RunnerLine>, ApiError> {
    let JsonBody(DrainBody { reason }) = body.unwrap_or_else(|| JsonBody(DrainBody::default()));
    let told = told(&api, &actor, &id, &RunnerCommand::Drain { reason }).await?;
    let Some(Wait(patience)) = query.wait else {
        return Ok(told);
    };
    let runner = tokio::select! {
        runner = api.app.wait_until_drained(&id, patience) => runner?,
        () = api.closing.cancelled() => api.app.runner(&id)?,
    };
    Ok(Json(view(&runner, api.app.now())))
}

pub async fn resume(
    State(api): State<Api>,
    Caller(actor): Caller,
    RunnerInPath(id): RunnerInPath,
) -> Result<Json<RunnerLine>, ApiError> {
    told(&api, &actor, &id, &RunnerCommand::Resume).await
}

/// As existing clients know it: the answer says who asked for it. One that long-polls says with `self`
/// that it leaves by itself.
pub async fn forget(
    State(api): State<Api>,
    Speaker(visitor): Speaker,
    RunnerInPath(id): RunnerInPath,
    QueryOf(query): QueryOf<ForgetQuery>,
) -> Result<Json<ForgottenView>, ApiError> {
    let forgotten = |message, initiated_by| ForgottenView {
        ok: true,
        message,
        initiated_by,
    };
    if query.own {
        api.app.leave_over_http(&visitor, &id).await?;
        let message = format!("Runner {id} has left");
        return Ok(Json(forgotten(message, "self".to_owned())));
    }
    if visitor.shows != Shows::Admin {
        let detail =
            "A runner's token lets a runner leave by itself (?self=true), and forgets no others";
        return Err(ApiError::new(StatusCode::FORBIDDEN, "self_only", detail));
    }
    let (actor, command) = (visitor.actor, RunnerCommand::Forget);
    api.app.command_runner(&actor, &id, &command).await?;
    let message = format!("Runner {id} is forgotten; it is listed again when it registers again");
    Ok(Json(forgotten(message, actor.name)))
}

/// Cuts the runner off: its key opens the broker no more, and it is no runner of ours any more until
/// it joins again.
pub async fn revoke(
    State(api): State<Api>,
    Caller(actor): Caller,
    RunnerInPath(id): RunnerInPath,
) -> Result<Json<RevokedView>, ApiError> {
    api.app.revoke_runner(&actor, &id).await?;
    api.broker.knows(api.app.catalog_sequence()).await;
    let message = match api.broker.mode {
        BrokerMode::External if api.broker.runner_seed.is_some() => format!(
            "Runner {id} may not join any more. All runners share the key of --runner-nats-nkey, so the broker still lets it in: change that key"
        ),
        BrokerMode::Embedded => {
            format!("Runner {id} is cut off; only a new token of the role runner brings it back")
        }
        BrokerMode::External => format!(
            "Runner {id} may not join any more. Its user is still known to your broker: write its accounts anew (coordinator broker config --print) and reload it"
        ),
    };
    Ok(Json(RevokedView {
        ok: true,
        runner_id: id,
        message,
    }))
}

async fn told(
    api: &Api,
    actor: &Actor,
    id: &RunnerId,
    command: &RunnerCommand,
) -> Result<Json<RunnerLine>, ApiError> {
    let runner = api.app.command_runner(actor, id, command).await?;
    Ok(Json(view(&runner, api.app.now())))
}

fn view(runner: &RunnerView, now: Timestamp) -> RunnerLine {
    let registration = runner.registration.clone();
    let silence = runner.last_heartbeat;
    let scripts = runner.scripts.values();
    let agents = registration.agents.iter().map(|agent| json!(agent));
    RunnerLine {
        runner_id: runner.runner_id.clone(),
        registered_at: runner.registered_at,
        last_heartbeat: runner.last_heartbeat,
        executor: executor(&registration),
        over_http: registration.over_http.is_some(),
        require_matching_tags: !registration.one_of.is_empty(),
        status: RunnerStatus::of(runner),
        seconds_since_heartbeat: silence.map(|at| now.duration_since(at).as_secs().max(0)),
        running: runner.runs.clone(),
        max_runs: registration.max_runs,
        draining: runner.draining || runner.drained.is_some(),
        drained: runner
            .drained
            .as_ref()
            .map(|drained| drained_view(runner, drained)),
        left_at: runner.left_at,
        lanes: runner.lanes.clone(),
        agents: agents.collect(),
        scripts_held: scripts
            .clone()
            .filter(|script| script.held.is_some())
            .count(),
        script_errors: scripts.filter(|script| script.error.is_some()).count(),
        synced_at: runner.synced_at,
        hostname: registration.hostname,
        project_dir: registration.project_dir,
        executor_profile: registration.executor_profile,
        tags: registration.tags,
        one_of: registration.one_of,
        version: registration.version,
        agent_faults: registration.agent_faults,
        sandbox: registration.sandbox,
    }
}

/// In the words of one that long-polls; of others the type is all there is to say.
fn executor(registration: &Registration) -> Map<String, Value> {
    match &registration.over_http {
        Some(http) => http.executor.clone(),
        None => [("type".to_owned(), json!(registration.executor_type))]
            .into_iter()
            .collect(),
    }
}

fn access(member: &Member) -> AccessView {
    AccessView {
        public_key: member.key.clone(),
        joined_at: member.joined_at,
        token: member.token.clone(),
        revoked_at: member.revoked_at,
    }
}

fn drained_view(runner: &RunnerView, drained: &Drained) -> DrainedView {
    DrainedView {
        since: drained.since,
        by: drained.by.name.clone(),
        reason: drained.reason.clone(),
        confirmed: runner.draining,
        done: runner.is_idle_for_good(),
    }
}
