//! Stays with a run until it ends: shows its output as it comes, comes back when the connection
//! drops, lets go on Ctrl-C. It never stops a run.

use std::io::Write;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures::StreamExt;
use jiff::Timestamp;
use serde_json::Value;

use super::client::{Client, WAIT};
use super::failure::{Exit, Failure};
use super::output::{Format, Output, text};
use super::sse::{Event, Parser};
use super::terminal::{ControlFilter, note, plain};

/// Between two attempts to come back.
const RECONNECT_PAUSE: Duration = Duration::from_millis(250);

/// How long a coordinator may be away while we follow: a restart or a leader election, not a holiday.
const RECONNECT_FOR: Duration = Duration::from_secs(120);

/// Which of our streams a script's standard output goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// stdout to stdout, stderr to stderr: the output is the data.
    Apart,
    /// Both to stderr: the data is something else.
    Remarks,
}

/// Shows chunks of a script's output.
pub struct Screen<'a> {
    output: &'a Output,
    route: Route,
    /// Also what acts on a terminal passes.
    raw: bool,
    stdout: ControlFilter,
    stderr: ControlFilter,
}

impl<'a> Screen<'a> {
    pub fn new(output: &'a Output, route: Route) -> Self {
        let terminal = &output.terminal;
        let colors = match route {
            Route::Apart => terminal.color_stdout(),
            Route::Remarks => terminal.color_stderr(),
        };
        Self {
            output,
            route,
            raw: false,
            stdout: ControlFilter::new(colors),
            stderr: ControlFilter::new(terminal.color_stderr()),
        }
    }

    /// Bytes as the script wrote them, on a terminal too.
    pub fn raw(mut self) -> Self {
        self.raw = true;
        self
    }

    pub fn show(&mut self, chunk: &Value) -> Result<(), Failure> {
        if self.route == Route::Apart && matches!(self.output.format, Format::Json | Format::Jsonl)
        {
            return self.output.line(&chunk.to_string());
        }
        if !matches!(&chunk["gap"], Value::Null | Value::Bool(false)) {
            note(&format!(
                "[some output is missing here: {}]",
                plain(&text(&chunk["gap"]))
            ));
        }
        let bytes = bytes(chunk);
        match (chunk["stream"].as_str(), self.route) {
            (Some("stderr"), _) => self.write_stderr_dimmed(&bytes),
            (_, Route::Remarks) => self.write_stderr(&bytes),
            (_, Route::Apart) => return self.write_stdout(&bytes),
        }
        Ok(())
    }

    fn write_stdout(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        if self.output.terminal.stdout && !self.raw {
            self.output.raw(self.stdout.push(bytes).as_bytes())
        } else {
            self.output.raw(bytes)
        }
    }

    fn write_stderr(&mut self, bytes: &[u8]) {
        let mut stderr = std::io::stderr().lock();
        // A closed stderr must not end the run's result on stdout.
        let _ = if self.output.terminal.stderr {
            stderr.write_all(self.stdout.push(bytes).as_bytes())
        } else {
            stderr.write_all(bytes)
        };
    }

    fn write_stderr_dimmed(&mut self, bytes: &[u8]) {
        let mut stderr = std::io::stderr().lock();
        let _ = if !self.output.terminal.stderr || self.raw {
            stderr.write_all(bytes)
        } else if self.output.terminal.color_stderr() {
            write!(stderr, "\u{1b}[2m{}\u{1b}[0m", self.stderr.push(bytes))
        } else {
            stderr.write_all(self.stderr.push(bytes).as_bytes())
        };
    }
}

/// A script that ended in the middle of a colour must not colour the user's prompt.
impl Drop for Screen<'_> {
    fn drop(&mut self) {
        if self.raw {
            return;
        }
        if self.route == Route::Remarks && self.output.terminal.color_stderr() {
            let _ = std::io::stderr().write_all(b"\x1b[0m");
        }
        if self.route == Route::Apart && self.output.terminal.color_stdout() {
            let _ = self.output.raw(b"\x1b[0m");
        }
    }
}

