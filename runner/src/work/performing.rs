//! Executes a prepared script to its end: by itself, by a stop, by its time limit, or because
//! the runner leaves.

use super::output::Pump;
use super::{Leaving, Ticket};
use crate::execute::output::{self, Caps, Record};
use crate::execute::result::{INLINE_LIMIT, Limits, TooLarge, from_output};
use crate::launcher::{Execution, Exit, Finished, Lost, Poised, SpawnError, Spec};
use crate::station::Station;
use events::claim::{Hold, latest};
use events::run::{FailureReason, Outcome, ResultChunks, RunEvent, RunStatus};
use schemas::check::{CHECK_DEADLINE, CompiledSchema};
use serde_json::Value;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Violations that are named in an error.
const VIOLATIONS_NAMED: usize = 5;

/// Why a script was asked to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    Stop,
    Timeout,
    Leaving,
}

/// How a run of ours ended.
pub struct Ending {
    pub event: RunEvent,
    /// The JSON text of a result that is too large for the event, which refers to it.
    pub large_result: Option<String>,
}

/// Hands the script to a guard, which makes ready what does not start it.
pub async fn poise(station: &Station, spec: Spec) -> Result<Poised, SpawnError> {
    // Who asks the log at the same time goes first.
    tokio::task::yield_now().await;
    station.launcher.prepare(spec).await
}

/// Runs the script; gives the end it came to, and the output still under way.
pub async fn perform(
    station: &Arc<Station>,
    hold: &Hold,
    poised: Result<Poised, SpawnError>,
    output_schema: Option<Value>,
    ticket: &Ticket,
) -> (Ending, Pump) {
    let begun = Instant::now();
    let execution = match start(poised).await {
        Ok(execution) => execution,
        Err(error) => return (not_spawned(&error).into(), silence(station, hold)),
    };
    let (batches, reading) = output::read(execution.stdout, execution.stderr, Caps::default());
    let pump = pump(station, hold, batches);
    let (finished, cause) = until_gone(station, hold, execution.control, ticket).await;
    let record = reading.finish().await;
    let duration_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    let end = End {
        cause,
        duration_ms,
        record,
        output_schema,
        timeout_seconds: hold.request.timeout_seconds,
    };
    let (runner_id, attempt) = (station.runner_id().clone(), hold.attempt);
    let is_quick = end.is_quick();
    let read = move || {
        let event = end.event(finished, |outcome| RunEvent::Completed {
            runner_id,
            attempt,
            outcome,
        });
        Ending::of(event)
    };
    // Large results take a moment to read and to check.
    let ending = match is_quick {
        true => read(),
        false => tokio::task::spawn_blocking(read)
            .await
            .unwrap_or_else(|_| lost("reading its result failed").into()),
    };
    (ending, pump)
}

async fn start(poised: Result<Poised, SpawnError>) -> Result<Execution, SpawnError> {
    poised?.start().await
}

fn pump(
    station: &Arc<Station>,
    hold: &Hold,
    batches: tokio::sync::mpsc::Receiver<output::Batch>,
) -> Pump {
    Pump::start(
        station.clone(),
        &hold.lane,
        &hold.request.run_id,
        hold.attempt,
        batches,
    )
}

fn silence(station: &Arc<Station>, hold: &Hold) -> Pump {
    let (_, nothing) = tokio::sync::mpsc::channel(1);
    pump(station, hold, nothing)
}

/// Waits until nothing of the script's process tree is left, and asks it to end where it has to.
async fn until_gone(
    station: &Station,
    hold: &Hold,
    mut control: crate::launcher::Control,
    ticket: &Ticket,
) -> (Result<Finished, Lost>, Option<Cause>) {
    let stopper = control.stopper();
    let mut leaving = ticket.leaving.clone();
    let mut cause: Option<Cause> = None;
    let limit = Duration::from_secs(hold.request.timeout_seconds.into());
    let timeout = tokio::time::sleep(limit);
    tokio::pin!(timeout);
    loop {
        let asked = tokio::select! {
            finished = control.wait() => return (finished, cause),
            () = &mut timeout, if cause.is_none() => Some(Cause::Timeout),
            () = ticket.hint.notified(), if cause.is_none() => {
                is_stopping(station, hold).await.then_some(Cause::Stop)
            }
            left = must_end(&mut leaving), if cause.is_none() => left.then_some(Cause::Leaving),
        };
        if let Some(asked) = asked {
            cause = Some(asked);
            stopper.stop();
        }
    }
}

/// Resolves when the log says that this attempt is to end.
pub async fn stop_asked(station: &Station, hold: &Hold, ticket: &Ticket) {
    loop {
        ticket.hint.notified().await;
        if is_stopping(station, hold).await {
            return;
        }
    }
}

/// Resolves when the runner leaves at once; `false` when it is not known any more.
async fn must_end(leaving: &mut tokio::sync::watch::Receiver<Leaving>) -> bool {
    let now = leaving.wait_for(|leaving| *leaving == Leaving::Now).await;
    now.is_ok()
}

