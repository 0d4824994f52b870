//! How rows are keyed. Numbers are big-endian, so that keys sort like them.

use events::catalog::Kind;
use events::run::RunStatus;
use events::subject::Stream;
use events::{RunId, RunnerId, SessionId};
use schemas::Name;

/// The layout of all rows. Another number in a store means that it is rebuilt.
pub const LAYOUT: u32 = 9;

/// Where the layout's number stands.
pub const LAYOUT_KEY: &[u8] = b"v";

/// How many runs have ended how.
pub const ENDED_COUNTS: &[u8] = b"t/ended";

/// Where the hash chain of the catalogue did not hold.
pub const CHAIN_BREAKS: &[u8] = b"x/chain";
/// The sequence of the first change that only a newer coordinator can read.
pub const NEWER_CHANGE: &[u8] = b"x/newer";

/// Every run's row, oldest first.
pub const RUNS: &[u8] = b"r/";
/// The runs that have not ended.
pub const LIVE_RUNS: &[u8] = b"l/";
/// The ended runs whose `on_run_finish` hook was not requested yet.
pub const OWED_HOOKS: &[u8] = b"o/";
/// The ended runs whose end the session that waits for it was not told yet.
pub const OWED_CALLBACKS: &[u8] = b"b/";
pub const RUNNERS: &[u8] = b"u/";
/// How each script stands on each runner.
pub const HOLDINGS: &[u8] = b"h/";
/// The last word of a coordinator to each runner.
pub const RUNNER_ORDERS: &[u8] = b"w/";

/// The runs that have ended, by the step that ended them.
pub const ENDS: &[u8] = b"x/";
/// What happened, line by line; see `trail`.
pub const LINES: &[u8] = b"q/";

/// The summaries under a run's id.
pub fn summaries_of(run_id: &RunId) -> Vec<u8> {
    format!("z/{run_id}/").into_bytes()
}

/// From the end that a run came to at a sequence of `RUNS` to its summary, in `HISTORY`.
pub fn summary(run_id: &RunId, ended_sequence: u64) -> Vec<u8> {
    numbered(&summaries_of(run_id), ended_sequence)
}

/// The lines that come from one stream.
pub fn lines_of(stream: Stream) -> Vec<u8> {
    [LINES, stream.name().as_bytes(), b"/"].concat()
}

/// The lines that come from one stream and are about a topic, as `kind/name`. No name of ours has a
/// NUL, and those of others lose it.
pub fn lines_about(topic: &str, stream: Stream) -> Vec<u8> {
    let topic = topic.replace('\0', " ");
    format!("p/{topic}\0{}/", stream.name()).into_bytes()
}

/// The topic of such a key.
pub fn topic_of(key: &[u8]) -> Option<String> {
    let rest = key.strip_prefix(b"p/")?;
    let end = rest.iter().position(|byte| *byte == 0)?;
    String::from_utf8(rest[..end].to_vec()).ok()
}

/// All topics that begin like this.
pub fn topics(beginning: &str) -> Vec<u8> {
    format!("p/{beginning}").into_bytes()
}

pub fn cursor(stream: Stream) -> Vec<u8> {
    format!("c/{}", stream.name()).into_bytes()
}

pub fn run(first_sequence: u64) -> Vec<u8> {
    numbered(RUNS, first_sequence)
}

pub fn live_run(first_sequence: u64) -> Vec<u8> {
    numbered(LIVE_RUNS, first_sequence)
}

/// All runs that went on with this session.
pub fn of_session(session: &SessionId) -> Vec<u8> {
    format!("e/{session}/").into_bytes()
}

pub fn session_run(session: &SessionId, first_sequence: u64) -> Vec<u8> {
    numbered(&of_session(session), first_sequence)
}

/// Sequences of `RUNS` in an era, as a power of two: some ten thousand runs, whose ids are a megabyte.
pub const ERA_BITS: u32 = 18;

/// The era in which a run begins.
pub fn era(first_sequence: u64) -> u64 {
    first_sequence >> ERA_BITS
}

/// From a run's id, or its beginning, to its first sequence.
pub fn run_id(era: u64, id: &str) -> Vec<u8> {
    let mut key = numbered(b"i/", era);
    key.extend_from_slice(id.as_bytes());
    key
}

pub fn run_by_id(first_sequence: u64, id: &RunId) -> Vec<u8> {
    run_id(era(first_sequence), id.as_str())
}

/// All runs that ended in this status.
pub fn ended_in(status: RunStatus) -> Vec<u8> {
    format!("s/{status}/").into_bytes()
}

pub fn ended_run(status: RunStatus, first_sequence: u64) -> Vec<u8> {
    numbered(&ended_in(status), first_sequence)
}

/// All runs of an agent.
pub fn of_agent(agent: &Name) -> Vec<u8> {
    format!("a/{agent}/").into_bytes()
}

pub fn agent_run(agent: &Name, first_sequence: u64) -> Vec<u8> {
    numbered(&of_agent(agent), first_sequence)
}

/// All scripts, all agents, and so on.
pub fn entries(kind: Kind) -> Vec<u8> {
    format!("k/{}/", kind_token(kind)).into_bytes()
}

pub fn entry(kind: Kind, name: &Name) -> Vec<u8> {
    [&entries(kind)[..], name.as_str().as_bytes()].concat()
}

/// The last versions of deleted names.
pub fn deleted_entries(kind: Kind) -> Vec<u8> {
    format!("d/{}/", kind_token(kind)).into_bytes()
}

pub fn deleted(kind: Kind, name: &Name) -> Vec<u8> {
    [&deleted_entries(kind)[..], name.as_str().as_bytes()].concat()
}

pub fn runner(id: &RunnerId) -> Vec<u8> {
    [RUNNERS, id.as_str().as_bytes()].concat()
}

pub fn runner_order(id: &RunnerId) -> Vec<u8> {
    [RUNNER_ORDERS, id.as_str().as_bytes()].concat()
}

/// How a script stands on a runner. Neither an id nor a name has a slash.
pub fn holding(id: &RunnerId, script: &Name) -> Vec<u8> {
    format!("h/{id}/{script}").into_bytes()
}

/// The number at the end of a key.
pub fn number_of(key: &[u8]) -> Option<u64> {
    let (_, number) = key.split_last_chunk::<8>()?;
    Some(u64::from_be_bytes(*number))
}

/// The text after a key's prefix.
pub fn text_of<'a>(prefix: &[u8], key: &'a [u8]) -> Option<&'a str> {
    std::str::from_utf8(key.strip_prefix(prefix)?).ok()
}

/// A key for people: the number that it may end with is spelled out.
pub fn shown(key: &[u8]) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match key.split_last_chunk::<8>() {
        Some((prefix, number)) if key.iter().any(|byte| !byte.is_ascii_graphic()) => {
            format!("{}{}", text(prefix), u64::from_be_bytes(*number))
        }
        _ => text(key),
    }
}

/// A key of an index.
pub fn numbered(prefix: &[u8], number: u64) -> Vec<u8> {
    [prefix, &number.to_be_bytes()].concat()
}

fn kind_token(kind: Kind) -> &'static str {
    match kind {
        Kind::Script => "script",
        Kind::Agent => "agent",
        Kind::Capability => "capability",
        Kind::Pin => "pin",
        Kind::Token => "token",
        Kind::Runner => "runner",
    }
}
