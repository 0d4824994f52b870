//! One poll: what applies first, or a wait until something does. Nothing here looks again and again:
//! whatever may end a wait wakes it.

use super::super::{App, AppError};
use super::Visitor;
use super::desk::{News, Waiting};
use super::members::Known;
use crate::projections::Runner;
use events::run::{Run, RunStatus};
use events::{RunnerId, SessionId};
use schemas::Name;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How long a stop waits to be told again that was told and not confirmed: the script has its time to
/// end.
const STOP_AGAIN: Duration = Duration::from_secs(10);

/// What a poll is answered with.
#[derive(Debug)]
pub enum PollAnswer {
    Deregistered,
    /// The sessions of runs that are to end.
    Stop(Vec<SessionId>),
    Scripts {
        sync: Vec<Name>,
        remove: Vec<Name>,
    },
    /// It is the runner's.
    Run(Box<Run>),
    Nothing,
}

impl App {
    /// Answers a poll, at the latest after `patience`.
    ///
    /// # Errors
    /// When the runner is not known, or registered with another token.
    pub async fn poll(
        &self,
        visitor: &Visitor,
        id: &RunnerId,
        patience: Duration,
    ) -> Result<PollAnswer, AppError> {
        let deadline = Instant::now() + patience;
        let Known::Registered(runner) = self.known_over_http(visitor, id)? else {
            return Ok(PollAnswer::Deregistered);
        };
        self.confirm(id, &runner).await?;
        self.stay_known(id, &runner).await?;
        self.speak(id).await;
        let mut waiting = self.0.desk.wait(id, Arc::new(runner.registration));
        loop {
            // What it is may have changed while it waited.
            let Known::Registered(runner) = self.known_over_http(visitor, id)? else {
                return Ok(PollAnswer::Deregistered);
            };
            if let Some(answer) = self.at_once(id, &runner).await? {
                return Ok(answer);
            }
            if !self.is_drained(id) {
                waiting.open();
            }
            match self.news(id, &mut waiting, deadline).await {
                None => return Ok(PollAnswer::Nothing),
                Some(News::Look) => {}
                Some(News::Run(delivery)) => {
                    if let Some(run) = self.take(id, &runner, *delivery).await? {
                        return Ok(PollAnswer::Run(Box::new(run)));
                    }
                }
            }
        }
    }

    /// What need not be waited for, the first that applies.
    async fn at_once(
        &self,
        id: &RunnerId,
        runner: &Runner,
    ) -> Result<Option<PollAnswer>, AppError> {
        let held = self.projections().held_by(id);
        let stops = self.stops(&held);
        if !stops.is_empty() {
            return Ok(Some(PollAnswer::Stop(stops)));
        }
        let news = self.script_news(id, runner);
        if !news.is_empty() {
            self.tell(id, runner, &news);
            return Ok(Some(PollAnswer::Scripts {
                sync: news.sync.into_iter().collect(),
                remove: news.remove.into_iter().collect(),
            }));
        }
        for run in held {
            if self.is_unconfirmed(&run)
                && let Some(run) = self.hand_over_again(id, &run).await?
            {
                return Ok(Some(PollAnswer::Run(Box::new(run))));
            }
        }
        Ok(None)
    }

    /// The next thing that may end the wait; `None` when its time is over.
    async fn news(&self, id: &RunnerId, waiting: &mut Waiting, deadline: Instant) -> Option<News> {
        let again = Instant::now() + self.look_again_in(id);
        let sign = self.silence_over_http() / 3;
        loop {
            tokio::select! {
                news = waiting.next() => return Some(news),
                () = tokio::time::sleep_until(deadline) => return None,
                () = tokio::time::sleep_until(again) => return Some(News::Look),
                // Who waits is there.
                () = tokio::time::sleep(sign) => self.speak(id).await,
            }
        }
    }

    /// After how long something is to be told again that was told and not confirmed.
    fn look_again_in(&self, id: &RunnerId) -> Duration {
        let held = self.projections().held_by(id);
        let told = |run: &Run| {
            let memory = self.0.over_http.lock();
            memory.stops.get(&run.request.run_id).copied()
        };
        let due = held.iter().filter_map(|run| match run.state.status {
            RunStatus::Stopping => Some(STOP_AGAIN.saturating_sub(told(run)?.elapsed())),
            RunStatus::Claimed => Some(self.confirmed_within(run)),
            _ => None,
        });
        // A poll that has nothing to tell again is over long before.
        due.min().unwrap_or(Duration::from_secs(3_600))
    }

    /// The sessions to stop that were not told a moment ago.
    fn stops(&self, held: &[Run]) -> Vec<SessionId> {
        let now = std::time::Instant::now();
        let mut memory = self.0.over_http.lock();
        memory.stops.retain(|_, told| told.elapsed() < STOP_AGAIN);
        let stopping = held
            .iter()
            .filter(|run| run.state.status == RunStatus::Stopping);
        let mut sessions = Vec::new();
        for run in stopping {
            let run_id = &run.request.run_id;
            if !memory.stops.contains_key(run_id) {
                memory.stops.insert(run_id.clone(), now);
                sessions.push(run.request.session_id.clone());
            }
        }
        sessions
    }
}
