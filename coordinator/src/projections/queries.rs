//! Questions about what is known now.

use super::runs::{Debt, HookNews, Runs};
use super::shared_rows::{in_both, number};
use super::{CatalogState, Holdings, Ordered, Projections, Runner, StoreError, keys, read, write};
use events::run::{Run, RunStatus};
use events::{RunId, RunnerId, SessionId, Timestamp};
use jiff::SignedDuration;
use schemas::Name;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Which runs, newest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunQuery {
    pub status: Option<RunStatus>,
    pub agent: Option<Name>,
    /// Requested at that time or later.
    pub since: Option<Timestamp>,
    /// How the run id begins.
    pub prefix: Option<String>,
    pub limit: usize,
    /// The `next` of the page before.
    pub cursor: Option<u64>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct RunPage {
    pub runs: Vec<Run>,
    /// Where the next page begins; `None` at the end. A page may be short, or empty, before it.
    pub next: Option<u64>,
}

/// The longest page.
const PAGE_MAX: usize = 1_000;
/// Runs looked at for one page; where hardly one of them fits, the page ends here.
const LOOKED_AT_MAX: usize = 10_000;
/// Runs that share the beginning of an id; ids are random, so a longer beginning finds fewer.
const SAME_PREFIX_MAX: usize = 10_000;

/// How far apart the clocks of coordinators may be.
const CLOCKS_DIFFER: SignedDuration = SignedDuration::from_hours(1);

impl Projections {
    /// The catalogue, with what the next event has to expect.
    pub fn catalog(&self) -> CatalogState {
        read(&self.shared.catalog).clone()
    }

    pub fn runners(&self) -> Arc<BTreeMap<RunnerId, Runner>> {
        read(&self.shared.runners).all()
    }

    /// The last word of a coordinator to each runner; also to some that are forgotten.
    pub fn runner_orders(&self) -> Arc<BTreeMap<RunnerId, Ordered>> {
        read(&self.shared.runners).orders()
    }

    /// What every runner holds.
    pub fn holdings(&self) -> Holdings {
        read(&self.shared.runners).holdings()
    }

    /// The live runs that hooks have to do with: held ones, and the runs of `on_run_start` hooks.
    pub fn hooked_runs(&self) -> Vec<Run> {
        read(&self.shared.runs).hooked().cloned().collect()
    }

    /// Which of the runs that hooks have to do with have changed since the last call.
    pub fn take_hook_news(&self) -> HookNews {
        write(&self.shared.runs).take_hook_news()
    }

    /// Ended runs that owe this, oldest first.
    pub fn owed(&self, debt: Debt, limit: usize) -> Result<Vec<Run>, StoreError> {
        let runs = read(&self.shared.runs);
        let rows = runs.owed.of(debt).iter().take(limit);
        let rows = rows.map(|first| self.shared.store.get::<Run>(&keys::run(*first)));
        rows.filter_map(Result::transpose).collect()
    }

    /// The runs that went on with a session, oldest first.
    pub fn resumptions(&self, session: &SessionId) -> Result<Vec<Run>, StoreError> {
        let _unchanged = read(&self.shared.runs);
        let store = &self.shared.store;
        let mut runs = Vec::new();
        for key in store.keys(&keys::of_session(session)) {
            runs.extend(store.get::<Run>(&keys::run(number(&key?)?))?);
        }
        Ok(runs)
    }

    /// What `pick` takes of the runs that have not ended, oldest first.
    pub fn of_live_runs<T>(&self, mut pick: impl FnMut(&Run) -> Option<T>) -> Vec<T> {
        read(&self.shared.runs)
            .live()
            .values()
            .filter_map(|run| pick(run))
            .collect()
    }

    /// How many runs there are in a status.
    pub fn count(&self, status: RunStatus) -> u64 {
        read(&self.shared.runs).count(status)
    }

    pub fn run(&self, run_id: &RunId) -> Result<Option<Run>, StoreError> {
        let runs = read(&self.shared.runs);
        if let Some(run) = runs.live_run(run_id) {
            return Ok(Some(run.clone()));
        }
        let store = &self.shared.store;
        match runs.eras.find(store, run_id)? {
            Some(first) => store.get(&keys::run(first)),
            None => Ok(None),
        }
    }

    pub fn runs(&self, query: &RunQuery) -> Result<RunPage, StoreError> {
        // Rows and live runs change together under this lock.
        let unchanged = read(&self.shared.runs);
        let mut candidates = self.candidates(&unchanged, query)?.peekable();
        let (limit, mut looked_at) = (query.limit.clamp(1, PAGE_MAX), 0);
        let mut page = RunPage {
            runs: Vec::new(),
            next: None,
        };
        while let Some(first) = candidates.next() {
            let first = first?;
            looked_at += 1;
            let run = self.shared.store.get::<Run>(&keys::run(first))?;
            if run.as_ref().is_some_and(|run| query.is_past(run)) {
                break;
            }
            page.runs.extend(run.filter(|run| query.takes(run)));
            let full = page.runs.len() == limit || looked_at == LOOKED_AT_MAX;
            if full && candidates.peek().is_some() {
                page.next = Some(first);
                break;
            }
            if full {
                break;
            }
        }
        Ok(page)
    }

    /// The first sequences of the runs to look at, newest first.
    fn candidates<'a>(
        &'a self,
        runs: &'a Runs,
        query: &'a RunQuery,
    ) -> Result<Box<dyn Iterator<Item = Result<u64, StoreError>> + 'a>, StoreError> {
        let before = query.cursor.unwrap_or(u64::MAX);
        let store = &self.shared.store;
        if let Some(prefix) = &query.prefix {
            let eras = runs.eras.newest_first();
            let found = eras.flat_map(|era| store.rows::<u64>(&keys::run_id(era, prefix)));
            let found = found.take(SAME_PREFIX_MAX);
            let found: Result<Vec<u64>, _> = found.map(|row| row.map(|(_, n)| n)).collect();
            let mut found = found?;
            found.retain(|first| *first < before);
            found.sort_unstable_by(|a, b| b.cmp(a));
            return Ok(Box::new(found.into_iter().map(Ok)));
        }
        if let Some(status) = query.status.filter(|status| !status.is_final()) {
            let live = runs.live_in(status, before);
            let live = live.filter(|(_, run)| query.takes(run));
            return Ok(Box::new(live.map(|(first, _)| Ok(first))));
        }
        let by_status = query.status.map(keys::ended_in);
        let by_agent = query.agent.as_ref().map(keys::of_agent);
        let index = match (by_status, by_agent) {
            (Some(one), Some(other)) => {
                return Ok(Box::new(in_both(store, one, other, before)));
            }
            (Some(one), None) | (None, Some(one)) => one,
            (None, None) => keys::RUNS.to_vec(),
        };
        let to = keys::numbered(&index, before);
        let found = store.keys_between(index, to).rev();
        Ok(Box::new(found.map(|key| number(&key?))))
    }
}

impl RunQuery {
    /// Whether no run that was requested before this one can be wanted. Runs are in the order of
    /// the log, which is that of their times as far as the coordinators' clocks agree.
    fn is_past(&self, run: &Run) -> bool {
        let age = |since: Timestamp| since.duration_since(run.created_at);
        self.since.is_some_and(|since| age(since) > CLOCKS_DIFFER)
    }

    fn takes(&self, run: &Run) -> bool {
        let agent = self.agent.as_ref();
        let since = self.since.is_none_or(|since| run.created_at >= since);
        since
            && self.status.is_none_or(|status| status == run.state.status)
            && agent.is_none_or(|agent| *agent == run.request.agent)
    }
}
