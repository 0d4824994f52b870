//! A session as clients see it: its first run says what it is, its newest one how it stands. Fields that
//! have no value are there as `null`.

use crate::app::App;
use events::run::{Run, RunStatus};
use events::{SessionId, Timestamp};
use schemars::JsonSchema;
use schemas::Name;
use serde::Serialize;

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Session")]
pub struct SessionView {
    session_id: SessionId,
    /// `pending`, `running`, `stopping`, `stopped`, `finished` or `failed`.
    status: &'static str,
    created_at: Timestamp,
    project_dir: Option<String>,
    agent_name: Name,
    last_resumed_at: Option<Timestamp>,
    parent_session_id: Option<SessionId>,
    /// What the executor calls it, where that told.
    executor_session_id: Option<String>,
    executor_profile: Option<String>,
    hostname: Option<String>,
}

/// Where a session is at work, as far as somebody said.
#[derive(Default)]
struct Place {
    session_id: Option<String>,
    hostname: Option<String>,
    profile: Option<String>,
    project_dir: Option<String>,
}

impl SessionView {
    /// Of all its runs, oldest first; `None` where there are none.
    pub fn of(app: &App, runs: &[Run]) -> Option<Self> {
        let (first, newest) = (runs.first()?, runs.last()?);
        let place = Place::of(app, runs);
        let request = &first.request;
        Some(Self {
            session_id: request.session_id.clone(),
            status: session_status(newest.state.status),
            created_at: first.created_at,
            project_dir: request.project_dir.clone().or(place.project_dir),
            agent_name: request.agent.clone(),
            last_resumed_at: runs[1..].last().map(|run| run.created_at),
            parent_session_id: request.parent_session_id.clone(),
            executor_session_id: place.session_id,
            executor_profile: place.profile,
            hostname: place.hostname,
        })
    }
}

impl Place {
    /// What the executor said of itself, or else what its runner did.
    fn of(app: &App, runs: &[Run]) -> Self {
        let executor = runs.iter().rev().find_map(|run| run.executor.clone());
        if let Some(executor) = executor {
            return Self {
                session_id: Some(executor.session_id),
                hostname: Some(executor.hostname),
                profile: Some(executor.profile),
                project_dir: executor.project_dir,
            };
        }
        let mut holders = runs.iter().rev();
        let holder = holders.find_map(|run| run.state.runner_id.as_ref());
        let there = holder.and_then(|id| app.registration(id));
        there.map_or_else(Self::default, |there| Self {
            session_id: None,
            hostname: Some(there.hostname),
            profile: Some(there.executor_profile),
            project_dir: Some(there.project_dir),
        })
    }
}

pub fn session_status(status: RunStatus) -> &'static str {
    match status {
        RunStatus::Pending | RunStatus::Claimed => "pending",
        RunStatus::Running => "running",
        RunStatus::Stopping => "stopping",
        RunStatus::Completed => "finished",
        RunStatus::Failed => "failed",
        RunStatus::Stopped => "stopped",
    }
}
