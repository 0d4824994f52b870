//! `/runners`: the hosts that execute, as existing clients know them, and what ours say beyond that;
//! drain, resume, forget.

use super::body::JsonBody;
use super::error::ApiError;
use super::params::{Caller, QueryOf, RunnerInPath, Wait};
use super::state::{Api, BrokerMode};
use crate::app::{DesiredScript, Drained, RunnerCommand, RunnerView};
use axum::Json;
use axum::extract::State;
use events::member::Member;
use events::{Actor, LaneTags, RunnerId, Timestamp};
use schemas::Name;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Default, Deserialize)]
pub struct DrainBody {
    reason: Option<String>,
}

/// `?wait=30s`: until the runner has no run left.
#[derive(Deserialize)]
pub struct WaitQuery {
    wait: Option<Wait>,
}

pub async fn list(State(api): State<Api>) -> Json<Value> {
    let now = api.app.now();
    let runners = api.app.runners().into_iter();
    let there = runners.filter(|runner| runner.online || runner.left_at.is_none());
    let members = api.app.members().by_runner;
    let shown = there.map(|runner| {
        let mut shown = view(&runner, now);
        shown["access"] = access(members.get(runner.runner_id.as_str()));
        shown
    });
    let shown: Vec<Value> = shown.collect();
    Json(json!({"runners": shown}))
}

pub async fn show(
    State(api): State<Api>,
    RunnerInPath(id): RunnerInPath,
) -> Result<Json<Value>, ApiError> {
    let runner = api.app.runner(&id)?;
    let mut shown = view(&runner, api.app.now());
    shown["access"] = access(api.app.member(&id).as_ref());
    shown["scripts"] = scripts(&api.app.wishes().of(&runner), &runner);
    // Whoever left gave up all names.
    let announced = runner
        .left_at
        .is_none()
        .then_some(&runner.registration.agents);
    let names = announced.into_iter().flatten().map(|agent| &agent.name);
    shown["agent_clashes"] = json!(api.app.agent_clashes(&id, names));
    Ok(Json(shown))
}

/// Every script that it holds or should hold: what is wanted, what is in place, what is wrong.
fn scripts(wanted: &BTreeMap<&Name, &DesiredScript>, runner: &RunnerView) -> Value {
    let names: BTreeSet<&Name> = wanted
        .keys()
        .copied()
        .chain(runner.scripts.keys())
        .collect();
    let line = |name: &Name| {
        let (want, holding) = (wanted.get(name), runner.scripts.get(name));
        let held = holding.and_then(|holding| holding.held.as_ref());
        let is_current = want.map(|want| want.digest) == held.map(|held| held.digest);
        json!({
            "name": name,
            "current": is_current,
            "wanted_version": want.map(|want| want.version),
            "wanted_digest": want.map(|want| want.digest),
            "version": held.and_then(|held| held.version),
            "digest": held.map(|held| held.digest),
            "since": held.map(|held| held.since),
            "error": holding.and_then(|holding| holding.error.as_ref()),
        })
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
) -> Result<Json<Value>, ApiError> {
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
) -> Result<Json<Value>, ApiError> {
    told(&api, &actor, &id, &RunnerCommand::Resume).await
}

/// As existing clients know it: the answer says who asked for it.
pub async fn forget(
    State(api): State<Api>,
    Caller(actor): Caller,
    RunnerInPath(id): RunnerInPath,
) -> Result<Json<Value>, ApiError> {
    let command = RunnerCommand::Forget;
    api.app.command_runner(&actor, &id, &command).await?;
    let message = format!("Runner {id} is forgotten; it is listed again when it registers again");
    Ok(Json(
        json!({"ok": true, "message": message, "initiated_by": actor.name}),
    ))
}

/// Cuts the runner off: its key opens the broker no more, and it is no runner of ours any more until
/// it joins again.
pub async fn revoke(
    State(api): State<Api>,
    Caller(actor): Caller,
    RunnerInPath(id): RunnerInPath,
) -> Result<Json<Value>, ApiError> {
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
    Ok(Json(
        json!({"ok": true, "runner_id": id, "message": message}),
    ))
}

async fn told(
    api: &Api,
    actor: &Actor,
    id: &RunnerId,
    command: &RunnerCommand,
) -> Result<Json<Value>, ApiError> {
    let runner = api.app.command_runner(actor, id, command).await?;
    Ok(Json(view(&runner, api.app.now())))
}

fn view(runner: &RunnerView, now: Timestamp) -> Value {
    let registration = &runner.registration;
    let silence = runner
        .last_heartbeat
        .map(|at| now.duration_since(at).as_secs().max(0));
    json!({
        "runner_id": runner.runner_id,
        "registered_at": runner.registered_at,
        "last_heartbeat": runner.last_heartbeat,
        "hostname": registration.hostname,
        "project_dir": registration.project_dir,
        "executor_profile": registration.executor_profile,
        "executor": {"type": registration.executor_type},
        "tags": registration.tags,
        "require_matching_tags": !registration.one_of.is_empty(),
        // Where not empty, it takes only lanes that demand one of these.
        "one_of": registration.one_of,
        "status": if runner.online { "online" } else { "stale" },
        "seconds_since_heartbeat": silence,
        "running": runner.runs,
        "max_runs": registration.max_runs,
        "draining": runner.draining || runner.drained.is_some(),
        "drained": runner.drained.as_ref().map(|drained| drained_view(runner, drained)),
        "left_at": runner.left_at,
        "lanes": lanes(runner),
        "version": registration.version,
        // Its own agents, and why others in its folder are not among them.
        "agents": registration.agents,
        "agent_faults": registration.agent_faults,
        "scripts_held": runner.scripts.values().filter(|script| script.held.is_some()).count(),
        "script_errors": runner.scripts.values().filter(|script| script.error.is_some()).count(),
        "sandbox": registration.sandbox,
        "synced_at": runner.synced_at,
    })
}

/// The runner's own key; null where it has none, and shares one with others.
fn access(member: Option<&Member>) -> Value {
    member.map_or(Value::Null, |member| {
        json!({
            "public_key": member.key,
            "joined_at": member.joined_at,
            "token": member.token,
            "revoked_at": member.revoked_at,
        })
    })
}

/// `confirmed`: the runner says itself that it takes no new runs; `done`: and it has none left.
fn drained_view(runner: &RunnerView, drained: &Drained) -> Value {
    json!({
        "since": drained.since,
        "by": drained.by.name,
        "reason": drained.reason,
        "confirmed": runner.draining,
        "done": runner.is_idle_for_good(),
    })
}

fn lanes(runner: &RunnerView) -> Map<String, Value> {
    let entry = |tags: &LaneTags| json!(tags);
    let lanes = runner.lanes.iter();
    lanes
        .map(|(lane, tags)| (lane.to_string(), entry(tags)))
        .collect()
}
