//! `coordinator audit who-ran`: every place and time at which some bytes were executed, for whom, and
//! with what result.

use clap::Args;
use serde_json::Value;

use super::audit::{Lines, Span, lines};
use super::failure::Failure;
use super::global::Context;
use super::output::{Column, text};

const COLUMNS: &[Column] = &[
    Column::text("RUN", "/run_id"),
    Column::time("ENDED", "/completed_at"),
    Column::made("RESULT", ended),
    Column::made("RAN", ran),
    Column::text("RUNNER", "/runner_id"),
    Column::text("HOST", "/hostname"),
    Column::text("WHO", "/actor/name"),
    Column::text("THROUGH", "/through"),
    Column::text("AGENT", "/agent_name").wide(),
    Column::text("AGENT VERSION", "/agent_version").wide(),
    Column::time("STARTED", "/started_at").wide(),
    Column::text("ATTEMPT", "/attempt").wide(),
    Column::text("STOPPED BY", "/stopped_by/name").wide(),
    Column::text("DIGEST", "/digest").wide(),
    Column::text("PARAMETERS", "/parameters_digest").wide(),
];

/// One run, as its summary has it.
pub const RECORD: &[Column] = &[
    Column::text("RUN", "/run_id"),
    Column::text("SESSION", "/session_id"),
    Column::text("AGENT", "/agent_name"),
    Column::text("AGENT VERSION", "/agent_version"),
    Column::text("REQUESTED BY", "/actor/name"),
    Column::text("THROUGH", "/through"),
    Column::made("STATUS", ended),
    Column::text("STOPPED BY", "/stopped_by/name"),
    Column::text("ERROR", "/error"),
    Column::text("SCRIPT", "/script"),
    Column::text("VERSION", "/script_version"),
    Column::text("DIGEST", "/digest"),
    Column::text("RUNNER", "/runner_id"),
    Column::text("HOST", "/hostname"),
    Column::text("ATTEMPT", "/attempt"),
    Column::time("CREATED", "/created_at"),
    Column::time("CLAIMED", "/claimed_at"),
    Column::time("STARTED", "/started_at"),
    Column::time("ENDED", "/completed_at"),
    Column::text("PARAMETERS' DIGEST", "/parameters_digest"),
    Column::text("RESULT BYTES", "/result_bytes"),
];

/// Show who ran a script, one of its versions, or exactly these bytes: where, when, for whom, with what result
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  coordinator audit who-ran deploy
  coordinator audit who-ran deploy@3 --since 7d
  coordinator audit who-ran sha256:9f86d081884c7d65 --status failed -o wide
  coordinator audit who-ran deploy -o jsonl | jq -r '[.runner_id, .completed_at] | @tsv'")]
pub struct WhoRanArgs {
    /// NAME of a script or an agent, NAME@VERSION, or a digest: sha256: and some of its digits
    #[arg(value_name = "WHAT")]
    what: String,

    #[command(flatten)]
    span: Span,

    /// Only what this actor asked for
    #[arg(long, value_name = "NAME")]
    actor: Option<String>,

    /// Only on this runner; its id, or its host
    #[arg(long, value_name = "ID")]
    runner: Option<String>,

    /// Only runs that ended so: completed, failed, stopped
    #[arg(long, value_name = "STATUS")]
    status: Option<String>,
}

pub async fn run(context: &Context, args: &WhoRanArgs) -> Result<(), Failure> {
    let filters = [
        ("actor", args.actor.as_deref()),
        ("runner", args.runner.as_deref()),
        ("status", args.status.as_deref()),
    ];
    let path = ["audit", "who-ran", &args.what];
    let Lines { body, lines } = lines(context, &path, "runs", &args.span, &filters).await?;
    unfinished(context, &body)?;
    if lines.is_empty() {
        context.remark(&format!("no run of {} that fits has ended", args.what));
    }
    context.output.list(&body, &lines, "run_id", COLUMNS)
}

/// The runs that have not ended, above those that have.
pub fn unfinished(context: &Context, body: &Value) -> Result<(), Failure> {
    let runs = body["unfinished"].as_array().map_or(&[][..], Vec::as_slice);
    if runs.is_empty() || !context.output.is_for_people() {
        return Ok(());
    }
    context.output.line("Not ended:")?;
    context.output.list(body, runs, "run_id", COLUMNS)?;
    context.output.line("")
}

/// `completed`, or `failed (exit_code 3)`
pub fn ended(run: &Value) -> String {
    let status = text(&run["status"]);
    match (run["reason"].as_str(), run["exit_code"].as_i64()) {
        (Some("exit_code"), Some(code)) => format!("{status} (exit_code {code})"),
        (Some(reason), _) => format!("{status} ({reason})"),
        (None, _) => status,
    }
}

/// `deploy v3`; of an agent without a script, the agent.
fn ran(run: &Value) -> String {
    match run["script"].as_str() {
        Some(script) => format!("{script} v{}", text(&run["script_version"])),
        None => format!(
            "{} v{}",
            text(&run["agent_name"]),
            text(&run["agent_version"])
        ),
    }
}
