//! `GET /doctor`: what was looked at, how it stands, and what to do. Answers also when the broker is away.

use super::state::{Api, BrokerMode};
use crate::diagnosis::{Finding, Severity, folder, worst};
use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::Serialize;

/// In the data folder.
const READ_MODEL: &str = "projection";

/// What was looked at.
#[derive(Serialize, JsonSchema)]
pub struct Diagnosis {
    worst: Severity,
    findings: Vec<Finding>,
}

pub async fn doctor(State(api): State<Api>) -> Json<Diagnosis> {
    let embedded = api.broker.mode == BrokerMode::Embedded;
    let mut findings = api.app.doctor(api.broker.url.clone(), embedded).await;
    if let Some(data_dir) = api.data_dir {
        // A disk that hangs must hold up nobody else.
        let look = move || {
            let mut findings = folder::look(&data_dir);
            findings.extend(folder::look_at_live(&data_dir, READ_MODEL));
            findings
        };
        let looked = tokio::task::spawn_blocking(look).await;
        findings.extend(looked.unwrap_or_default());
    }
    Json(Diagnosis {
        worst: worst(&findings),
        findings,
    })
}