/// Whether the log says that this attempt is to end: somebody asked for a stop, or the run is no
/// longer ours.
async fn is_stopping(station: &Station, hold: &Hold) -> bool {
    let standing = latest(&station.connection, &hold.lane, &hold.request.run_id).await;
    let Ok(Some(standing)) = standing else {
        return false;
    };
    let ours = standing.state.is_held_by(station.runner_id(), hold.attempt);
    standing.state.status == RunStatus::Stopping || standing.state.status.is_final() || !ours
}

fn not_spawned(error: &SpawnError) -> RunEvent {
    let reason = match error {
        SpawnError::Lost(_) => FailureReason::Lost,
        _ => FailureReason::Rejected,
    };
    RunEvent::Failed {
        reason,
        error: format!(
            "the script could not be started: {}",
            crate::apply::describe(error)
        ),
        outcome: None,
    }
}

fn lost(why: &str) -> RunEvent {
    RunEvent::Failed {
        reason: FailureReason::Lost,
        error: format!("the script's end is not known: {why}"),
        outcome: None,
    }
}

impl Ending {
    /// Takes a result out of the event where it is too large for one.
    fn of(mut event: RunEvent) -> Self {
        let Some(outcome) = event.outcome_mut() else {
            return event.into();
        };
        let text = outcome.result_data.to_string();
        if text.len() <= INLINE_LIMIT {
            return event.into();
        }
        outcome.result_data = Value::Null;
        outcome.result_chunks = Some(ResultChunks::of(&text));
        Self {
            event,
            large_result: Some(text),
        }
    }
}

impl From<RunEvent> for Ending {
    fn from(event: RunEvent) -> Self {
        Self {
            event,
            large_result: None,
        }
    }
}

/// What is known when a script's last process is gone.
struct End {
    cause: Option<Cause>,
    duration_ms: u64,
    record: Record,
    output_schema: Option<Value>,
    timeout_seconds: u32,
}

/// Output that is read and understood in less time than another thread takes to wake.
const QUICK_BYTES: usize = 16 * 1024;

impl End {
    fn is_quick(&self) -> bool {
        let output = self.record.stdout.len() + self.record.stderr.len();
        output <= QUICK_BYTES && self.output_schema.is_none()
    }

    fn event(
        &self,
        finished: Result<Finished, Lost>,
        completed: impl FnOnce(Outcome) -> RunEvent,
    ) -> RunEvent {
        let exit = match finished {
            Ok(finished) => finished.exit,
            Err(error) => return lost(&error.to_string()),
        };
        let result = from_output(exit.return_code(), &self.record, Limits::default());
        let failed = |reason, error: String, result_data: Value| RunEvent::Failed {
            reason,
            error,
            outcome: Some(self.outcome(exit, result_data)),
        };
        let kept = |result: Result<Value, TooLarge>| result.unwrap_or(Value::Null);
        match (self.cause, exit) {
            (Some(Cause::Stop), _) => RunEvent::Stopped {
                outcome: Some(self.outcome(exit, kept(result))),
            },
            (Some(Cause::Timeout), _) => failed(
                FailureReason::Timeout,
                format!(
                    "the script took longer than its timeout of {} s and was ended; raise timeout_seconds if it needs more",
                    self.timeout_seconds
                ),
                kept(result),
            ),
            (Some(Cause::Leaving), _) => failed(
                FailureReason::Lost,
                "the runner was stopped before the script had ended".to_owned(),
                kept(result),
            ),
            (None, Exit::Code(0)) => match self.checked(result) {
                Ok(result_data) => completed(self.outcome(exit, result_data)),
                Err((error, kept)) => failed(FailureReason::OutputInvalid, error, kept),
            },
            (None, exit) => failed(FailureReason::ExitCode, ended(exit), kept(result)),
        }
    }

    fn outcome(&self, exit: Exit, result_data: Value) -> Outcome {
        Outcome {
            exit_code: exit.return_code(),
            result_data,
            result_chunks: None,
            duration_ms: self.duration_ms,
        }
    }

    /// The result where it fits the script's `output_schema`; else why not, and what is kept.
    fn checked(&self, result: Result<Value, TooLarge>) -> Result<Value, (String, Value)> {
        let result = result.map_err(|error| (error.to_string(), Value::Null))?;
        let Some(schema) = &self.output_schema else {
            return Ok(result);
        };
        let schema = match CompiledSchema::compile(schema) {
            Ok(schema) => schema,
            Err(error) => {
                let error = format!("the script's output_schema cannot be used: {error}");
                return Err((error, result));
            }
        };
        let violations = match schema.validate_within(&result, VIOLATIONS_NAMED, CHECK_DEADLINE) {
            Ok(violations) => violations,
            Err(error) => {
                return Err((format!("the output could not be checked: {error}"), result));
            }
        };
        if violations.is_empty() {
            return Ok(result);
        }
        let named: Vec<String> = violations
            .iter()
            .map(|violation| format!("{}: {}", violation.path, violation.message))
            .collect();
        let error = format!(
            "the output does not fit output_schema: {}",
            named.join("; ")
        );
        Err((error, result))
    }
}

fn ended(exit: Exit) -> String {
    match exit {
        Exit::Code(code) => format!("the script ended with exit code {code}"),
        Exit::Signal(signal) => format!("the script was ended by signal {signal}"),
    }
}
