//! What a script of a runner over HTTP leaves. It comes before the end is told, and perhaps to another
//! coordinator: so it goes into the log at once, in pieces, and the end takes it from there.

use super::super::steps::StepOutcome;
use super::super::{App, AppError, TRIES, off_thread};
use super::reports::not_at_work;
use super::{Report, Visitor};
use crate::domain::draft::document_of;
use events::Envelope;
use events::RunnerId;
use events::SessionId;
use events::log::Stored;
use events::run::{
    CHUNK_BYTES, FailureReason, Outcome, Program, ResultChunks, Run, RunEvent, RunStatus, RunStep,
};
use events::subject::{RunSubject, Stream, Writer};
use schemas::check::{CHECK_DEADLINE, CompiledSchema};
use serde_json::Value;
use std::collections::BTreeMap;

/// Steps of a run read at once; a piece takes up to 700 KiB.
const PAGE: usize = 8;
/// Violations that an error names.
const VIOLATIONS_NAMED: usize = 5;

/// What became of a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivered {
    Kept,
    /// The run had ended: it is kept as evidence, and changes nothing.
    Late,
}

impl App {
    /// Keeps what the session's present run has left, in the place of what it left before.
    ///
    /// # Errors
    /// When no run of the session is at work on a runner over HTTP.
    pub async fn deliver_result(
        &self,
        visitor: &Visitor,
        session_id: &SessionId,
        result: Value,
    ) -> Result<Delivered, AppError> {
        let (id, run) = self.at_work(session_id)?;
        self.reporting(visitor, &id).await?;
        let text = result.to_string();
        if run.state.status.is_final() {
            self.keep_late(&id, &run, result).await?;
            return Ok(Delivered::Late);
        }
        for (index, base64) in (0..).zip(ResultChunks::cut(&text)) {
            self.append_chunk(&id, session_id, &run, index, base64)
                .await?;
        }
        Ok(Delivered::Kept)
    }

    /// A piece of it; first the start, where that was not told.
    async fn append_chunk(
        &self,
        id: &RunnerId,
        session_id: &SessionId,
        run: &Run,
        index: u32,
        base64: String,
    ) -> Result<(), AppError> {
        let (runner_id, attempt) = (id.clone(), run.state.attempt);
        for _ in 0..TRIES {
            let run = self.run(&run.request.run_id)?;
            let ours = run.state.is_held_by(id, attempt) && !run.state.status.is_final();
            let is_start = run.state.status == RunStatus::Claimed;
            let event = match (ours, is_start, run.state.started) {
                (true, true, _) => RunEvent::Started {
                    runner_id: runner_id.clone(),
                    attempt,
                },
                (true, false, true) => RunEvent::ResultChunk {
                    runner_id: runner_id.clone(),
                    attempt,
                    index,
                    base64: base64.clone(),
                },
                _ => return Err(not_at_work(session_id)),
            };
            match self.append_as(id, &run, event).await? {
                StepOutcome::Stored { sequence } => {
                    self.visible(Stream::Runs, sequence).await?;
                    if !is_start {
                        return Ok(());
                    }
                }
                StepOutcome::Overtaken { last } => self.visible(Stream::Runs, last).await?,
            }
        }
        Err(AppError::Contended { tries: TRIES })
    }

    async fn keep_late(&self, id: &RunnerId, run: &Run, result: Value) -> Result<(), AppError> {
        // Beyond that a late result is no evidence worth a broker's refusal.
        let kept = match result.to_string().len() <= CHUNK_BYTES {
            true => result,
            false => Value::Null,
        };
        let late = RunEvent::LateResult {
            runner_id: id.clone(),
            attempt: run.state.attempt,
            outcome: Outcome {
                exit_code: exit_code(&kept, &Report::Completed),
                result_data: kept,
                result_chunks: None,
                duration_ms: 0,
            },
        };
        // Somebody else's note in between costs us a second piece of evidence, and no more.
        self.append_as(id, run, late).await.map(drop)
    }

    /// What the present attempt has left, where it has left something.
    pub(super) async fn left_by(
        &self,
        run: &Run,
        report: &Report,
    ) -> Result<Option<Outcome>, AppError> {
        if !run.state.started {
            return Ok(None);
        }
        let text = self.result_text(run).await?;
        let result: Option<Value> = text
            .as_deref()
            .and_then(|text| serde_json::from_slice(text).ok());
        let exit_code = exit_code(result.as_ref().unwrap_or(&Value::Null), report);
        let ran = run.started_at.map(|at| self.now().duration_since(at));
        let duration_ms = ran.map_or(0, |ran| u64::try_from(ran.as_millis()).unwrap_or(0));
        let outcome = |result_data, result_chunks| Outcome {
            exit_code,
            result_data,
            result_chunks,
            duration_ms,
        };
        Ok(match (result, text) {
            (Some(result), Some(text)) if text.len() <= CHUNK_BYTES => Some(outcome(result, None)),
            (Some(_), Some(text)) => {
                let text = String::from_utf8_lossy(&text);
                Some(outcome(Value::Null, Some(ResultChunks::of(&text))))
            }
            _ if *report == Report::Completed => Some(outcome(Value::Null, None)),
            _ => None,
        })
    }

