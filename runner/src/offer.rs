//! What this runner offers: its own tags, the interpreters it found, and the implicit tags that
//! pin work to a place. Pure.

use crate::config::Settings;
use events::runner::{Registration, Sandbox};
use schemas::{Interpreter, Tag};
use std::collections::BTreeSet;

/// Everything a lane may demand of this runner.
pub fn tags(settings: &Settings, found: impl Iterator<Item = Interpreter>) -> BTreeSet<Tag> {
    let interpreters = found.map(|interpreter| {
        let tag = interpreter.tag().parse();
        tag.expect("an interpreter's name is a tag")
    });
    let implicit = [
        Tag::runner(settings.runner_id.as_str()),
        Tag::host(&settings.hostname),
        Tag::profile(&settings.profile),
        Tag::executor_type(settings.executor_type.as_str()),
        Tag::dir(&settings.project_dir.to_string_lossy()),
    ];
    let own = settings.tags.iter().cloned();
    own.chain(interpreters).chain(implicit).collect()
}

/// The tags of which a lane has to demand one, where this runner is kept for such work. What names
/// the runner itself is meant for no other.
fn one_of(settings: &Settings) -> BTreeSet<Tag> {
    if !settings.require_matching_tags {
        return BTreeSet::new();
    }
    let itself = Tag::runner(settings.runner_id.as_str());
    settings.tags.iter().cloned().chain([itself]).collect()
}

/// What the runner says of itself.
pub fn registration(settings: &Settings, tags: BTreeSet<Tag>, sandbox: Sandbox) -> Registration {
    Registration {
        hostname: settings.hostname.clone(),
        project_dir: settings.project_dir.to_string_lossy().into_owned(),
        executor_profile: settings.profile.clone(),
        executor_type: settings.executor_type,
        tags,
        one_of: one_of(settings),
        max_runs: settings.max_runs,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        sandbox: Some(sandbox),
        agents: Vec::new(),
        agent_faults: Vec::new(),
        over_http: None,
    }
}
