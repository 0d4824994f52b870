//! Registering, being known, giving signs of life, and leaving.

use super::super::{App, AppError};
use super::{Application, OverHttpRejection};
use crate::domain::Rejection;
use crate::projections::Runner;
use events::log::{Append, Expect};
use events::runner::{Presence, RunnerEvent, RunnerOrder};
use events::subject::{self, Stream};
use events::{Actor, Envelope, EventId, RunnerId, Timestamp};
use schemas::Name;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Signs of life per silence that others are told of: some may be lost.
const SIGNS: u32 = 5;
/// As runners do that reach the broker.
const REGISTER_AGAIN: Duration = Duration::from_secs(24 * 60 * 60);
/// How long a registration is waited with until its agents can be run.
const ANNOUNCED_WITHIN: Duration = Duration::from_secs(2);

/// Who sends a request in a runner's name.
#[derive(Clone, Debug)]
pub struct Visitor {
    pub actor: Actor,
    pub shows: Shows,
}

/// What it shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shows {
    /// It may speak for any runner.
    Admin,
    Token(Name),
    /// The proof of a runner that reaches the broker itself.
    Key,
}

/// What is known of a runner.
pub(super) enum Known {
    Registered(Box<Runner>),
    /// Somebody wants to be rid of it.
    Deregistered,
}

impl App {
    /// Registers a runner, or the same one again after it was started again.
    ///
    /// # Errors
    /// When another of its identity polls at this moment, its agents' names belong to others, or its
    /// token has let in another runner.
    pub async fn register_over_http(
        &self,
        visitor: &Visitor,
        application: Application,
    ) -> Result<RunnerId, AppError> {
        let id = application.identity();
        self.may_register(visitor, &id)?;
        let clashes = self.agent_clashes(&id, application.agents.iter().map(|agent| &agent.name));
        if !clashes.is_empty() {
            let clashes = clashes.into_iter().map(|(name, why)| (name.clone(), why));
            let clashes: BTreeMap<_, _> = clashes.collect();
            return Err(refused(OverHttpRejection::AgentNames { clashes }));
        }
        let known = self.projections().runners();
        if let Some(there) = known.get(&id).filter(|runner| runner.left_at.is_none()) {
            speaks_for(visitor, &id, there)?;
        }
        if self.0.desk.is_waiting(&id) {
            return Err(refused(OverHttpRejection::Duplicate { runner_id: id }));
        }
        let names: Vec<Name> = application.agents.iter().map(|a| a.name.clone()).collect();
        let token = visitor.actor.name.clone();
        let registration = application.registration(token, self.silence_over_http());
        // What its disk holds now nobody knows: it is told of all scripts again.
        let left = self.projections().holdings().of(&id);
        self.say(&id, RunnerEvent::Registered(registration)).await?;
        self.say(&id, super::scripts::nothing_certain(&left))
            .await?;
        self.speak(&id).await;
        self.announced(&names).await;
        Ok(id)
    }

    /// Takes a request for a sign of life.
    ///
    /// # Errors
    /// When the runner is not known, or registered with another token.
    pub async fn heard_over_http(&self, visitor: &Visitor, id: &RunnerId) -> Result<(), AppError> {
        match self.known_over_http(visitor, id)? {
            Known::Registered(_) => {
                self.speak(id).await;
                Ok(())
            }
            Known::Deregistered => Err(not_registered(id)),
        }
    }

    /// The runner says itself that it leaves.
    pub async fn leave_over_http(&self, visitor: &Visitor, id: &RunnerId) -> Result<(), AppError> {
        match self.known_over_http(visitor, id)? {
            Known::Registered(_) => self.say(id, RunnerEvent::Left).await,
            Known::Deregistered => Err(not_registered(id)),
        }
    }

    /// Whether coordinators serve this runner.
    pub fn is_over_http(&self, id: &RunnerId) -> bool {
        id.is_over_http() && self.projections().runners().contains_key(id)
    }

    pub(super) fn known_over_http(
        &self,
        visitor: &Visitor,
        id: &RunnerId,
    ) -> Result<Known, AppError> {
        let known = self.projections().runners();
        let there = known.get(id).filter(|runner| runner.left_at.is_none());
        if let Some(runner) = there.filter(|runner| runner.registration.over_http.is_some()) {
            speaks_for(visitor, id, runner)?;
            return Ok(Known::Registered(Box::new(runner.clone())));
        }
        let orders = self.projections().runner_orders();
        match orders.get(id).map(|ordered| &ordered.order) {
            Some(RunnerOrder::Forgotten) if !known.contains_key(id) => Ok(Known::Deregistered),
            _ => Err(not_registered(id)),
        }
    }

    /// Tells all coordinators that the runner lives, unless that was told a moment ago.
    pub(super) async fn speak(&self, id: &RunnerId) {
        let silence = self.silence_over_http();
        let every = self.cadence().heartbeat().min(silence / SIGNS);
        let now = Instant::now();
        {
            let mut memory = self.0.over_http.lock();
            let before = memory.spoken.get(id);
            if before.is_some_and(|at| now.duration_since(*at) < every) {
                return;
            }
            memory.spoken.insert(id.clone(), now);
        }
        self.speak_now(id).await;
    }

