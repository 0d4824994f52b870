//! `coordinator audit`: what happened, when, and by whom, as the log says it, and whether it still says so.
//! Single events are `event`'s.

use clap::{Args, Subcommand};
use serde_json::Value;

use super::audit_export::{self, ExportArgs};
use super::audit_replay::{self, DiffArgs, ReplayArgs};
use super::audit_timeline::{self, TimelineArgs};
use super::audit_verify::{self, CheckpointArgs, VerifyArgs};
use super::audit_who_ran::{self, WhoRanArgs};
use super::failure::Failure;
use super::global::Context;

#[derive(Subcommand, Debug)]
pub enum AuditCommand {
    Timeline(TimelineArgs),
    WhoRan(WhoRanArgs),
    Export(ExportArgs),
    Verify(VerifyArgs),
    Checkpoint(CheckpointArgs),
    Replay(ReplayArgs),
    Diff(DiffArgs),
}

/// Which part of the past.
#[derive(Args, Debug)]
pub struct Span {
    /// Only what happened since then: 30m, 2h, 1d ago, or a time as 2026-11-20T09:00:00Z
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,

    /// Only what happened until then, written in the same way
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,

    /// How many lines at most
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: u32,
}

/// Some lines of a list, and what stands around them.
pub struct Lines {
    /// The first page as the server gave it, with all lines in it.
    pub body: Value,
    pub lines: Vec<Value>,
}

/// Lines asked for at once; the server may give fewer.
const PAGE: usize = 500;

pub async fn run(context: &Context, command: AuditCommand) -> Result<(), Failure> {
    match command {
        AuditCommand::Timeline(args) => audit_timeline::run(context, &args).await,
        AuditCommand::WhoRan(args) => audit_who_ran::run(context, &args).await,
        AuditCommand::Export(args) => audit_export::run(context, &args).await,
        AuditCommand::Verify(args) => audit_verify::verify(context, &args).await,
        AuditCommand::Checkpoint(_) => audit_verify::checkpoint(context).await,
        AuditCommand::Replay(args) => audit_replay::replay(context, &args).await,
        AuditCommand::Diff(args) => audit_replay::diff(context, &args).await,
    }
}

/// Up to the span's limit of the lines under `field`, page by page. Says so where there are more.
pub async fn lines(
    context: &Context,
    path: &[&str],
    field: &str,
    span: &Span,
    filters: &[(&str, Option<&str>)],
) -> Result<Lines, Failure> {
    let wanted = span.limit as usize;
    let (mut first, mut lines) = (None, Vec::new());
    let mut cursor: Option<String> = None;
    loop {
        let limit = (wanted - lines.len()).min(PAGE).to_string();
        let given = [
            ("since", span.since.as_deref()),
            ("until", span.until.as_deref()),
            ("cursor", cursor.as_deref()),
            ("limit", Some(limit.as_str())),
        ];
        let given = given.iter().chain(filters);
        let query: Vec<(&str, &str)> = given
            .filter_map(|(key, value)| Some((*key, (*value)?)))
            .collect();
        let mut body = context.client.get(path, &query).await?;
        if let Value::Array(page) = body[field].take() {
            lines.extend(page);
        }
        cursor = body["next_cursor"].as_str().map(str::to_owned);
        let body = first.get_or_insert(body);
        if cursor.is_none() || lines.len() >= wanted {
            body[field] = Value::Array(lines.clone());
            body["next_cursor"] = cursor.clone().map_or(Value::Null, Value::String);
            if cursor.is_some() {
                let more = span.limit.saturating_mul(2);
                context.remark(&format!("there may be more: --limit {more}"));
            }
            let body = body.take();
            return Ok(Lines { body, lines });
        }
    }
}
