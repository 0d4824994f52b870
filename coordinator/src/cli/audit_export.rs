//! `coordinator audit export`: the log as lines of JSON, and where to go on another time.

use std::time::{Duration, Instant};

use clap::Args;
use futures::StreamExt as _;
use serde_json::Value;

use super::failure::{Exit, Failure};
use super::global::Context;

/// How long a coordinator that is away is waited for while we follow: a restart, or an election.
const RECONNECT_FOR: Duration = Duration::from_secs(120);
/// Between two tries.
const RECONNECT_PAUSE: Duration = Duration::from_secs(1);

/// Write the events of the log as JSON, one per line, from a position on
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  coordinator audit export > everything.jsonl
  coordinator audit export --stream catalog --from-seq 120
  coordinator audit export --resume \"$(tail -n 1 everything.jsonl | jq -r .position)\" >> everything.jsonl
  coordinator audit export --follow --resume now | ship-to-siem")]
pub struct ExportArgs {
    #[command(flatten)]
    which: Which,

    /// Begin with this sequence; needs one --stream
    #[arg(long, value_name = "N", conflicts_with = "resume")]
    from_seq: Option<u64>,

    /// Go on after this position: the `position` of the last line that was read; or now
    #[arg(long, value_name = "POSITION")]
    resume: Option<String>,

    /// Go on with what happens from now on, until Ctrl-C
    #[arg(short, long)]
    follow: bool,
}

/// Which events.
#[derive(Args, Debug)]
pub struct Which {
    /// Only these streams: catalog, runs, history, runners; several with commas
    #[arg(long, value_name = "NAME")]
    stream: Option<String>,

    /// Only events of this type, such as script_changed; several with commas
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,

    /// Only what this actor did
    #[arg(long, value_name = "NAME")]
    actor: Option<String>,
}

impl Which {
    pub fn query(&self) -> Vec<(&'static str, String)> {
        let given = [
            ("stream", &self.stream),
            ("type", &self.kind),
            ("actor", &self.actor),
        ];
        let given = given.into_iter();
        given
            .filter_map(|(key, value)| Some((key, value.clone()?)))
            .collect()
    }
}

pub async fn run(context: &Context, args: &ExportArgs) -> Result<(), Failure> {
    let reading = Reading {
        query: args.which.query(),
        from_seq: args.from_seq,
        follow: args.follow,
        position: args.resume.clone(),
    };
    reading
        .run(context, |lines| context.output.raw(lines))
        .await
}

/// A reading of the log under way.
pub struct Reading {
    pub query: Vec<(&'static str, String)>,
    pub from_seq: Option<u64>,
    pub follow: bool,
    /// What was read lies before it.
    pub position: Option<String>,
}

impl Reading {
    /// Hands over whole lines as they come, until the end, or until Ctrl-C.
    pub async fn run(
        mut self,
        context: &Context,
        mut take: impl FnMut(&[u8]) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        tokio::select! {
            done = self.until_end(context, &mut take) => done,
            _ = tokio::signal::ctrl_c() => Err(Failure::silent(Exit::Interrupted)),
        }
    }

    async fn until_end(
        &mut self,
        context: &Context,
        take: &mut impl FnMut(&[u8]) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let mut seen = Instant::now();
        loop {
            match self.once(context, &mut seen, take).await {
                Ok(()) if !self.follow => return Ok(()),
                Err(failure) if failure.exit() != Exit::Unreachable => return Err(failure),
                Err(failure) if !self.follow || seen.elapsed() > RECONNECT_FOR => {
                    return Err(match &self.position {
                        Some(position) => failure.hint(format!("go on with --resume {position}")),
                        None => failure,
                    });
                }
                Ok(()) | Err(_) => tokio::time::sleep(RECONNECT_PAUSE).await,
            }
        }
    }

    /// One connection's worth of lines.
    async fn once(
        &mut self,
        context: &Context,
        seen: &mut Instant,
        take: &mut impl FnMut(&[u8]) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let mut query = self.query.clone();
        query.extend(self.follow.then(|| ("follow", "true".to_owned())));
        match (&self.position, self.from_seq) {
            (Some(position), _) => query.push(("resume", position.clone())),
            (None, Some(sequence)) => query.push(("from_seq", sequence.to_string())),
            (None, None) => {}
        }
        let query: Vec<(&str, &str)> = query.iter().map(|(k, v)| (*k, v.as_str())).collect();
        let response = context.client.open(&["audit", "export"], &query).await?;
        *seen = Instant::now();
        let beginning = response.headers().get("x-position");
        if let Some(beginning) = beginning.and_then(|value| value.to_str().ok()) {
            self.position = Some(beginning.to_owned());
        }
        let mut body = response.bytes_stream();
        let mut rest = Vec::new();
        while let Some(bytes) = body.next().await {
            let bytes = bytes.map_err(|error| broken(context, &error))?;
            *seen = Instant::now();
            rest.extend_from_slice(&bytes);
            let Some(end) = rest.iter().rposition(|byte| *byte == b'\n') else {
                continue;
            };
            let lines: Vec<u8> = rest.drain(..=end).collect();
            take(&lines)?;
            self.position = last_position(&lines).or(self.position.take());
        }
        Ok(())
    }
}

/// The position after the last of these lines.
fn last_position(lines: &[u8]) -> Option<String> {
    let last = lines
        .split(|byte| *byte == b'\n')
        .rfind(|line| !line.is_empty())?;
    let last: Value = serde_json::from_slice(last).ok()?;
    last["position"].as_str().map(str::to_owned)
}

fn broken(context: &Context, error: &reqwest::Error) -> Failure {
    let what = format!("the answer of {} broke off", context.client.base());
    Failure::new(Exit::Unreachable, what).because(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_says_where_to_go_on() {
        let lines = b"{\"position\":\"a:1\"}\n{\"position\":\"a:2\"}\n";
        assert_eq!(last_position(lines).as_deref(), Some("a:2"));
        assert_eq!(last_position(b"rubbish\n"), None);
    }
}