    /// The JSON text of the last result that came whole.
    async fn result_text(&self, run: &Run) -> Result<Option<Vec<u8>>, AppError> {
        let Some(runner_id) = run.state.runner_id.clone() else {
            return Ok(None);
        };
        let subject = RunSubject {
            lane: run.request.lane_tags.lane(),
            run_id: run.request.run_id.clone(),
            writer: Writer::Runner(runner_id),
        };
        let (filter, mut from) = (subject.as_string(), run.first_sequence + 1);
        let mut chunks = BTreeMap::new();
        while from <= run.last_sequence {
            let page = self
                .0
                .broker
                .log
                .page(Stream::Runs, &filter, from, PAGE)
                .await?;
            let Some(last) = page.last() else { break };
            from = last.sequence + 1;
            for (index, bytes) in page.iter().filter_map(|stored| piece(run, stored)) {
                // The first piece begins a new one.
                if index == 0 {
                    chunks.clear();
                }
                chunks.insert(index, bytes);
            }
        }
        let whole = !chunks.is_empty();
        Ok(whole.then(|| chunks.into_values().flatten().collect()))
    }

    /// The end of a run that went well, where its result is what its script or agent promises.
    pub(super) async fn checked_end(
        &self,
        id: &RunnerId,
        run: &Run,
        outcome: Outcome,
    ) -> Result<RunEvent, AppError> {
        let completed = |outcome| RunEvent::Completed {
            runner_id: id.clone(),
            attempt: run.state.attempt,
            outcome,
        };
        let Some(schema) = self.output_schema(id, run).await? else {
            return Ok(completed(outcome));
        };
        let joined = self.with_chunks(run, &outcome).await?;
        let faults = off_thread(move || faults(&schema, &joined)).await?;
        Ok(match faults {
            None => completed(outcome),
            Some(error) => RunEvent::Failed {
                reason: FailureReason::OutputInvalid,
                error,
                outcome: Some(outcome),
            },
        })
    }

    async fn with_chunks(&self, run: &Run, outcome: &Outcome) -> Result<Value, AppError> {
        if outcome.result_chunks.is_none() {
            return Ok(outcome.result_data.clone());
        }
        let text = self.result_text(run).await?.unwrap_or_default();
        serde_json::from_slice(&text).map_err(AppError::internal)
    }

    async fn output_schema(&self, id: &RunnerId, run: &Run) -> Result<Option<Value>, AppError> {
        match run.request.program {
            Program::Script(_) => {
                let folder = self.folder(&run.request.digest).await?;
                Ok(document_of(&folder)?.output_schema)
            }
            Program::Command => {
                let runner = self.registered(id);
                let agents = runner.map(|runner| runner.registration.agents);
                let mut agents = agents.into_iter().flatten();
                let agent = agents.find(|agent| agent.name == run.request.agent);
                Ok(agent.and_then(|agent| agent.output_schema))
            }
            Program::Model => Ok(None),
        }
    }
}

/// Why a result is not what was promised.
fn faults(schema: &Value, result: &Value) -> Option<String> {
    let schema = match CompiledSchema::compile(schema) {
        Ok(schema) => schema,
        Err(error) => {
            return Some(format!(
                "the script's output_schema cannot be used: {error}"
            ));
        }
    };
    let violations = match schema.validate_within(result, VIOLATIONS_NAMED, CHECK_DEADLINE) {
        Ok(violations) => violations,
        Err(error) => return Some(format!("the output could not be checked: {error}")),
    };
    let named = violations.iter();
    let named = named.map(|violation| format!("{}: {}", violation.path, violation.message));
    let named: Vec<String> = named.collect();
    (!named.is_empty()).then(|| {
        format!(
            "the output does not fit output_schema: {}",
            named.join("; ")
        )
    })
}

/// As the result says it where it is a script's `{return_code, stdout, stderr}`.
fn exit_code(result: &Value, report: &Report) -> i32 {
    let said = result.get("return_code").and_then(Value::as_i64);
    let said = said.and_then(|code| i32::try_from(code).ok());
    said.unwrap_or(match report {
        Report::Completed | Report::Started => 0,
        Report::Failed { .. } | Report::Stopped { .. } => 1,
    })
}

fn piece(run: &Run, stored: &Stored) -> Option<(u32, Vec<u8>)> {
    use base64::Engine as _;
    let envelope = Envelope::<RunStep>::from_bytes(&stored.payload).ok()?;
    match envelope.event.step {
        RunEvent::ResultChunk {
            runner_id,
            attempt,
            index,
            base64,
        } if run.state.is_held_by(&runner_id, attempt) => {
            let bytes = base64::engine::general_purpose::STANDARD.decode(base64);
            Some((index, bytes.ok()?))
        }
        _ => None,
    }
}
