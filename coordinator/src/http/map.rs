//! The one map from what the application refuses to what a client is told: status, code, what to
//! try. The sentences are the rejections' own.

use super::error::ApiError;
use crate::app::{AppError, AuditRejection, OverHttpRejection, Rejection};
use axum::http::StatusCode;
use events::catalog::Kind;
use schemas::check::Violation;
use schemas::{DocumentError, Name};
use serde_json::{Map, Value, json};
use std::error::Error;

impl From<AppError> for ApiError {
    fn from(error: AppError) -> Self {
        match error {
            AppError::Rejected(rejection) => rejected(&rejection),
            AppError::Unavailable(ref source) => {
                tracing::warn!(error = %chain(source.as_ref()), "the broker does not answer");
                Self::unavailable(error.to_string())
            }
            AppError::Full(ref source) => {
                tracing::error!(error = %chain(source.as_ref()), "the broker has no room left");
                Self::new(
                    StatusCode::INSUFFICIENT_STORAGE,
                    "broker_full",
                    chain(source.as_ref()),
                )
                .hint("make room on the broker's disk; nothing that is stored was lost")
            }
            AppError::Outdated { .. } => {
                tracing::warn!(%error, "a change was refused");
                Self::conflict("outdated_coordinator", error.to_string())
                    .hint("coordinator doctor; then upgrade this coordinator")
            }
            AppError::NearlyFull(_) => {
                tracing::warn!(%error, "answered with 507");
                Self::new(
                    StatusCode::INSUFFICIENT_STORAGE,
                    "nearly_full",
                    error.to_string(),
                )
                .hint("coordinator doctor; `serve --runs-max-size` gives it more, `serve --runs-kept` drops the old sooner")
            }
            AppError::Behind | AppError::BehindTheLog | AppError::Contended { .. } => {
                tracing::warn!(%error, "answered with 503");
                Self::unavailable(error.to_string())
            }
            AppError::Internal(source) => {
                tracing::error!(error = %chain(source.as_ref()), "an error inside the coordinator");
                Self::internal()
            }
        }
    }
}

