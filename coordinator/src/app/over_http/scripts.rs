//! What a runner over HTTP should hold, and what it was told of that. It cannot report what it holds, so
//! it counts as holding what an answer told it once its next poll shows that it has read the answer.

use super::super::runners::Wishes;
use super::super::{App, AppError};
use crate::domain::distribution::DesiredScript;
use crate::domain::over_http::ScriptNews;
use crate::projections::{Runner, Shelf};
use events::RunnerId;
use events::runner::{Held, Holding, RunnerEvent};
use schemas::{Digest, Name};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// How long a script is kept on a runner for a run that needs it: for longer than a run waits that could
/// be taken.
const NEEDED_FOR: Duration = Duration::from_secs(600);

/// What an answer told.
#[derive(Clone, Debug, Default)]
pub(super) struct Told {
    /// Under this registration; one that comes after it makes it void.
    registered_sequence: u64,
    sync: BTreeMap<Name, (u32, Digest)>,
    remove: BTreeSet<Name>,
}

/// After a registration: the names of what it may have are known, and nothing more.
pub(super) fn nothing_certain(before: &Shelf) -> RunnerEvent {
    let unknown = Holding {
        held: None,
        error: None,
    };
    RunnerEvent::Synced {
        whole: true,
        scripts: before
            .keys()
            .map(|name| (name.clone(), unknown.clone()))
            .collect(),
        gone: BTreeSet::new(),
    }
}

impl App {
    /// What is still to be told of scripts; nothing where all was.
    pub(super) fn script_news(&self, id: &RunnerId, runner: &Runner) -> ScriptNews {
        let shelf = self.projections().holdings().of(id);
        ScriptNews::between(&shelf, &self.wanted_over_http(id, runner))
    }

    /// A run came that needs a script which no lane of the runner wants: as with demands that only the
    /// run has, or where its agent is gone.
    pub(super) fn need_script(&self, id: &RunnerId, name: &Name) {
        let mut memory = self.0.over_http.lock();
        memory.needs.retain(|_, since| since.elapsed() < NEEDED_FOR);
        memory
            .needs
            .insert((id.clone(), name.clone()), Instant::now());
    }

    /// What lanes want of the runner, and what its runs need.
    fn wanted_over_http(&self, id: &RunnerId, runner: &Runner) -> BTreeMap<Name, DesiredScript> {
        let wishes = self.wishes_shared();
        let wanted = wishes.of_registration(&runner.registration).into_iter();
        let mut wanted: BTreeMap<Name, DesiredScript> =
            wanted.map(|(name, want)| (name.clone(), *want)).collect();
        let memory = self.0.over_http.lock();
        let needs = memory.needs.iter();
        let mut needs = needs
            .filter(|((of, _), since)| of == id && since.elapsed() < NEEDED_FOR)
            .peekable();
        if needs.peek().is_some() {
            let catalog = self.projections().catalog().catalog;
            for ((_, name), _) in needs {
                let now = catalog.scripts.get(name).map(|entry| &entry.current);
                wanted.extend(now.map(|now| (name.clone(), DesiredScript::of(now))));
            }
        }
        wanted
    }

    /// Remembers what is told now, until the next poll shows that it was read.
    pub(super) fn tell(&self, id: &RunnerId, runner: &Runner, news: &ScriptNews) {
        let wanted = self.wanted_over_http(id, runner);
        let told = news.sync.iter().filter_map(|name| {
            let want = wanted.get(name)?;
            Some((name.clone(), (want.version, want.digest)))
        });
        let told = Told {
            registered_sequence: runner.registered_sequence,
            sync: told.collect(),
            remove: news.remove.clone(),
        };
        self.0.over_http.lock().told.insert(id.clone(), told);
    }

    /// The next poll has come: what was told before has been read.
    pub(super) async fn confirm(&self, id: &RunnerId, runner: &Runner) -> Result<(), AppError> {
        let told = self.0.over_http.lock().told.remove(id);
        let counts = |told: &Told| told.registered_sequence == runner.registered_sequence;
        let Some(told) = told.filter(counts) else {
            return Ok(());
        };
        let since = self.now();
        let held = |(version, digest)| Holding {
            held: Some(Held {
                digest,
                version: Some(version),
                since,
            }),
            error: None,
        };
        let scripts = told.sync.into_iter().map(|(name, what)| (name, held(what)));
        let synced = RunnerEvent::Synced {
            // The account that the registration began may have been dropped with it.
            whole: runner.synced.is_none(),
            scripts: scripts.collect(),
            gone: told.remove,
        };
        self.say(id, synced).await
    }

    /// What lanes want, worked out once per version of the catalogue, however many polls ask.
    fn wishes_shared(&self) -> std::sync::Arc<Wishes> {
        let sequence = self.catalog_sequence();
        let shared = self.0.http_wishes.get(&sequence);
        shared.unwrap_or_else(|| {
            let wishes = std::sync::Arc::new(self.wishes());
            self.0.http_wishes.put(sequence, wishes.clone(), 1);
            wishes
        })
    }
}
