//! `coordinator script rollout`: how far a script's present version has come, once, or on the wall
//! until it is everywhere. How it is drawn is `wall`'s.

use std::time::{Duration, Instant};

use clap::Args;
use futures::StreamExt;
use serde_json::{Value, json};

use super::client::Client;
use super::failure::{Exit, Failure};
use super::global::Context;
use super::output::{Column, Format, text};
use super::sse::Parser;
use super::terminal::{note, plain};
use super::wall::Wall;
use super::when;

/// Between two attempts to come back.
const RECONNECT_PAUSE: Duration = Duration::from_millis(250);
/// How long a coordinator may be away while we watch: a restart or a leader election.
const RECONNECT_FOR: Duration = Duration::from_secs(120);

const COLUMNS: &[Column] = &[
    Column::text("STATE", "/state"),
    Column::text("RUNNER", "/runner_id"),
    Column::text("HOST", "/hostname"),
    Column::made("HOLDS", holds),
    Column::time("SINCE", "/since"),
    Column::time("LAST SEEN", "/last_seen"),
    Column::made("WHY", why),
    Column::text("DIGEST", "/digest").wide(),
    Column::text("DRAINED", "/drained").wide(),
];

/// Show which runners hold the present version, and what keeps the others
#[derive(Args, Debug)]
#[command(after_help = "\
A runner that is offline counts as behind until it has the version, or is forgotten
(`coordinator runner forget`). Ctrl-C ends watching only.

Examples:
  coordinator script rollout deploy
  coordinator script rollout deploy --watch --timeout 5m
  coordinator script rollout deploy -o json | jq '.runners[] | select(.state != \"current\")'")]
pub struct RolloutArgs {
    /// Name of the script
    name: String,

    /// Until every runner has it (exit code 0)
    #[arg(short, long)]
    watch: bool,

    /// With --watch: give up after this time (exit code 11)
    #[arg(long, value_name = "TIME", value_parser = when::parse_duration, requires = "watch")]
    timeout: Option<Duration>,
}

pub async fn run(context: &Context, args: &RolloutArgs) -> Result<(), Failure> {
    let missing = |failure: Failure| failure.or_hint("coordinator script list");
    if !args.watch {
        let path = ["scripts", args.name.as_str(), "rollout"];
        let rollout = context.client.get(&path, &[]).await.map_err(missing)?;
        return show(context, &rollout);
    }
    let limit = async {
        match args.timeout {
            Some(limit) => tokio::time::sleep(limit).await,
            None => std::future::pending().await,
        }
    };
    let mut screen = Screen::new(context);
    let failure = tokio::select! {
        watched = watch(&context.client, &args.name, &mut screen) => {
            watched.map_err(missing)?;
            return screen.finish();
        }
        () = limit => Failure::new(
            Exit::RunTimedOut,
            format!("{} is not everywhere yet: {}", args.name, screen.summary()),
        )
        .hint(format!("coordinator script sync {}", args.name)),
        _ = tokio::signal::ctrl_c() => {
            let name = &args.name;
            note(&format!("\nthe rollout goes on\n  watch it again: coordinator script rollout {name} --watch"));
            Failure::silent(Exit::Interrupted)
        }
    };
    Err(failure)
}

fn show(context: &Context, rollout: &Value) -> Result<(), Failure> {
    let lines = rollout["runners"].as_array().map_or(&[][..], Vec::as_slice);
    if matches!(context.output.format, Format::Table | Format::Wide) {
        context.output.line(&plain(&text(&rollout["summary"])))?;
        for lane in rollout["lanes"].as_array().unwrap_or(&Vec::new()) {
            let tags = text(&lane["tags"]).replace(',', ", ");
            let runners = match lane["runners"].as_u64() {
                Some(1) => "1 runner".to_owned(),
                count => format!("{} runners", count.unwrap_or_default()),
            };
            let line = format!("lane {{{tags}}}: {runners}");
            context.output.line(&plain(&line))?;
        }
        if lines.is_empty() {
            return Ok(());
        }
    }
    context.output.list(rollout, lines, "runner_id", COLUMNS)
}

/// Follows until all is done; comes back where the connection drops.
async fn watch(client: &Client, name: &str, screen: &mut Screen<'_>) -> Result<(), Failure> {
    let mut seen = Instant::now();
    loop {
        match stream(client, name, screen, &mut seen).await {
            Ok(true) => return Ok(()),
            Ok(false) => {}
            Err(failure) if failure.exit() != Exit::Unreachable => return Err(failure),
            Err(failure) if seen.elapsed() > RECONNECT_FOR => return Err(failure),
            Err(_) => {}
        }
        tokio::time::sleep(RECONNECT_PAUSE).await;
    }
}