fn rejected(rejection: &Rejection) -> ApiError {
    let text = chain(rejection);
    match rejection {
        Rejection::Audit(why) => audit(why, text),
        Rejection::OverHttp(why) => over_http(why, text),
        // Existing clients compare this text.
        Rejection::SessionAtWork => ApiError::conflict("session_at_work", text),
        Rejection::NotFound { kind, .. } => {
            ApiError::not_found(not_found(*kind), text).hint(list(*kind))
        }
        Rejection::Stale { kind, name, .. } => {
            ApiError::new(StatusCode::PRECONDITION_FAILED, "stale", text).hint(format!(
                "read it again (coordinator {} show {name}), and decide again",
                noun(*kind)
            ))
        }
        Rejection::NotFoundThen { kind, name, .. } => {
            ApiError::not_found(not_found(*kind), text).hint(history(*kind, name))
        }
        Rejection::RunNotYet { run_id, .. } => ApiError::not_found("run_not_found", text)
            .hint(format!("coordinator run show {run_id}")),
        Rejection::InTheFuture { .. } => ApiError::bad_request("in_the_future", text)
            .hint("leave the moment out to see what is now"),
        Rejection::AfterTheLast { .. } => {
            ApiError::bad_request("no_such_sequence", text).hint("coordinator audit checkpoint")
        }
        // Existing clients compare this text.
        Rejection::RunNotFound { .. } => {
            ApiError::not_found("run_not_found", "Run not found").hint("coordinator run list")
        }
        Rejection::RunnerNotFound { .. } => {
            ApiError::not_found("runner_not_found", text).hint("coordinator runner list")
        }
        Rejection::RunnerOnline { runner_id } => ApiError::conflict("runner_online", text)
            .hint(format!("coordinator runner drain {runner_id}")),
        Rejection::DrainReason { .. } => ApiError::bad_request("invalid_reason", text),
        Rejection::VersionNotFound { .. } => ApiError::not_found("version_not_found", text),
        Rejection::NoVersion { kind, name, .. } => {
            ApiError::not_found("version_not_found", text).hint(history(*kind, name))
        }
        Rejection::Deleted { kind, name, to, .. } => {
            ApiError::conflict(deleted(*kind), text).hint(format!(
                "coordinator {} rollback {name} --to {to} --recreate",
                noun(*kind)
            ))
        }
        Rejection::VersionOfRunner { agent, .. } => {
            ApiError::conflict("owned_by_runner", text).hint(history(Kind::Agent, agent))
        }
        Rejection::VersionNotStored { script, .. } => {
            ApiError::conflict("bundle_gone", text).hint(history(Kind::Script, script))
        }
        Rejection::Exists { .. } => ApiError::conflict("already_exists", text),
        Rejection::ReferencedByAgents { agents, .. } => {
            ApiError::conflict("referenced_by_agents", text).hint(delete_first(agents, &[]))
        }
        Rejection::ScriptReferenced {
            agents,
            capabilities,
        } => {
            let code = match agents.is_empty() {
                false => "referenced_by_agents",
                true => "referenced_by_capabilities",
            };
            ApiError::conflict(code, text).hint(delete_first(agents, capabilities))
        }
        Rejection::AgentInactive { .. } => ApiError::conflict("agent_inactive", text),
        Rejection::OwnedByRunner { runner_id, .. } => ApiError::conflict("owned_by_runner", text)
            .hint(format!("coordinator runner show {runner_id}")),
        Rejection::NameTaken { .. } => ApiError::conflict("agent_name_collision", text),
        Rejection::HookOfRunner { .. } => ApiError::bad_request("hook_of_runner", text),
        Rejection::SessionTaken { .. } => ApiError::conflict("session_taken", text),
        Rejection::KeyReused { .. } => ApiError::conflict("idempotency_key_reused", text),
        Rejection::NoRunner(nobody) => match nobody.hint() {
            Some(hint) => ApiError::conflict("no_runner", text).hint(hint),
            None => ApiError::conflict("no_runner", text),
        },
        Rejection::RunNotEnded { run_id, .. } => {
            ApiError::conflict("run_not_ended", text).hint(format!("coordinator run stop {run_id}"))
        }
        Rejection::BundleGone { run_id, .. } => ApiError::conflict("bundle_gone", text)
            .hint(format!("coordinator run retry {run_id} --current")),
        Rejection::Broken { .. } => ApiError::bad_request("broken_reference", text),
        Rejection::OwnHook { .. } => ApiError::bad_request("own_hook", text),
        Rejection::CapabilityBroken { .. } => ApiError::bad_request("broken_reference", text),
        Rejection::TwoMcpServers { .. } => ApiError::bad_request("two_mcp_servers", text),
        Rejection::NotPinned { .. } => {
            ApiError::not_found("pin_not_found", text).hint("coordinator script pins")
        }
        Rejection::PinnedNowhere => ApiError::bad_request("pinned_nowhere", text),
        Rejection::UnknownRunner { .. } => {
            ApiError::not_found("runner_not_found", text).hint("coordinator runner list")
        }
        Rejection::TokenNameReserved { .. } => ApiError::bad_request("invalid_name", text),
        Rejection::TokenLifetime => ApiError::bad_request("invalid_ttl", text),
        Rejection::TooManyTokens => {
            ApiError::conflict("too_many_tokens", text).hint("coordinator token list")
        }
        Rejection::TokenUsed { .. } => unlisted("token_used", text),
        Rejection::TokenExpired { .. } => unlisted("token_expired", text),
        Rejection::NotJoined { .. } => unlisted("runner_not_joined", text),
        Rejection::RunnerRevoked { .. } => shut_out("runner_revoked", text),
        Rejection::KeyRevoked { .. } => shut_out("key_revoked", text),
        Rejection::AlreadyJoined { runner_id } => ApiError::conflict("runner_already_joined", text)
            .hint(format!("coordinator runner revoke {runner_id}")),
        Rejection::KeyTaken { .. } => ApiError::conflict("key_taken", text),
        Rejection::NameDiffers { .. } => ApiError::bad_request("name_differs", text),
        Rejection::Document(error) => document(error),
        Rejection::Script(_) => ApiError::bad_request("invalid_script", text),
        Rejection::Agent(_) => ApiError::bad_request("invalid_agent", text),
        Rejection::Capability(_) => ApiError::bad_request("invalid_capability", text),
        Rejection::Folder(_) => ApiError::bad_request("folder_refused", text),
        Rejection::Schema { .. } => ApiError::bad_request("invalid_schema", text),
        Rejection::Demands { .. } => ApiError::bad_request("conflicting_demands", text),
        Rejection::Tag(_) => ApiError::bad_request("invalid_tag", text),
        Rejection::NoResume { agent } => no_resume(agent, text),
        // Existing clients compare this text.
        Rejection::SessionNotFound { .. } => {
            ApiError::not_found("session_not_found", "Session not found")
        }
        Rejection::NobodyToCallBack => ApiError::bad_request("nobody_to_call_back", text),
        Rejection::Parameters {
            agent,
            violations,
            schema,
        } => parameters(text, agent, violations, schema),
        Rejection::Unchecked { .. } => ApiError::bad_request("parameters_unchecked", text),
        Rejection::ParametersTooLarge(_) => ApiError::bad_request("parameters_too_large", text),
        Rejection::Arguments(_) => ApiError::bad_request("invalid_arguments", text),
    }
}

