//! One HTTP request at a time to the coordinator, and its answers and errors as the commands need
//! them. It knows no route: the nouns do.

use std::error::Error;
use std::path::Path;
use std::time::Duration;

use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue, IF_MATCH};
use reqwest::{Method, RequestBuilder, Response, StatusCode, Url};
use serde_json::Value;

use super::failure::{Exit, Failure};
use super::refusal::refusal;

/// A coordinator that does not take the connection by then is not there.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Silence on an open connection. Longer than any `?wait=` and than the comments that keep event
/// streams alive (30 s each).
const READ_TIMEOUT: Duration = Duration::from_secs(90);

/// How long one `?wait=` may hold; asked again as often as needed.
pub const WAIT: &str = "30s";

pub struct Client {
    http: reqwest::Client,
    base: Url,
    token: Option<HeaderValue>,
}

/// What a request carries.
pub enum Body<'a> {
    Empty,
    Json(&'a Value),
    /// A packed folder.
    Zstd(Vec<u8>),
}

#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub body: Value,
}

impl Client {
    /// `ca` names the authorities to verify an `https` address with, where they are not the system's.
    pub fn new(base: Url, token: Option<&str>, ca: Option<&Path>) -> Result<Self, Failure> {
        let token = token
            .map(|token| HeaderValue::try_from(format!("Bearer {token}")))
            .transpose()
            .map_err(|_| Failure::usage("the token holds characters that no token has"))?;
        let http = startup::trust::client(&base, ca)
            .map_err(|error| Failure::usage("whom to trust is not known").because(error))?
            // By this the coordinator's events name the door.
            .user_agent(concat!("coordinator-cli/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(READ_TIMEOUT)
            // The token goes to the address the user gave, and nowhere else.
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| Failure::refused("cannot set up an HTTP client").because(error))?;
        Ok(Self { http, base, token })
    }

    pub fn base(&self) -> &Url {
        &self.base
    }

    pub async fn get(&self, path: &[&str], query: &[(&str, &str)]) -> Result<Value, Failure> {
        Ok(self.send(Method::GET, path, query, Body::Empty).await?.body)
    }

    /// With the moment that the answer is of, where it was asked as of one.
    pub async fn get_as_of(
        &self,
        path: &[&str],
        query: &[(&str, &str)],
    ) -> Result<(Value, Option<String>), Failure> {
        let request = self.request(Method::GET, path)?.query(query);
        let response = self.execute(request).await?;
        let as_of = response.headers().get("x-as-of");
        let as_of = as_of.and_then(|as_of| as_of.to_str().ok().map(str::to_owned));
        Ok((self.answer(response).await?.body, as_of))
    }

    /// `None` where there is no such thing.
    pub async fn find(
        &self,
        path: &[&str],
        query: &[(&str, &str)],
    ) -> Result<Option<Value>, Failure> {
        let response = self
            .execute(self.request(Method::GET, path)?.query(query))
            .await?;
        if response.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        Ok(Some(self.answer(response).await?.body))
    }

    pub async fn send(
        &self,
        method: Method,
        path: &[&str],
        query: &[(&str, &str)],
        body: Body<'_>,
    ) -> Result<Answer, Failure> {
        let request = self.request(method, path)?.query(query);
        let request = match body {
            Body::Empty => request,
            Body::Json(json) => request.json(json),
            Body::Zstd(bytes) => request.header(CONTENT_TYPE, "application/zstd").body(bytes),
        };
        self.answer(self.execute(request).await?).await
    }

    /// Posts, only where this is the version of what the path names.
    pub async fn send_if(
        &self,
        path: &[&str],
        version: Option<u32>,
        body: &Value,
    ) -> Result<Answer, Failure> {
        let mut headers = HeaderMap::new();
        let tag = version.map(|version| HeaderValue::try_from(format!("\"{version}\"")));
        if let Some(Ok(tag)) = tag {
            headers.insert(IF_MATCH, tag);
        }
        self.send_with_headers(path, &[], headers, body).await
    }

    /// Stores a packed folder in the place of this version; another one is refused.
    pub async fn replace(
        &self,
        path: &[&str],
        version: u64,
        zstd: Vec<u8>,
    ) -> Result<Answer, Failure> {
        let request = self
            .request(Method::PUT, path)?
            .header(IF_MATCH, format!("\"{version}\""))
            .header(CONTENT_TYPE, "application/zstd")
            .body(zstd);
        self.answer(self.execute(request).await?).await
    }

    pub async fn send_with_headers(
        &self,
        path: &[&str],
        query: &[(&str, &str)],
        headers: HeaderMap,
        body: &Value,
    ) -> Result<Answer, Failure> {
        let request = self
            .request(Method::POST, path)?
            .query(query)
            .headers(headers)
            .json(body);
        self.answer(self.execute(request).await?).await
    }

    pub async fn download(
        &self,
        path: &[&str],
        query: &[(&str, &str)],
    ) -> Result<Vec<u8>, Failure> {
        let response = self
            .execute(self.request(Method::GET, path)?.query(query))
            .await?;
        let response = self.checked(response).await?;
        Ok(response
            .bytes()
            .await
            .map_err(|error| self.unreachable(&error))?
            .to_vec())
    }

    /// An answer whose body is read as it comes.
    pub async fn open(&self, path: &[&str], query: &[(&str, &str)]) -> Result<Response, Failure> {
        let request = self.request(Method::GET, path)?.query(query);
        self.checked(self.execute(request).await?).await
    }

    /// Opens an event stream, from after `last_event_id` where one is given.
    pub async fn events(
        &self,
        path: &[&str],
        last_event_id: Option<&str>,
    ) -> Result<Response, Failure> {
        let mut request = self
            .request(Method::GET, path)?
            .header(ACCEPT, "text/event-stream");
        if let Some(id) = last_event_id {
            request = request.header("Last-Event-ID", id);
        }
        self.checked(self.execute(request).await?).await
    }

    /// Opens an event stream that begins anew each time.
    pub async fn watch(&self, path: &[&str], query: &[(&str, &str)]) -> Result<Response, Failure> {
        let request = self
            .request(Method::GET, path)?
            .query(query)
            .header(ACCEPT, "text/event-stream");
        self.checked(self.execute(request).await?).await
    }

    fn request(&self, method: Method, path: &[&str]) -> Result<RequestBuilder, Failure> {
        let mut url = self.base.clone();
        // Such a segment would vanish from the path and address something else.
        if let Some(bad) = path
            .iter()
            .find(|segment| matches!(**segment, "" | "." | ".."))
        {
            return Err(Failure::usage(format!("`{bad}` is not a name")));
        }
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        let mut request = self.http.request(method, url);
        if let Some(token) = &self.token {
            request = request.header(reqwest::header::AUTHORIZATION, token);
        }
        Ok(request)
    }

    async fn execute(&self, request: RequestBuilder) -> Result<Response, Failure> {
        request
            .send()
            .await
            .map_err(|error| self.unreachable(&error))
    }

    async fn answer(&self, response: Response) -> Result<Answer, Failure> {
        let response = self.checked(response).await?;
        let status = response.status();
        let bytes = response
            .bytes()
            .await
            .map_err(|error| self.unreachable(&error))?;
        if bytes.is_empty() {
            return Ok(Answer {
                status,
                body: Value::Null,
            });
        }
        let body = serde_json::from_slice(&bytes).map_err(|error| {
            Failure::refused(format!(
                "{} answered with something that is not JSON",
                self.base
            ))
            .because(error)
            .hint("check --url: is this a coordinator?")
        })?;
        Ok(Answer { status, body })
    }

    async fn checked(&self, response: Response) -> Result<Response, Failure> {
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let body = response.bytes().await.unwrap_or_default();
        let body = serde_json::from_slice(&body)
            .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&body).into_owned()));
        let failure = refusal(status, &body);
        Err(match (status, &self.token) {
            (StatusCode::UNAUTHORIZED, None) => failure.or_hint(
                "--token, COORDINATOR_TOKEN, or --data-dir with the coordinator's admin.token",
            ),
            (StatusCode::UNAUTHORIZED, Some(_)) => {
                failure.or_hint("another token: the coordinator does not know this one")
            }
            _ => failure,
        })
    }

    fn unreachable(&self, error: &reqwest::Error) -> Failure {
        let failure = Failure::new(
            Exit::Unreachable,
            format!("cannot reach the coordinator at {}", self.base),
        );
        // The outer levels repeat the address; the innermost says what happened.
        let why = root(error);
        let hint = match tls_hint(&why) {
            Some(hint) => hint,
            None if error.is_connect() => {
                "is it running? start it with `coordinator serve`, or give its --url"
            }
            None => "coordinator status",
        };
        failure.hint(hint).because(why)
    }
}

