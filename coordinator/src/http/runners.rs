//! `/runners`: the hosts that execute, as existing clients know them, and what ours say beyond that.

use super::state::Api;
use crate::app::RunnerView;
use axum::Json;
use axum::extract::State;
use events::{LaneTags, Timestamp};
use serde_json::{Map, Value, json};

pub async fn list(State(api): State<Api>) -> Json<Value> {
    let now = Timestamp::now();
    let runners = api.app.runners().into_iter();
    let there = runners.filter(|runner| runner.online || runner.left_at.is_none());
    let shown: Vec<Value> = there.map(|runner| view(&runner, now)).collect();
    Json(json!({"runners": shown}))
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
        // Ours take only runs whose lane they serve; a lane without tags is open to all.
        "require_matching_tags": false,
        "status": if runner.online { "online" } else { "stale" },
        "seconds_since_heartbeat": silence,
        "running": runner.runs,
        "max_runs": registration.max_runs,
        "draining": runner.draining,
        "lanes": lanes(runner),
        "version": registration.version,
        "scripts": runner.scripts,
        "synced_at": runner.synced_at,
    })
}

fn lanes(runner: &RunnerView) -> Map<String, Value> {
    let entry = |tags: &LaneTags| json!(tags);
    let lanes = runner.lanes.iter();
    lanes
        .map(|(lane, tags)| (lane.to_string(), entry(tags)))
        .collect()
}