fn audit(why: &AuditRejection, text: String) -> ApiError {
    match why {
        AuditRejection::OtherStream { .. } => ApiError::conflict("position_of_other_stream", text),
        AuditRejection::Ahead { .. } => ApiError::conflict("position_ahead", text),
        AuditRejection::NoEvent { .. } => ApiError::not_found("event_not_found", text),
        AuditRejection::RunGone { run_id, .. } => ApiError::new(StatusCode::GONE, "run_gone", text)
            .hint(format!("coordinator run show {run_id}")),
        AuditRejection::NothingNamed { .. } => ApiError::not_found("nothing_named", text)
            .hint("coordinator script list; coordinator agent list"),
        AuditRejection::NothingKnown { .. } => ApiError::not_found("nothing_known", text),
        AuditRejection::SeveralDigests { .. } => ApiError::bad_request("several_digests", text),
        AuditRejection::NothingWithDigest { .. } => {
            ApiError::not_found("nothing_with_digest", text)
                .hint("coordinator script history NAME -o wide")
        }
    }
}

fn over_http(why: &OverHttpRejection, text: String) -> ApiError {
    match why {
        OverHttpRejection::NotRegistered { .. } => {
            ApiError::new(StatusCode::UNAUTHORIZED, "unknown_runner", text)
                .hint("register it: POST /runner/register")
        }
        OverHttpRejection::OtherToken { .. } => {
            ApiError::new(StatusCode::FORBIDDEN, "other_token", text)
                .hint("show the token it registered with, or register it again with this one after DELETE /runners/{id}")
        }
        OverHttpRejection::HasKey => ApiError::new(StatusCode::FORBIDDEN, "runner_has_key", text)
            .hint("coordinator token create --role runner --name NAME"),
        OverHttpRejection::Duplicate { runner_id } => {
            let more = [("runner_id".to_owned(), json!(runner_id))];
            let more = more.into_iter().collect();
            ApiError::detailed(StatusCode::CONFLICT, "duplicate_runner", text, more)
        }
        OverHttpRejection::AgentNames { clashes } => {
            let more = [("agent_names".to_owned(), json!(clashes.keys().collect::<Vec<_>>()))];
            let more = more.into_iter().collect();
            ApiError::detailed(StatusCode::CONFLICT, "agent_name_collision", text, more)
        }
        OverHttpRejection::NotHolder { run_id, .. } => ApiError::conflict("not_the_holder", text)
            .hint(format!("coordinator run show {run_id}")),
        OverHttpRejection::Ended { run_id, .. } => ApiError::conflict("run_has_ended", text)
            .hint(format!("coordinator run show {run_id}")),
        OverHttpRejection::NotAtWork { .. } => ApiError::conflict("session_not_at_work", text),
    }
}

/// What lets a runner in.
const ONE_TIME: &str = "coordinator token create --role runner --ttl 10m";

/// What was shown does not let this runner in.
fn unlisted(code: &str, text: String) -> ApiError {
    ApiError::new(StatusCode::UNAUTHORIZED, code, text).hint(ONE_TIME)
}

fn shut_out(code: &str, text: String) -> ApiError {
    ApiError::new(StatusCode::FORBIDDEN, code, text).hint(ONE_TIME)
}

fn no_resume(agent: &Name, text: String) -> ApiError {
    let mut more = Map::new();
    more.insert("agent_name".to_owned(), agent.as_str().into());
    let code = "procedural_agent_no_resume";
    ApiError::detailed(StatusCode::BAD_REQUEST, code, text, more)
        .hint("start a new session instead: type start_session")
}