    /// The same, also right after: it holds other runs now.
    pub(super) async fn speak_now(&self, id: &RunnerId) {
        let runs = self.projections().held_by(id);
        let silence = self.silence_over_http().as_secs();
        let presence = Presence {
            runner_id: id.clone(),
            at: Timestamp::now(),
            runs: runs.into_iter().map(|run| run.request.run_id).collect(),
            max_runs: self.registered(id).map_or(0, |r| r.registration.max_runs),
            draining: self.is_drained(id),
            silence_seconds: Some(u32::try_from(silence).unwrap_or(u32::MAX)),
        };
        self.0.broker.wire.announce(&presence).await;
    }

    /// Registers again what is about to be old, so that retention never drops a runner that lives.
    pub(super) async fn stay_known(&self, id: &RunnerId, runner: &Runner) -> Result<(), AppError> {
        let age = self.now().duration_since(runner.registered_at);
        match Duration::try_from(age).is_ok_and(|age| age > REGISTER_AGAIN) {
            true => {
                let again = RunnerEvent::Registered(runner.registration.clone());
                self.say(id, again).await
            }
            false => Ok(()),
        }
    }

    pub(super) fn registered(&self, id: &RunnerId) -> Option<Runner> {
        self.projections().runners().get(id).cloned()
    }

    pub(super) fn is_drained(&self, id: &RunnerId) -> bool {
        let orders = self.projections().runner_orders();
        orders
            .get(id)
            .is_some_and(|ordered| ordered.order.is_drained())
    }

    /// Without a request for so long such a runner counts as gone.
    pub(crate) fn silence_over_http(&self) -> Duration {
        self.0.defaults.http_silence.unwrap_or(super::SILENCE)
    }

    /// Stores what a runner would say of itself, and waits until our own view has it.
    pub(super) async fn say(&self, id: &RunnerId, event: RunnerEvent) -> Result<(), AppError> {
        let envelope = Envelope {
            id: EventId::fresh(),
            at: self.now(),
            actor: Actor::runner(id),
            previous: None,
            event,
        };
        let append = Append {
            stream: Stream::Runners,
            subject: subject::runner(id),
            id: envelope.id,
            payload: envelope.to_bytes(),
            expect: Expect::Nothing,
        };
        let appended = self.0.broker.log.append(append).await?;
        self.visible(Stream::Runners, appended.sequence).await
    }

    /// Whether a runner over HTTP registered with this token: it is good for as long as that is known.
    pub fn is_token_over_http(&self, token: &Name) -> bool {
        let known = self.projections().runners();
        known.values().any(|runner| registered_with(runner, token))
    }

    /// A token lets in one runner: with a key of its own, or over HTTP.
    fn may_register(&self, visitor: &Visitor, id: &RunnerId) -> Result<(), AppError> {
        let token = match &visitor.shows {
            Shows::Admin => return Ok(()),
            Shows::Key => return Err(refused(OverHttpRejection::HasKey)),
            Shows::Token(token) => token,
        };
        let known = self.projections().runners();
        let mut others = known.iter().filter(|(other, _)| *other != id);
        let other = others.find(|(_, runner)| registered_with(runner, token));
        let other = other.map(|(other, _)| events::member::catalog_name(other));
        let issued = self.tokens().remove(token);
        let used = issued.as_ref().and_then(|issued| issued.used.clone());
        let token = token.clone();
        if let Some(runner) = used.map(|used| used.runner).or(other) {
            return Err(Rejection::TokenUsed { token, runner }.into());
        }
        let its = known
            .get(id)
            .is_some_and(|runner| registered_with(runner, &token));
        match issued.is_some_and(|issued| issued.is_expired(self.now())) && !its {
            true => Err(Rejection::TokenExpired { token }.into()),
            false => Ok(()),
        }
    }

    /// Waits until the agents that a registration brings can be run; no promise.
    async fn announced(&self, names: &[Name]) {
        let mut catalog = self.projections().watch(Stream::Catalog);
        let there = async {
            loop {
                let agents = self.projections().catalog().catalog;
                if names.iter().all(|name| agents.agents.contains_key(name)) {
                    return;
                }
                // The projections live as long as we do.
                let _ = catalog.changed().await;
            }
        };
        let _ = tokio::time::timeout(ANNOUNCED_WITHIN, there).await;
    }
}

fn registered_with(runner: &Runner, token: &Name) -> bool {
    let http = runner.registration.over_http.as_ref();
    http.is_some_and(|http| http.token == token.as_str())
}

fn speaks_for(visitor: &Visitor, id: &RunnerId, runner: &Runner) -> Result<(), AppError> {
    let its = runner
        .registration
        .over_http
        .as_ref()
        .map(|http| &http.token);
    match &visitor.shows {
        Shows::Admin => Ok(()),
        Shows::Key => Err(refused(OverHttpRejection::HasKey)),
        Shows::Token(token) if its.is_some_and(|its| its == token.as_str()) => Ok(()),
        Shows::Token(_) => {
            let runner_id = id.clone();
            Err(refused(OverHttpRejection::OtherToken { runner_id }))
        }
    }
}

fn not_registered(id: &RunnerId) -> AppError {
    let runner_id = id.clone();
    refused(OverHttpRejection::NotRegistered { runner_id })
}

pub(super) fn refused(why: OverHttpRejection) -> AppError {
    Rejection::from(why).into()
}
