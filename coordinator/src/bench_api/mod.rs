//! `coordinator bench api`: how many requests a second the API answers, beside a bare route of the same
//! framework that answers a constant of the same size, in the same process and by turns; and what
//! runners that wait for work without any cost. A coordinator of its own in a temporary folder, with a
//! broker of its own.

mod load;

use crate::cli::{ApiArgs, ServeArgs};
use crate::config::Settings;
use crate::serve::Server;
use anyhow::{Context as _, ensure};
use axum::Router;
use axum::http::header;
use axum::routing::get;
use bytes::Bytes;
use clap::{Args as _, FromArgMatches as _};
use load::{Client, Target};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;
use reqwest::Method;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

/// Both take turns, so that they see the same machine; of the ratios the median is reported.
const ROUNDS: usize = 5;
/// Runs that the page of runs is taken from.
const RUNS: usize = 100;

/// Starts, measures, and leaves nothing behind.
pub async fn run(args: ApiArgs) -> anyhow::Result<Value> {
    let folder = tempfile::tempdir().context("no temporary folder")?;
    let server = Server::start(settings(folder.path())?).await?;
    let bench = Bench {
        address: address(&server.url())?,
        token: server.token.expose().to_owned(),
        args,
    };
    let report = bench.measure().await;
    server.stop().await;
    report
}

fn settings(data_dir: &Path) -> anyhow::Result<Settings> {
    let command = ServeArgs::augment_args(clap::Command::new("serve"));
    let given = command.try_get_matches_from(["serve", "--listen", "127.0.0.1:0"])?;
    let args = ServeArgs::from_arg_matches(&given)?;
    Ok(Settings::check(data_dir.to_owned(), &args)?)
}

fn address(url: &str) -> anyhow::Result<SocketAddr> {
    Ok(url.trim_start_matches("http://").parse()?)
}

struct Bench {
    address: SocketAddr,
    token: String,
    args: ApiArgs,
}

impl Bench {
    async fn measure(&self) -> anyhow::Result<Value> {
        say("filling in a script, an agent and runs …");
        self.fill().await?;
        let script = self.beside_bare("/scripts/bench").await?;
        let runs = self.beside_bare("/runs?limit=50").await?;
        let idle = self.idle().await?;
        Ok(json!({"script": script, "runs": runs, "idle": idle}))
    }

    async fn fill(&self) -> anyhow::Result<()> {
        let script = json!({
            "name": "bench", "description": "What the bench asks for", "script_file": "bench.sh",
            "script_content": "exit 0\n", "demands": {"tags": ["bash"]},
        });
        let agent =
            json!({"name": "bench", "description": "", "type": "procedural", "script": "bench"});
        self.send("/scripts", &script).await?;
        self.send("/agents", &agent).await?;
        for _ in 0..RUNS {
            let run = json!({"type": "start_session", "agent_name": "bench"});
            self.send("/runs", &run).await?;
        }
        Ok(())
    }

    /// The rate of one address, and that of a bare route with an answer as long.
    async fn beside_bare(&self, path: &str) -> anyhow::Result<Value> {
        let ours = self.target(path);
        let (status, bytes) = Client::connect(&ours).await?.ask().await?;
        ensure!(status == 200, "{path} answers {status}");
        let bare = Target {
            address: bare(path, bytes).await?,
            ..ours.clone()
        };
        let (connections, requests) = (self.args.connections, self.args.requests);
        let (mut rates, mut bare_rates, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        for round in 1..=ROUNDS {
            say(&format!("{path}, round {round} of {ROUNDS} …"));
            let of_bare = load::rate(&bare, connections, requests).await?;
            let of_ours = load::rate(&ours, connections, requests).await?;
            rates.push(of_ours);
            bare_rates.push(of_bare);
            ratios.push(of_ours / of_bare);
        }
        Ok(json!({
            "path": path,
            "bytes": bytes,
            "per_second": median(rates).round(),
            "bare_per_second": median(bare_rates).round(),
            "rate_ratio": (median(ratios) * 100.0).round() / 100.0,
        }))
    }

    /// What it costs that runners wait for work over HTTP: the processor time of this whole process,
    /// their own client's in it, as a part of one core.
    async fn idle(&self) -> anyhow::Result<Value> {
        let count = self.args.pollers;
        say(&format!("registering {count} runners that wait …"));
        let mut clients = Vec::new();
        for number in 0..count {
            let runner = json!({
                "hostname": format!("bench-{number}"), "project_dir": "/bench",
                "executor_profile": "bench",
                "executor": {"type": "procedural", "command": "bench"},
            });
            let registered = self.send("/runner/register", &runner).await?;
            let id = registered["runner_id"]
                .as_str()
                .context("a runner without id")?;
            clients.push(
                Client::connect(&self.target(&format!("/runner/runs?runner_id={id}"))).await?,
            );
        }
        let polls = clients
            .into_iter()
            .map(|mut client| tokio::spawn(async move { while client.ask().await.is_ok() {} }));
        let polls: Vec<_> = polls.collect();
        let (settle, watch) = (
            Duration::from_secs(5),
            Duration::from_secs(self.args.idle_seconds),
        );
        tokio::time::sleep(settle).await;
        say(&format!("watching for {} s …", watch.as_secs()));
        let (before, begun) = (busy()?, Instant::now());
        tokio::time::sleep(watch).await;
        let cores = (busy()? - before).as_secs_f64() / begun.elapsed().as_secs_f64();
        for poll in polls {
            poll.abort();
        }
        Ok(json!({"runners": count, "cores": (cores * 10_000.0).round() / 10_000.0}))
    }

    fn target(&self, path: &str) -> Target {
        Target {
            address: self.address,
            path: path.to_owned(),
            token: self.token.clone(),
        }
    }

    async fn send(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        let client = reqwest::Client::new();
        let request = client.request(Method::POST, format!("http://{}{path}", self.address));
        let answer = request.bearer_auth(&self.token).json(body).send().await?;
        let (status, text) = (answer.status(), answer.text().await?);
        ensure!(status.is_success(), "{path} answers {status}: {text}");
        Ok(serde_json::from_str(&text)?)
    }
}

/// A route that answers so many bytes, whatever it is asked.
async fn bare(path: &str, bytes: usize) -> anyhow::Result<SocketAddr> {
    let body = Bytes::from(vec![b' '; bytes]);
    let answer = move || async move { ([(header::CONTENT_TYPE, "application/json")], body) };
    let route = path.split('?').next().unwrap_or(path);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let router = Router::new().route(route, get(answer));
    // It ends with the program.
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok(address)
}

/// The processor time of this process so far.
fn busy() -> anyhow::Result<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Ok(Duration::from_micros(micros.try_into()?))
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

fn say(text: &str) {
    eprintln!("{text}");
}