/// A document of the wrong shape: a bad name is 400 as ever, all else is 422 with its place.
pub fn document(error: &DocumentError) -> ApiError {
    if error.path == "$.name" && !error.message.starts_with("invalid type") {
        return ApiError::bad_request("invalid_name", error.message.clone());
    }
    let mut loc = vec!["body".into()];
    loc.extend(places(&error.path));
    ApiError::shape("value_error", &loc, &error.message, &Value::Null)
}

fn parameters(text: String, agent: &Name, violations: &[Violation], schema: &Value) -> ApiError {
    let more = json!({
        "agent_name": agent,
        "validation_errors": violations,
        "parameters_schema": schema,
    });
    let more = match more {
        Value::Object(more) => more,
        _ => Map::new(),
    };
    let hint = format!("coordinator agent show {agent}");
    ApiError::detailed(
        StatusCode::BAD_REQUEST,
        "parameter_validation_failed",
        text,
        more,
    )
    .hint(hint)
}

/// An error and its causes in one line; what the level above said already is not said again.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let said = cause.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        next = cause.source();
    }
    text
}

/// `$.demands.tags[1]` as `demands`, `tags`, 1.
fn places(path: &str) -> Vec<Value> {
    let parts = path.trim_start_matches('$').split(['.', '[']);
    let parts = parts.map(|part| part.trim_end_matches(']'));
    parts
        .filter(|part| !part.is_empty())
        .map(|part| {
            part.parse::<u64>()
                .map_or_else(|_| part.into(), Value::from)
        })
        .collect()
}

fn not_found(kind: Kind) -> &'static str {
    match kind {
        Kind::Script => "script_not_found",
        Kind::Agent => "agent_not_found",
        Kind::Capability => "capability_not_found",
        Kind::Pin => "pin_not_found",
        Kind::Token => "token_not_found",
        Kind::Runner => "runner_not_found",
    }
}

fn deleted(kind: Kind) -> &'static str {
    match kind {
        Kind::Script => "script_deleted",
        Kind::Agent => "agent_deleted",
        Kind::Capability => "capability_deleted",
        Kind::Pin => "pin_deleted",
        Kind::Token => "token_revoked",
        Kind::Runner => "runner_revoked",
    }
}

fn history(kind: Kind, name: &Name) -> String {
    format!("coordinator {} history {name}", noun(kind))
}

fn noun(kind: Kind) -> &'static str {
    match kind {
        Kind::Script | Kind::Pin => "script",
        Kind::Agent => "agent",
        Kind::Capability => "capability",
        Kind::Token => "token",
        Kind::Runner => "runner",
    }
}

fn list(kind: Kind) -> &'static str {
    match kind {
        Kind::Script => "coordinator script list",
        Kind::Agent => "coordinator agent list",
        Kind::Capability => "coordinator capability list",
        Kind::Pin => "coordinator script pins",
        Kind::Token => "coordinator token list",
        Kind::Runner => "coordinator runner list",
    }
}

fn delete_first(agents: &[Name], capabilities: &[Name]) -> String {
    let agents = agents
        .iter()
        .map(|agent| format!("coordinator agent delete {agent}"));
    let capabilities = capabilities
        .iter()
        .map(|capability| format!("coordinator capability delete {capability}"));
    agents.chain(capabilities).collect::<Vec<_>>().join(" && ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use schemas::{ScriptRejection, Tag};

    #[test]
    fn a_path_becomes_a_place() {
        assert_eq!(
            places("$.demands.tags[1]"),
            [json!("demands"), json!("tags"), json!(1)]
        );
        assert!(places("$").is_empty());
    }

    #[test]
    fn the_cause_is_part_of_the_answer() {
        let reserved = Tag::parse_user("type:procedural").unwrap_err();
        let error = rejected(&ScriptRejection::ReservedTag(reserved).into());
        let detail = error.to_body("r")["detail"].to_string();
        assert!(
            detail.contains("demands.tags") && detail.contains("type:procedural"),
            "{detail}"
        );
    }

    #[test]
    fn what_went_wrong_inside_stays_inside() {
        let error = ApiError::from(AppError::Internal("secret".into()));
        assert_eq!(error.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert!(!error.to_body("r").to_string().contains("secret"));
    }
}
