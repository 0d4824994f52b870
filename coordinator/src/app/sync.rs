//! Forcing a re-check: every runner that is asked reads its lanes and its disk again, puts right what
//! is wrong, and answers. The answers are kept in memory for a while: they are news, not history.

use super::{App, AppError};
use crate::domain::Rejection;
use events::catalog::Kind;
use events::control::{Command, Done};
use events::{Actor, RunnerId, Timestamp};
use schemas::Name;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// How long a runner may take: it may have to fetch everything it should hold.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);
/// Syncs whose answers can still be read.
const KEPT: usize = 100;
/// Runners that are asked at the same moment; all of them would fetch at once otherwise.
const AT_ONCE: usize = 64;

/// What was asked of whom, and what each said.
#[derive(Clone, Debug, PartialEq)]
pub struct Sync {
    pub id: String,
    pub at: Timestamp,
    pub by: String,
    /// Those asked for by name; none means all.
    pub scripts: BTreeSet<Name>,
    pub asked: BTreeMap<RunnerId, Asked>,
}

/// One runner that was asked.
#[derive(Clone, Debug, PartialEq)]
pub struct Asked {
    pub hostname: String,
    pub reply: Reply,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    Waiting,
    Done {
        done: Done,
        at: Timestamp,
    },
    /// It did not answer in time.
    Silent,
    /// It was not there to be asked; it re-checks when it comes.
    Offline,
}

impl Sync {
    pub fn is_over(&self) -> bool {
        self.asked
            .values()
            .all(|asked| asked.reply != Reply::Waiting)
    }
}

/// The latest, the newest last.
#[derive(Default)]
pub struct Syncs(Mutex<VecDeque<Arc<watch::Sender<Sync>>>>);

impl Syncs {
    fn keep(&self, sync: Sync) -> Arc<watch::Sender<Sync>> {
        let sender = Arc::new(watch::Sender::new(sync));
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.push_back(sender.clone());
        if kept.len() > KEPT {
            kept.pop_front();
        }
        sender
    }

    fn find(&self, id: &str) -> Option<watch::Receiver<Sync>> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = kept.iter().find(|sync| sync.borrow().id == id);
        found.map(|sync| sync.subscribe())
    }
}

impl App {
    /// Asks the named runners, or all that serve a lane with one of the scripts, or all.
    ///
    /// # Errors
    /// When a script or a runner does not exist.
    pub fn trigger_sync(
        &self,
        actor: &Actor,
        scripts: BTreeSet<Name>,
        runners: &BTreeSet<RunnerId>,
    ) -> Result<Sync, AppError> {
        let catalog = self.projections().catalog().catalog;
        if let Some(name) = scripts
            .iter()
            .find(|name| !catalog.scripts.contains_key(*name))
        {
            let (kind, name) = (Kind::Script, name.clone());
            return Err(Rejection::NotFound { kind, name }.into());
        }
        let (known, wishes) = (self.projections().runners(), self.wishes());
        if let Some(id) = runners.iter().find(|id| !known.contains_key(id)) {
            let runner_id = id.clone();
            return Err(Rejection::RunnerNotFound { runner_id }.into());
        }
        let concerns = |view: &super::RunnerView| match (runners.is_empty(), scripts.is_empty()) {
            (false, _) => runners.contains(&view.runner_id),
            (true, true) => true,
            (true, false) => {
                let wanted = wishes.of(view);
                let held = |name: &Name| view.scripts.contains_key(name);
                scripts
                    .iter()
                    .any(|name| wanted.contains_key(name) || held(name))
            }
        };
        let views = self.runners().into_iter();
        let there = views.filter(|view| view.left_at.is_none() || !runners.is_empty());
        let asked = there.filter(concerns).map(|view| {
            let reply = match view.online {
                true => Reply::Waiting,
                false => Reply::Offline,
            };
            let hostname = view.registration.hostname;
            (view.runner_id, Asked { hostname, reply })
        });
        let sync = Sync {
            id: format!("sync_{:016x}", rand::random::<u64>()),
            at: Timestamp::now(),
            by: actor.name.clone(),
            asked: asked.collect(),
            scripts,
        };
        let kept = self.0.syncs.keep(sync.clone());
        self.ask_all(&sync, &kept);
        Ok(sync)
    }

    /// How it stands now, or when all have answered within `patience`; `None` where it is not
    /// known any more, or to another coordinator.
    pub async fn sync_answers(&self, id: &str, patience: Duration) -> Option<Sync> {
        let mut sync = self.0.syncs.find(id)?;
        // Not being over by then is no error.
        let _ = tokio::time::timeout(patience, sync.wait_for(Sync::is_over)).await;
        let now = sync.borrow().clone();
        Some(now)
    }

    fn ask_all(&self, sync: &Sync, kept: &Arc<watch::Sender<Sync>>) {
        let places = Arc::new(tokio::sync::Semaphore::new(AT_ONCE));
        let waiting = sync.asked.iter();
        for (id, _) in waiting.filter(|(_, asked)| asked.reply == Reply::Waiting) {
            let (wire, kept, places) = (self.0.broker.wire.clone(), kept.clone(), places.clone());
            let (id, scripts) = (id.clone(), sync.scripts.clone());
            tokio::spawn(async move {
                // Nobody closes the semaphore.
                let _place = places.acquire().await;
                let command = Command::Resync { scripts };
                let done = wire.command(&id, &command, ANSWER_WITHIN).await;
                let at = Timestamp::now();
                let reply = done.map_or(Reply::Silent, |done| Reply::Done { done, at });
                kept.send_modify(|sync| {
                    if let Some(asked) = sync.asked.get_mut(&id) {
                        asked.reply = reply;
                    }
                });
            });
        }
    }
}
