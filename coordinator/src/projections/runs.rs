//! The runs as `RUNS` adds up to them. Those that have not ended are held in memory; all have a
//! row. How a message changes them is `run_steps`'.

use super::eras::Eras;
use super::keys;
use super::store::{Store, StoreError};
use events::run::{HookOf, HookPoint, Run, RunStatus};
use events::{Lane, RunId};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// The runs as they stand.
#[derive(Debug, Default)]
pub struct Runs {
    /// Not ended, by first sequence.
    live: BTreeMap<u64, Box<Run>>,
    places: HashMap<RunId, Place>,
    /// Of the live ones, by status: counts and lists look at no others.
    by_status: HashMap<RunStatus, BTreeSet<u64>>,
    /// Of the live ones, those that are held, and the runs of `on_run_start` hooks.
    hooked: BTreeSet<u64>,
    hook_news: HookNews,
    /// Of all runs, ended ones too.
    pub(super) eras: Eras,
    /// The ended ones from which something has still to follow.
    pub(super) owed: Owed,
    pub(super) ended: EndedCounts,
}

/// Where a live run stands.
#[derive(Debug)]
pub struct Place {
    first_sequence: u64,
    /// The lane of its request: it never changes, and to find it out takes a hash.
    pub lane: Lane,
}

/// The runs that hooks have to do with and that have changed since somebody looked.
#[derive(Debug, Default, PartialEq, Eq)]
pub enum HookNews {
    /// Too many to name, or nobody has looked yet.
    #[default]
    All,
    Of(BTreeSet<RunId>),
}

/// Runs named at most; looking at all is not much more then.
const HOOK_NEWS_MAX: usize = 1_000;

/// What an ended run owes until it is done, or is known to be impossible.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Debt {
    /// Its `on_run_finish` hook.
    Hook,
    /// Its end, to the session that waits for it.
    Callback,
}

/// The ended runs that owe something, by first sequence.
#[derive(Debug, Default)]
pub struct Owed {
    hooks: BTreeSet<u64>,
    callbacks: BTreeSet<u64>,
}

impl Debt {
    pub const ALL: [Self; 2] = [Self::Hook, Self::Callback];

    pub fn rows(self) -> &'static [u8] {
        match self {
            Self::Hook => keys::OWED_HOOKS,
            Self::Callback => keys::OWED_CALLBACKS,
        }
    }
}

impl Owed {
    pub fn of(&self, debt: Debt) -> &BTreeSet<u64> {
        match debt {
            Debt::Hook => &self.hooks,
            Debt::Callback => &self.callbacks,
        }
    }

    pub fn of_mut(&mut self, debt: Debt) -> &mut BTreeSet<u64> {
        match debt {
            Debt::Hook => &mut self.hooks,
            Debt::Callback => &mut self.callbacks,
        }
    }
}

/// How many runs have ended how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndedCounts {
    completed: u64,
    failed: u64,
    stopped: u64,
}

/// Runs that have ended, which only their rows remember.
pub trait Past {
    fn ended(&self, run_id: &RunId, eras: &Eras) -> Option<Run>;
}

impl Past for Store {
    fn ended(&self, run_id: &RunId, eras: &Eras) -> Option<Run> {
        let first = eras.find(self, run_id).ok()??;
        self.get(&keys::run(first)).ok()?
    }
}

impl Runs {
    pub fn load(store: &Store) -> Result<Self, StoreError> {
        let mut runs = Self {
            ended: store.get(keys::ENDED_COUNTS)?.unwrap_or_default(),
            eras: Eras::load(store)?,
            ..Self::default()
        };
        for key in store.keys(keys::LIVE_RUNS) {
            let first = keys::number_of(&key?);
            let row = first.map(|first| store.get::<Run>(&keys::run(first)));
            let run = row.transpose()?.flatten();
            let missing = || StoreError::Damaged("a live run has no row".to_owned());
            runs.keep(Box::new(run.ok_or_else(missing)?));
        }
        for debt in Debt::ALL {
            for key in store.keys(debt.rows()) {
                runs.owed.of_mut(debt).extend(keys::number_of(&key?));
            }
        }
        Ok(runs)
    }