/// One connection's worth; whether the end was among it.
async fn stream(
    client: &Client,
    name: &str,
    screen: &mut Screen<'_>,
    seen: &mut Instant,
) -> Result<bool, Failure> {
    let response = client.events(&["scripts", name, "rollout"], None).await?;
    let mut parser = Parser::default();
    let mut body = response.bytes_stream();
    // An error here is a connection that dropped: the caller comes back.
    while let Some(Ok(bytes)) = body.next().await {
        *seen = Instant::now();
        let events = parser
            .push(&bytes)
            .map_err(|error| Failure::refused("cannot follow the rollout").because(error))?;
        for event in events {
            let Ok(news) = serde_json::from_str::<Value>(&event.data) else {
                continue;
            };
            screen.news(event.name == "rollout", &news)?;
            if news["done"] == true {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// Where a rollout that goes on is shown: drawn in place on a terminal, else a line per change.
struct Screen<'a> {
    context: &'a Context,
    wall: Option<Wall>,
    /// The whole as far as events have told it.
    rollout: Value,
    said: String,
}

impl<'a> Screen<'a> {
    fn new(context: &'a Context) -> Self {
        let people = matches!(context.output.format, Format::Table | Format::Wide);
        let terminal = &context.output.terminal;
        let wall = (people && terminal.stdout).then(|| Wall::new(terminal.color_stdout()));
        Self {
            context,
            wall,
            rollout: Value::Null,
            said: String::new(),
        }
    }

    fn summary(&self) -> String {
        plain(&text(&self.rollout["summary"]))
    }

    fn news(&mut self, whole: bool, news: &Value) -> Result<(), Failure> {
        let lines = match whole {
            true => Vec::new(),
            false => self.rollout["runners"]
                .as_array()
                .cloned()
                .unwrap_or_default(),
        };
        self.rollout = news.clone();
        self.rollout["runners"] = json!(merged(lines, news));
        let output = &self.context.output;
        if let Some(wall) = &mut self.wall {
            return output.raw(wall.redraw(&self.rollout).as_bytes());
        }
        match output.format {
            Format::Jsonl => output.line(&news.to_string()),
            Format::Json | Format::Name => Ok(()),
            Format::Table | Format::Wide => {
                let summary = self.summary();
                if summary == self.said {
                    return Ok(());
                }
                self.said.clone_from(&summary);
                output.line(&summary)
            }
        }
    }

    /// The last word, for the forms that have said nothing yet.
    fn finish(&self) -> Result<(), Failure> {
        match self.context.output.format {
            Format::Json | Format::Name => show(self.context, &self.rollout),
            _ => Ok(()),
        }
    }
}

/// The lines with those of the news, the worst first, as the coordinator sorts them.
fn merged(lines: Vec<Value>, news: &Value) -> Vec<Value> {
    let new = news["runners"].as_array().map_or(&[][..], Vec::as_slice);
    let left = news["left"].as_array().map_or(&[][..], Vec::as_slice);
    let replaced = |id: &Value| new.iter().any(|line| &line["runner_id"] == id);
    let kept = |line: &Value| !replaced(&line["runner_id"]) && !left.contains(&line["runner_id"]);
    let mut lines: Vec<Value> = lines.into_iter().filter(kept).collect();
    lines.extend(new.iter().cloned());
    lines.sort_by_key(|line| {
        let state = text(&line["state"]);
        let rank = ["failed", "offline", "behind", "delivered", "current"]
            .iter()
            .position(|known| *known == state);
        (rank, text(&line["hostname"]), text(&line["runner_id"]))
    });
    lines
}

/// `v6`, or the beginning of a digest whose version nobody knows.
pub fn holds(line: &Value) -> String {
    match (line["version"].as_u64(), line["digest"].as_str()) {
        (Some(version), _) => format!("v{version}"),
        (None, Some(digest)) => digest.chars().take("sha256:".len() + 8).collect(),
        (None, None) => "-".to_owned(),
    }
}

pub fn why(line: &Value) -> String {
    text(&line["error"]["message"])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn news_replace_lines_and_keep_the_order() {
        let line = |id: &str, state: &str| json!({"runner_id": id, "state": state});
        let lines = vec![
            line("a", "behind"),
            line("b", "behind"),
            line("c", "current"),
        ];
        let news = json!({"runners": [line("a", "current"), line("d", "failed")], "left": ["c"]});
        let shown = merged(lines, &news);
        let shown: Vec<String> = shown.iter().map(|line| text(&line["runner_id"])).collect();
        assert_eq!(shown, ["d", "b", "a"]);
    }
}