/// What to do about a connection that did not come to speak, by the words of those who tried.
fn tls_hint(why: &str) -> Option<&'static str> {
    let knows = |words: &[&str]| words.iter().any(|word| why.contains(word));
    if knows(&["NotValidForName"]) {
        Some("--url with a name that is in the coordinator's certificate")
    } else if knows(&["Expired", "NotValidYet"]) {
        Some("the clocks of both hosts, or a new certificate for the coordinator")
    } else if knows(&["invalid peer certificate"]) {
        Some("--ca FILE (or COORDINATOR_CA) with the authority of the coordinator's certificate")
    } else if knows(&["InvalidContentType", "wrong version number"]) {
        Some("--url http://…: it does not speak TLS there")
    } else if knows(&["invalid HTTP version parsed"]) {
        Some("--url https://…: it may speak TLS there")
    } else {
        None
    }
}

fn root(error: &dyn Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode as Code;
    use axum::routing::get;
    use axum::{Json, Router};
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    /// Answers every request with one status and body.
    async fn double(status: u16, body: Value) -> Url {
        let answer = move || async move { (Code::from_u16(status).unwrap(), Json(body)) };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().route("/scripts/{name}", get(answer));
        tokio::spawn(async move { axum::serve(listener, router).await });
        url.parse().unwrap()
    }

    async fn ask(url: Url) -> Result<Value, Failure> {
        Client::new(url, Some("secret"), None)
            .unwrap()
            .get(&["scripts", "deploy"], &[])
            .await
    }

    #[tokio::test]
    async fn a_refusal_is_the_server_s_own_text() {
        let url = double(404, json!({"detail": "Script not found: deploy"})).await;
        let failure = ask(url).await.unwrap_err();
        assert_eq!(
            (failure.exit(), failure.report().as_str()),
            (Exit::Refused, "error: Script not found: deploy\n")
        );
    }

    #[tokio::test]
    async fn a_token_that_is_not_known_is_said_to_be() {
        let failure = ask(double(401, json!({"detail": "Unknown token"})).await)
            .await
            .unwrap_err();
        assert_eq!(failure.exit(), Exit::NotAllowed);
        assert!(
            failure.report().contains("does not know this one"),
            "{}",
            failure.report()
        );
    }

    #[tokio::test]
    async fn without_a_token_it_says_where_one_may_come_from() {
        let client = Client::new(
            double(401, json!({"detail": "Token missing"})).await,
            None,
            None,
        )
        .unwrap();
        let failure = client.get(&["scripts", "deploy"], &[]).await.unwrap_err();
        assert!(
            failure.report().contains("COORDINATOR_TOKEN"),
            "{}",
            failure.report()
        );
    }

    #[tokio::test]
    async fn nobody_listening_says_how_to_start_it() {
        // Bound and dropped: a port where nobody listens.
        let free = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let failure = ask(format!("http://{free}").parse().unwrap())
            .await
            .unwrap_err();
        assert_eq!(failure.exit(), Exit::Unreachable);
        let report = failure.doing("cannot show script deploy").report();
        assert!(
            report.starts_with("error: cannot reach the coordinator at"),
            "{report}"
        );
        assert!(
            report.contains("refused") && report.contains("coordinator serve"),
            "{report}"
        );
    }

    #[rstest]
    #[case("invalid peer certificate: UnknownIssuer", Some("--ca"))]
    #[case(
        "invalid peer certificate: certificate not valid for name \"a\"; NotValidForName",
        Some("--url with a name")
    )]
    #[case("invalid peer certificate: Expired", Some("new certificate"))]
    #[case("received corrupt message of type InvalidContentType", Some("http://"))]
    #[case("Connection refused", None)]
    fn what_tls_says_leads_on(#[case] why: &str, #[case] says: Option<&str>) {
        let hint = tls_hint(why).unwrap_or_default();
        assert!(hint.contains(says.unwrap_or_default()), "{hint}");
        assert_eq!(hint.is_empty(), says.is_none());
    }

    #[tokio::test]
    async fn not_found_can_be_an_answer() {
        let client = Client::new(double(404, json!({"detail": "no"})).await, None, None).unwrap();
        assert!(
            client
                .find(&["scripts", "deploy"], &[])
                .await
                .unwrap()
                .is_none()
        );
    }

    #[rstest]
    #[case("..")]
    #[case("")]
    #[tokio::test]
    async fn a_name_never_changes_the_route(#[case] name: &str) {
        let client = Client::new(double(200, json!({})).await, None, None).unwrap();
        let failure = client.get(&["scripts", name], &[]).await.unwrap_err();
        assert_eq!(failure.exit(), Exit::Usage);
    }
}