    /// Not ended, oldest first.
    pub fn live(&self) -> &BTreeMap<u64, Box<Run>> {
        &self.live
    }

    /// Of the live ones, those that are held, and the runs of `on_run_start` hooks.
    pub fn hooked(&self) -> impl Iterator<Item = &Run> {
        let hooked = self.hooked.iter();
        hooked.filter_map(|first| self.live.get(first).map(Box::as_ref))
    }

    /// The live ones in a status below a first sequence, newest first.
    pub fn live_in(
        &self,
        status: RunStatus,
        below: u64,
    ) -> impl Iterator<Item = (u64, &Run)> + use<'_> {
        let same = self.by_status.get(&status).into_iter();
        let same = same.flat_map(move |same| same.range(..below).rev());
        same.filter_map(|first| Some((*first, self.live.get(first)?.as_ref())))
    }

    pub fn is_live(&self, run_id: &RunId) -> bool {
        self.places.contains_key(run_id)
    }

    pub fn live_run(&self, run_id: &RunId) -> Option<&Run> {
        let first = self.place(run_id)?.first_sequence;
        self.live.get(&first).map(Box::as_ref)
    }

    pub fn place(&self, run_id: &RunId) -> Option<&Place> {
        self.places.get(run_id)
    }

    /// How many runs there are in a status.
    pub fn count(&self, status: RunStatus) -> u64 {
        match status {
            RunStatus::Completed => self.ended.completed,
            RunStatus::Failed => self.ended.failed,
            RunStatus::Stopped => self.ended.stopped,
            live => self.by_status.get(&live).map_or(0, BTreeSet::len) as u64,
        }
    }

    /// What has changed; from here on the next changes are gathered.
    pub(super) fn take_hook_news(&mut self) -> HookNews {
        std::mem::replace(&mut self.hook_news, HookNews::Of(BTreeSet::new()))
    }

    fn note_hook(&mut self, run: &Run) {
        if run.request.hooks.on_run_start.is_none() && !is_start_hook(run) {
            return;
        }
        if let HookNews::Of(named) = &mut self.hook_news {
            named.insert(run.request.run_id.clone());
            if named.len() > HOOK_NEWS_MAX {
                self.hook_news = HookNews::All;
            }
        }
    }

    pub(super) fn keep(&mut self, run: Box<Run>) {
        self.note_hook(&run);
        if !self.places.contains_key(&run.request.run_id) {
            let place = Place {
                first_sequence: run.first_sequence,
                lane: run.request.lane_tags.lane(),
            };
            self.places.insert(run.request.run_id.clone(), place);
        }
        match run.state.held || is_start_hook(&run) {
            true => self.hooked.insert(run.first_sequence),
            false => self.hooked.remove(&run.first_sequence),
        };
        let (first, status) = (run.first_sequence, run.state.status);
        self.remove(first);
        self.by_status.entry(status).or_default().insert(first);
        self.live.insert(first, run);
    }

    fn remove(&mut self, first_sequence: u64) -> Option<Box<Run>> {
        let run = self.live.remove(&first_sequence)?;
        if let Some(same) = self.by_status.get_mut(&run.state.status) {
            same.remove(&first_sequence);
        }
        Some(run)
    }

    /// Takes a live run out to be changed; [`Self::keep`] or [`Self::drop_live`] follows.
    pub(super) fn take_live(&mut self, run_id: &RunId) -> Option<Box<Run>> {
        self.remove(self.places.get(run_id)?.first_sequence)
    }

    /// It is not live any more.
    pub(super) fn drop_live(&mut self, run: &Run) {
        self.note_hook(run);
        self.remove(run.first_sequence);
        self.hooked.remove(&run.first_sequence);
        self.places.remove(&run.request.run_id);
    }
}

fn is_start_hook(run: &Run) -> bool {
    let of = run.request.hook_of.as_ref();
    of.is_some_and(|HookOf { point, .. }| *point == HookPoint::OnRunStart)
}

impl EndedCounts {
    pub(super) fn of(&mut self, status: RunStatus) -> Option<&mut u64> {
        match status {
            RunStatus::Completed => Some(&mut self.completed),
            RunStatus::Failed => Some(&mut self.failed),
            RunStatus::Stopped => Some(&mut self.stopped),
            _ => None,
        }
    }
}