/// Shows the run's output from its beginning until it ends, then returns the ended run.
pub async fn follow(
    client: &Client,
    run_id: &str,
    screen: &mut Screen<'_>,
) -> Result<Value, Failure> {
    tokio::select! {
        run = to_the_end(client, run_id, screen) => run,
        _ = tokio::signal::ctrl_c() => Err(detached(run_id)),
    }
}

/// Waits for the end without showing anything.
pub async fn wait(client: &Client, run_id: &str) -> Result<Value, Failure> {
    loop {
        let run = client.get(&["runs", run_id], &[("wait", WAIT)]).await?;
        if has_ended(&run) {
            return Ok(run);
        }
    }
}

pub fn has_ended(run: &Value) -> bool {
    matches!(
        run["status"].as_str(),
        Some("completed" | "failed" | "stopped")
    )
}

/// What an ended run means for our exit code.
pub fn exit_of(run: &Value) -> Exit {
    match (run["status"].as_str(), run["reason"].as_str()) {
        (Some("completed"), _) => Exit::Ok,
        (Some("stopped"), _) => Exit::RunStopped,
        (_, Some("timeout")) => Exit::RunTimedOut,
        (_, Some("no_match")) => Exit::NoMatch,
        _ => Exit::RunFailed,
    }
}

/// `run_ab failed on web1 after 2.1s: exit_code 3: …`
pub fn epitaph(run: &Value) -> String {
    let mut line = format!("{} {}", text(&run["run_id"]), text(&run["status"]));
    if let Some(runner) = run["runner_id"].as_str() {
        line.push_str(&format!(" on {runner}"));
    }
    if let Some(seconds) = seconds_run(run) {
        line.push_str(&format!(" after {seconds:.1}s"));
    }
    for part in [&run["reason"], &run["error"]] {
        if let Some(part) = part.as_str() {
            line.push_str(&format!(": {part}"));
        }
    }
    plain(&line)
}

async fn to_the_end(
    client: &Client,
    run_id: &str,
    screen: &mut Screen<'_>,
) -> Result<Value, Failure> {
    let mut last_id = None;
    let mut seen = Instant::now();
    let mut told = false;
    loop {
        let failure = match stream(client, run_id, &mut last_id, &mut seen, screen).await {
            Ok(true) => match wait(client, run_id).await {
                Ok(run) => return Ok(run),
                Err(failure) => Some(failure),
            },
            Ok(false) => None,
            Err(failure) => Some(failure),
        };
        if let Some(failure) = failure {
            if failure.exit() != Exit::Unreachable || seen.elapsed() > RECONNECT_FOR {
                return Err(failure.hint(format!("coordinator run show {run_id}")));
            }
            if !std::mem::replace(&mut told, true) {
                note(&format!("{failure}; the run goes on, trying again …"));
            }
        }
        tokio::time::sleep(RECONNECT_PAUSE).await;
    }
}

/// One connection's worth of output; whether the end was among it.
async fn stream(
    client: &Client,
    run_id: &str,
    last_id: &mut Option<String>,
    seen: &mut Instant,
    screen: &mut Screen<'_>,
) -> Result<bool, Failure> {
    let response = client
        .events(&["runs", run_id, "logs"], last_id.as_deref())
        .await?;
    *seen = Instant::now();
    let mut parser = Parser::default();
    let mut body = response.bytes_stream();
    // An error here is a connection that dropped: the caller comes back for the rest.
    while let Some(Ok(bytes)) = body.next().await {
        *seen = Instant::now();
        let events = parser
            .push(&bytes)
            .map_err(|error| Failure::refused("cannot follow the run").because(error))?;
        for event in events {
            if event.name == "end" {
                return Ok(true);
            }
            shown(&event, screen)?;
            *last_id = event.id.or(last_id.take());
        }
    }
    Ok(false)
}

