//! Results that are too large for one event, read from the log when somebody asks. Rows and memory
//! hold no more than the reference to them.

use super::{App, AppError, off_thread};
use events::Envelope;
use events::log::Stored;
use events::run::{Run, RunEvent, RunStep};
use events::subject::{RunSubject, Stream, Writer};
use std::collections::BTreeMap;

/// Steps of a run read at once; a chunk of a result takes up to 700 KiB.
const PAGE: usize = 8;

impl App {
    /// The run with its result in it, wherever that stands.
    pub async fn with_result(&self, mut run: Run) -> Result<Run, AppError> {
        let chunked = run.outcome.as_ref();
        let Some(reference) = chunked.and_then(|outcome| outcome.result_chunks.clone()) else {
            return Ok(run);
        };
        let chunks = self.result_chunks(&run).await?;
        let joined = off_thread(move || reference.join(&chunks)).await?;
        let joined = joined.map_err(AppError::internal)?;
        if let Some(outcome) = &mut run.outcome {
            outcome.result_data = joined;
        }
        Ok(run)
    }

    /// The chunks of the run's last attempt, by index.
    async fn result_chunks(&self, run: &Run) -> Result<BTreeMap<u32, String>, AppError> {
        let (mut chunks, mut from) = (BTreeMap::new(), run.first_sequence + 1);
        let Some(runner_id) = run.state.runner_id.clone() else {
            return Ok(chunks);
        };
        // What others have appended is none of it, whatever it says.
        let subject = RunSubject {
            lane: run.request.lane_tags.lane(),
            run_id: run.request.run_id.clone(),
            writer: Writer::Runner(runner_id),
        };
        let filter = subject.as_string();
        loop {
            let log = &self.0.broker.log;
            let page = log.page(Stream::Runs, &filter, from, PAGE).await?;
            let Some(last) = page.last().map(|stored| stored.sequence) else {
                return Ok(chunks);
            };
            let found = page.iter().filter_map(|stored| chunk(run, stored));
            chunks.extend(found);
            if last >= run.last_sequence {
                return Ok(chunks);
            }
            from = last + 1;
        }
    }
}

fn chunk(run: &Run, stored: &Stored) -> Option<(u32, String)> {
    let envelope = Envelope::<RunStep>::from_bytes(&stored.payload).ok()?;
    match envelope.event.step {
        RunEvent::ResultChunk {
            runner_id,
            attempt,
            index,
            base64,
        } if run.state.is_held_by(&runner_id, attempt) => Some((index, base64)),
        _ => None,
    }
}
