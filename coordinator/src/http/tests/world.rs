//! A router with its application, and requests to it.

use super::conformance;
use crate::access::AdminToken;
use crate::app::{App, testing};
use crate::http::{Api, BrokerFacts, BrokerMode, Surroundings, Tokens, router};
use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::http::request::Builder;
use axum::http::{HeaderMap, Request, StatusCode};
use events::log::jetstream::Durability;
use events::log::memory::MemoryLog;
use serde_json::Value;
use std::sync::Arc;
use std::time::Instant;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

pub const TOKEN: &str = "cor_0123456789012345678901234567890123456789";
pub const HOST: &str = "127.0.0.1:8765";

pub struct World {
    pub router: Router,
    pub app: App,
    pub log: MemoryLog,
    pub closing: CancellationToken,
    _folder: tempfile::TempDir,
}

pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl World {
    pub async fn new() -> Self {
        Self::with(Tokens::Needed).await
    }

    pub async fn with(tokens: Tokens) -> Self {
        Self::over(MemoryLog::default(), tokens).await
    }

    /// Another coordinator over the same log.
    pub async fn beside(other: &Self) -> Self {
        Self::over(other.log.clone(), Tokens::Needed).await
    }

    async fn over(log: MemoryLog, tokens: Tokens) -> Self {
        let (app, folder) = testing::app_on(&log).await;
        let closing = CancellationToken::new();
        let broker = BrokerFacts {
            mode: BrokerMode::Embedded,
            url: "nats://127.0.0.1:4222".to_owned(),
            durability: Durability::ProcessCrash,
            server_version: Box::new(|| "2.15.1".to_owned()),
            runner_urls: vec!["nats://127.0.0.1:4222".to_owned()],
            runner_seed: None,
            admitted: None,
            accounts: Box::new(|members| format!("accounts of {}", members.by_runner.len())),
        };
        let api = Api {
            app: app.clone(),
            broker: Arc::new(broker),
            started: Instant::now(),
            last_uses: Arc::default(),
            pages: Arc::default(),
            data_dir: None,
            closing: closing.clone(),
        };
        let token = AdminToken::parse(TOKEN).unwrap();
        let surroundings = Surroundings {
            hosts: vec!["coordinator.example".to_owned()],
            own_origin: None,
            cors_origins: vec!["https://pages.example".to_owned()],
        };
        Self {
            router: router(api, token, tokens, surroundings),
            app,
            log,
            closing,
            _folder: folder,
        }
    }

    /// A request that may pass the door, unfinished.
    pub fn request(method: &str, path: &str) -> Builder {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", HOST);
        request.header("authorization", format!("Bearer {TOKEN}"))
    }

    pub async fn answer(&self, request: Request<Body>) -> Answer {
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let answer = Answer {
            status: parts.status,
            headers: parts.headers,
            body: to_bytes(body, usize::MAX).await.unwrap(),
        };
        conformance::check(&method, &path, &answer);
        answer
    }

    pub async fn ask(&self, method: &str, path: &str) -> Answer {
        let request = Self::request(method, path).body(Body::empty());
        self.answer(request.unwrap()).await
    }

    pub async fn send(&self, method: &str, path: &str, body: Value) -> Answer {
        let request = Self::request(method, path).header("content-type", "application/json");
        self.answer(request.body(Body::from(body.to_string())).unwrap())
            .await
    }
}

impl Answer {
    pub fn json(&self) -> Value {
        let text = String::from_utf8_lossy(&self.body);
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    /// Status and body, for one assertion.
    pub fn told(&self) -> (u16, Value) {
        (self.status.as_u16(), self.json())
    }

    /// Status, detail and code of an error, which must have our fields beside them.
    pub fn error(&self) -> (u16, Value, String) {
        let body = self.json();
        assert_eq!(body["request_id"], self.header("x-request-id"), "{body}");
        let code = body["code"].as_str().unwrap().to_owned();
        (self.status.as_u16(), body["detail"].clone(), code)
    }
}