fn shown(event: &Event, screen: &mut Screen<'_>) -> Result<(), Failure> {
    if event.name != "output" {
        return Ok(());
    }
    match serde_json::from_str(&event.data) {
        Ok(chunk) => screen.show(&chunk),
        Err(_) => {
            note("[a piece of output could not be read]");
            Ok(())
        }
    }
}

fn bytes(chunk: &Value) -> Vec<u8> {
    if let Some(text) = chunk["text"].as_str() {
        return text.as_bytes().to_vec();
    }
    let base64 = chunk["base64"].as_str().unwrap_or_default();
    STANDARD.decode(base64).unwrap_or_default()
}

fn seconds_run(run: &Value) -> Option<f64> {
    let at = |field: &str| run[field].as_str()?.parse::<Timestamp>().ok();
    Some(
        at("completed_at")?
            .duration_since(at("started_at")?)
            .as_secs_f64(),
    )
}

fn detached(run_id: &str) -> Failure {
    note(&format!(
        "\ndetached: {run_id} goes on\n  follow it again: coordinator run logs -f {run_id}\n  stop it: coordinator run stop {run_id}"
    ));
    Failure::silent(Exit::Interrupted)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use axum::http::HeaderMap;
    use axum::routing::get;
    use axum::{Json, Router};
    use rstest::rstest;
    use serde_json::json;

    use super::super::terminal::Terminal;
    use super::*;

    #[rstest]
    #[case("completed", None, Exit::Ok)]
    #[case("failed", Some("exit_code"), Exit::RunFailed)]
    #[case("failed", Some("timeout"), Exit::RunTimedOut)]
    #[case("failed", Some("no_match"), Exit::NoMatch)]
    #[case("failed", Some("lost"), Exit::RunFailed)]
    #[case("stopped", None, Exit::RunStopped)]
    fn exit_codes(#[case] status: &str, #[case] reason: Option<&str>, #[case] exit: Exit) {
        assert_eq!(exit_of(&json!({"status": status, "reason": reason})), exit);
    }

    #[test]
    fn the_end_is_told_in_one_line() {
        let run = json!({"run_id": "run_1", "status": "failed", "runner_id": "web1", "reason": "exit_code",
            "error": "exit code 3", "started_at": "2026-11-20T10:00:00Z", "completed_at": "2026-11-20T10:00:02.1Z"});
        assert_eq!(
            epitaph(&run),
            "run_1 failed on web1 after 2.1s: exit_code: exit code 3"
        );
    }

    #[test]
    fn bytes_that_are_no_text_come_as_base64() {
        assert_eq!(bytes(&json!({"text": "a"})), b"a");
        assert_eq!(bytes(&json!({"base64": "/w=="})), [0xff]);
    }

    /// The first connection drops after one chunk; the second must ask for what follows it.
    #[tokio::test]
    async fn a_dropped_stream_is_taken_up_again() {
        let calls = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&calls);
        let logs = move |headers: HeaderMap| async move {
            counted.fetch_add(1, Ordering::SeqCst);
            match headers
                .get("last-event-id")
                .map(reqwest::header::HeaderValue::as_bytes)
            {
                None => "id: 7\nevent: output\ndata: {\"stream\":\"stderr\",\"text\":\"\"}\n\n",
                Some(b"7") => "event: end\ndata: {}\n\n",
                Some(_) => "",
            }
        };
        let router = Router::new().route("/runs/run_1/logs", get(logs)).route(
            "/runs/run_1",
            get(|| async { Json(json!({"status": "completed"})) }),
        );
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap())
            .parse()
            .unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });

        let client = Client::new(url, None, None).unwrap();
        let output = Output::new(Format::Table, Terminal::detect(false), Timestamp::now());
        let run = follow(&client, "run_1", &mut Screen::new(&output, Route::Remarks))
            .await
            .unwrap();
        assert_eq!(run, json!({"status": "completed"}));
        assert_eq!(calls.load(Ordering::SeqCst), 2);
    }
}
