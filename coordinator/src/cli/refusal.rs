//! The error format of the API, turned into what the user reads. It sends nothing and does not know
//! which command asked.

use reqwest::StatusCode;
use serde_json::Value;

use super::failure::{Exit, Failure};

/// A body that is no JSON of ours is repeated only if it is a short message, not a page.
const FOREIGN_MESSAGE_MAX_BYTES: usize = 200;

/// An answer that is no success, in the error format of the API.
pub fn refusal(status: StatusCode, body: &Value) -> Failure {
    let exit = match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Exit::NotAllowed,
        // The broker behind it, or the coordinator behind a proxy, is away: worth another try.
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => {
            Exit::Unreachable
        }
        _ => Exit::Refused,
    };
    let detail = &body["detail"];
    let nested = detail.get("error").and_then(Value::as_str);
    let mut failure = Failure::new(exit, message(status, body))
        .code(body["code"].as_str().or(nested).map(str::to_owned))
        .details(body_errors(detail))
        .details(validation_errors(detail));
    if let Some(hint) = body["hint"].as_str() {
        failure = failure.hint(hint);
    }
    if status.is_server_error()
        && let Some(id) = body["request_id"].as_str()
    {
        failure = failure.details([format!("request id {id}, for the coordinator's log")]);
    }
    failure
}

fn message(status: StatusCode, body: &Value) -> String {
    let detail = &body["detail"];
    let said = detail
        .as_str()
        .or_else(|| detail["message"].as_str())
        .or_else(|| detail["error"].as_str())
        .or_else(|| {
            body.as_str()
                .filter(|text| !text.is_empty() && text.len() <= FOREIGN_MESSAGE_MAX_BYTES)
        });
    match said {
        Some(text) => text.trim().to_owned(),
        None if detail.is_array() => "the request does not fit".to_owned(),
        None => format!("the coordinator answered {status}"),
    }
}

/// `{"detail": [{loc, msg}]}`: the shape of the body is wrong.
fn body_errors(detail: &Value) -> Vec<String> {
    let errors = detail.as_array().map_or(&[][..], Vec::as_slice);
    errors
        .iter()
        .map(|error| {
            let loc = error["loc"].as_array().map_or(&[][..], Vec::as_slice);
            let path: Vec<String> = loc
                .iter()
                .map(|part| {
                    part.as_str()
                        .map_or_else(|| part.to_string(), str::to_owned)
                })
                .collect();
            format!(
                "{}: {}",
                path.join("."),
                error["msg"].as_str().unwrap_or("is wrong")
            )
        })
        .collect()
}

/// `{"detail": {"validation_errors": [{path, message}]}}`: parameters that their schema refuses.
fn validation_errors(detail: &Value) -> Vec<String> {
    let errors = detail["validation_errors"]
        .as_array()
        .map_or(&[][..], Vec::as_slice);
    errors
        .iter()
        .map(|error| {
            let path = error["path"].as_str().unwrap_or("$");
            format!(
                "{path}: {}",
                error["message"].as_str().unwrap_or("is wrong")
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    #[rstest]
    #[case::text(404, json!({"detail": "Script not found: deploy"}), Exit::Refused, "error: Script not found: deploy\n")]
    #[case::hint(
        409,
        json!({"detail": "Script is referenced by agents: a", "code": "x", "hint": "coordinator agent delete a"}),
        Exit::Refused,
        "error: Script is referenced by agents: a\n  try: coordinator agent delete a\n"
    )]
    #[case::parameters(
        400,
        json!({"detail": {"error": "parameter_validation_failed", "message": "Parameters do not fit",
            "validation_errors": [{"path": "$.env", "message": "is required"}]}}),
        Exit::Refused,
        "error: Parameters do not fit\n  - $.env: is required\n"
    )]
    #[case::shape(
        422,
        json!({"detail": [{"type": "missing", "loc": ["body", "name"], "msg": "Field required"}]}),
        Exit::Refused,
        "error: the request does not fit\n  - body.name: Field required\n"
    )]
    #[case::server(
        500,
        json!({"request_id": "r1"}),
        Exit::Refused,
        "error: the coordinator answered 500 Internal Server Error\n  - request id r1, for the coordinator's log\n"
    )]
    #[case::forbidden(403, json!({"detail": "Needs the role author"}), Exit::NotAllowed, "error: Needs the role author\n")]
    #[case::broker_away(
        503,
        json!({"detail": "The broker is away"}),
        Exit::Unreachable,
        "error: The broker is away\n"
    )]
    #[case::no_json(502, json!("Bad Gateway from the proxy"), Exit::Unreachable, "error: Bad Gateway from the proxy\n")]
    fn answers_become_failures(
        #[case] status: u16,
        #[case] body: Value,
        #[case] exit: Exit,
        #[case] report: &str,
    ) {
        let failure = refusal(StatusCode::from_u16(status).unwrap(), &body);
        assert_eq!((failure.exit(), failure.report().as_str()), (exit, report));
    }
}
