//! A request's body as JSON, and what is wrong with it where it does not fit: 422 with the place,
//! as existing clients read it.

use super::error::ApiError;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, OptionalFromRequest, Request};
use axum::http::{HeaderMap, StatusCode, header};
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_path_to_error::Segment;

/// A body without a folder in it: parameters (256 KiB) and schemas (64 KiB each) fit well.
pub const BODY_MAX_BYTES: usize = 1024 * 1024;
/// What an error repeats of the input it refuses, as JSON; more helps nobody.
const INPUT_SHOWN_BYTES: usize = 1024;

/// A JSON body, parsed into what the handler needs.
pub struct JsonBody<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for JsonBody<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let JsonValue(value) = JsonValue::from_request(request, state).await?;
        parse(&value).map(Self)
    }
}

/// A body that may be left out.
impl<S: Send + Sync, T: DeserializeOwned> OptionalFromRequest<S> for JsonBody<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Option<Self>, ApiError> {
        if request.headers().get(header::CONTENT_TYPE).is_none() {
            return Ok(None);
        }
        let body = <Self as FromRequest<S>>::from_request(request, state).await?;
        Ok(Some(body))
    }
}

/// A JSON body as it is; no key stands twice in it.
pub struct JsonValue(pub Value);

impl<S: Send + Sync> FromRequest<S> for JsonValue {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        if !is_json(request.headers()) {
            return Err(ApiError::unsupported("application/json"));
        }
        read_json(&read(request, state).await?).map(Self)
    }
}

/// The whole body, within the route's limit.
pub async fn read<S: Send + Sync>(request: Request, state: &S) -> Result<Bytes, ApiError> {
    Bytes::from_request(request, state)
        .await
        .map_err(|rejection| unread(&rejection))
}

/// The body's JSON.
pub fn read_json(bytes: &[u8]) -> Result<Value, ApiError> {
    schemas::value_from_json("request", bytes).map_err(|error| {
        ApiError::shape(
            "json_invalid",
            &["body".into()],
            &error.message,
            &Value::Null,
        )
    })
}

/// The body is over the route's limit.
pub fn too_large() -> ApiError {
    let detail = "The body is larger than this route takes";
    ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", detail)
        .hint("a body may have 1 MiB, an uploaded script 10 MiB packed")
}

/// A value as a type, or where and why it is none.
pub fn parse<T: DeserializeOwned>(value: &Value) -> Result<T, ApiError> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let path: Vec<Value> = error.path().iter().filter_map(place).collect();
        misfit(value, path, &error.inner().to_string())
    })
}

/// The body's type without its parameters, in lower case.
pub fn media_type(headers: &HeaderMap) -> String {
    let value = headers.get(header::CONTENT_TYPE);
    let text = value
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let essence = text.split(';').next().unwrap_or_default();
    essence.trim().to_ascii_lowercase()
}

fn is_json(headers: &HeaderMap) -> bool {
    let media = media_type(headers);
    media == "application/json" || media.ends_with("+json")
}

fn misfit(body: &Value, mut path: Vec<Value>, message: &str) -> ApiError {
    let input = shown(path.iter().fold(body, step));
    let missing = message
        .strip_prefix("missing field `")
        .and_then(|rest| rest.strip_suffix('`'));
    let (kind, message) = match missing {
        Some(field) => {
            path.push(field.into());
            ("missing", "Field required")
        }
        None if message.starts_with("invalid type") => ("type_error", message),
        None => ("value_error", message),
    };
    let mut loc = vec!["body".into()];
    loc.append(&mut path);
    ApiError::shape(kind, &loc, message, &input)
}

fn place(segment: &Segment) -> Option<Value> {
    match segment {
        Segment::Seq { index } => Some((*index).into()),
        Segment::Map { key } => Some(key.as_str().into()),
        Segment::Enum { .. } | Segment::Unknown => None,
    }
}

fn step<'a>(value: &'a Value, place: &Value) -> &'a Value {
    const NOTHING: &Value = &Value::Null;
    match place {
        Value::String(key) => value.get(key).unwrap_or(NOTHING),
        Value::Number(index) => index
            .as_u64()
            .and_then(|index| value.get(usize::try_from(index).ok()?))
            .unwrap_or(NOTHING),
        _ => NOTHING,
    }
}

fn shown(input: &Value) -> Value {
    if input.to_string().len() <= INPUT_SHOWN_BYTES {
        input.clone()
    } else {
        Value::Null
    }
}

fn unread(rejection: &BytesRejection) -> ApiError {
    match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => too_large(),
        _ => ApiError::bad_request("body_incomplete", "The body could not be read to its end"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use schemas::Demands;
    use serde::Deserialize;
    use serde_json::json;

    #[derive(Debug, Deserialize)]
    #[allow(dead_code)]
    struct Body {
        name: String,
        #[serde(default)]
        demands: Demands,
    }

    #[rstest]
    #[case::missing(json!({}), json!({"type": "missing", "loc": ["body", "name"], "msg": "Field required", "input": {}}))]
    #[case::wrong_type(json!({"name": 7}), json!({"type": "type_error", "loc": ["body", "name"], "msg": "invalid type: integer `7`, expected a string", "input": 7}))]
    #[case::no_object(json!([]), json!({"type": "value_error", "loc": ["body"], "msg": "invalid length 0, expected struct Body with 2 elements", "input": []}))]
    fn says_what_is_wrong_where(#[case] body: Value, #[case] expected: Value) {
        let error = parse::<Body>(&body).unwrap_err();
        assert_eq!(error.status(), StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(error.to_body("r")["detail"], json!([expected]));
    }

    #[test]
    fn finds_the_place_in_a_list() {
        let error = parse::<Body>(&json!({"name": "x", "demands": {"tags": ["a", "b c"]}}));
        let detail = error.unwrap_err().to_body("r")["detail"][0].clone();
        assert_eq!(detail["loc"], json!(["body", "demands", "tags", 1]));
        assert_eq!(detail["input"], json!("b c"));
    }

    #[test]
    fn does_not_send_much_input_back() {
        let error = parse::<Body>(&json!({"name": ["x".repeat(2000)]})).unwrap_err();
        assert_eq!(error.to_body("r")["detail"][0]["input"], Value::Null);
    }

    #[rstest]
    #[case("{", "json_invalid")]
    #[case("", "json_invalid")]
    #[case(r#"{"a":1,"a":2}"#, "json_invalid")]
    fn what_is_no_json_says_so(#[case] text: &str, #[case] kind: &str) {
        let error = read_json(text.as_bytes()).unwrap_err();
        assert_eq!(error.to_body("r")["detail"][0]["type"], kind);
    }
}
