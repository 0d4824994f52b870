//! The rules: what is seen of a running system, and what is said of it. Pure.

use super::{Finding, Severity};
use events::Timestamp;
use events::log::jetstream::{AccountFacts, StreamFacts};
use events::subject::Stream;
use jiff::SignedDuration;

/// Everything that is judged, as it was at one moment.
#[derive(Clone, Debug)]
pub struct System {
    pub broker: Broker,
    /// None where the broker does not answer.
    pub streams: Option<Vec<StreamFacts>>,
    pub account: Option<AccountFacts>,
    /// By followed stream: what is stored and not yet applied.
    pub behind: Vec<(Stream, u64)>,
    /// How often the catalogue's hash chain breaks, and where first.
    pub breaks: (u64, Option<u64>),
    /// The first change that only a newer coordinator can read.
    pub newer: Option<u64>,
    /// How many messages were skipped since the start, and the last of them.
    pub skipped: (u64, Vec<Skipped>),
    /// Runners that neither left nor are heard, with the last that is known of them.
    pub silent: Vec<(String, Timestamp)>,
    /// Lanes that no online runner takes runs from.
    pub unserved: Vec<Unserved>,
    /// Our host's clock, less the broker's.
    pub clock_off: SignedDuration,
}

/// The way to the streams.
#[derive(Clone, Debug)]
pub struct Broker {
    pub connected: bool,
    pub url: String,
    pub version: String,
    /// Our child, with the settings that we give it.
    pub embedded: bool,
    pub cluster: Option<String>,
}

/// A message that cannot be what it claims.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    pub stream: &'static str,
    pub sequence: u64,
    pub subject: String,
    pub reason: String,
}

#[derive(Clone, Debug)]
pub struct Unserved {
    pub lane: String,
    pub tags: String,
    pub agents: usize,
    pub waiting: usize,
}

/// Of 1: new runs are refused.
const FULL: f64 = 0.9;
/// Of 1: time to do something.
const FILLING: f64 = 0.75;
/// More than two answers' ways and what clocks differ by on one network.
const CLOCKS_DIFFER: SignedDuration = SignedDuration::from_secs(5);
/// A rebuild is under way, or our host cannot keep up.
const FAR_BEHIND: u64 = 10_000;
/// Named one by one; there may be thousands.
const NAMED_MAX: usize = 5;

/// Everything that was looked at, the good included, in the order in which one thing rests on another.
pub fn findings(system: &System) -> Vec<Finding> {
    let mut findings = vec![broker(&system.broker)];
    findings.extend(durability(system));
    findings.extend(streams(system));
    findings.push(read_model(system));
    findings.extend(chain(system.breaks));
    findings.extend(newer(system.newer));
    findings.push(skipped(&system.skipped));
    findings.push(clock(system.clock_off));
    findings.extend(runners(&system.silent));
    findings.extend(lanes(&system.unserved));
    findings
}

fn broker(broker: &Broker) -> Finding {
    let Broker { url, version, .. } = broker;
    match broker.connected {
        true => {
            let text = format!("connected to nats-server {version} at {url}");
            Finding::new("broker", Severity::Ok, text)
        }
        false => {
            let text = format!(
                "the broker at {url} is away: nothing can be changed or requested, and what is shown is as it was"
            );
            let attempt = match broker.embedded {
                true => "the coordinator's log; it starts its broker again by itself",
                false => "nats-server -c nats.conf, on the broker's host",
            };
            Finding::new("broker", Severity::Failure, text).attempt(attempt)
        }
    }
}

/// Which of the three promises holds for an acknowledged change.
fn durability(system: &System) -> Option<Finding> {
    let streams = system.streams.as_ref()?;
    let replicas = streams.iter().map(|stream| stream.replicas).min()?;
    let name = "durability";
    Some(match (replicas, system.broker.embedded) {
        (2.., _) => {
            let text = format!(
                "{replicas} copies of everything: an acknowledged change survives the loss of a server"
            );
            Finding::new(name, Severity::Ok, text)
        }
        (_, true) => Finding::new(
            name,
            Severity::Ok,
            "one copy, forced to the disk every second: an acknowledged change survives kill -9; a power cut may take the last second (nats.conf, sync_interval)",
        ),
        (_, false) => {
            let text = "one copy: an acknowledged change survives kill -9 of the broker; what a power cut may take stands in its sync_interval, which cannot be read from here (two minutes unless set; nats.conf has one second)";
            let finding = Finding::new(name, Severity::Note, text);
            match system.broker.cluster {
                Some(_) => finding.attempt("coordinator serve --replicas 3"),
                None => finding,
            }
        }
    })
}

fn streams(system: &System) -> Vec<Finding> {
    let Some(streams) = &system.streams else {
        let text = "the broker does not tell of its streams";
        return vec![
            Finding::new("streams", Severity::Failure, text).attempt("coordinator status"),
        ];
    };
    let mut findings: Vec<Finding> = missing(streams).into_iter().collect();
    findings.extend(streams.iter().filter_map(filling));
    findings.extend(streams.iter().filter_map(kept_by));
    findings.extend(system.account.and_then(account));
    if findings.is_empty() {
        let bytes: u64 = streams.iter().map(|stream| stream.bytes).sum();
        let text = format!(
            "{} streams, {} MiB, with room for more",
            streams.len(),
            bytes >> 20
        );
        findings.push(Finding::new("streams", Severity::Ok, text));
    }
    findings
}

fn missing(streams: &[StreamFacts]) -> Option<Finding> {
    let missing = events::log::jetstream::STREAMS.into_iter();
    let missing: Vec<&str> = missing
        .filter(|name| !streams.iter().any(|stream| stream.name == *name))
        .collect();
    let text = format!(
        "the broker has no {}: they were deleted",
        missing.join(", ")
    );
    let attempt = "start the coordinator again: it makes them; what they held is in a backup only";
    (!missing.is_empty()).then(|| Finding::new("streams", Severity::Failure, text).attempt(attempt))
}

fn filling(stream: &StreamFacts) -> Option<Finding> {
    // Output drops its oldest to stay below its limit.
    if stream.name == Stream::Output.name() {
        return None;
    }
    let fill = stream.fill().filter(|fill| *fill >= FILLING)?;
    let percent = (fill * 100.0) as u64;
    let name = &stream.name;
    let (severity, text) = match fill >= FULL {
        true => (
            Severity::Failure,
            format!("{name} is {percent} % full: new runs are refused, those at work end"),
        ),
        false => (
            Severity::Warning,
            format!("{name} is {percent} % full; at 90 % new runs are refused"),
        ),
    };
    let attempt = "coordinator serve --runs-max-size SIZE, or --runs-kept TIME";
    Some(Finding::new("room", severity, text).attempt(attempt))
}

fn account(account: AccountFacts) -> Option<Finding> {
    let max = account.max_storage_bytes.filter(|max| *max > 0)?;
    let fill = account.storage_bytes as f64 / max as f64;
    let percent = (fill * 100.0) as u64;
    let text =
        format!("our account on the broker is {percent} % full; at 90 % new runs are refused");
    let severity = match fill >= FULL {
        true => Severity::Failure,
        false => Severity::Warning,
    };
    let attempt = "give the account more storage in the broker's configuration, or drop old runs sooner: coordinator serve --runs-kept TIME";
    (fill >= FILLING).then(|| Finding::new("room", severity, text).attempt(attempt))
}

fn kept_by(stream: &StreamFacts) -> Option<Finding> {
    let kept = stream.kept_by.as_ref()?;
    let name = &stream.name;
    if kept.leader.is_none() {
        let text =
            format!("{name} has no leader: most of its servers are away, nothing can be stored");
        let attempt = "start the missing servers of the broker's cluster";
        return Some(Finding::new("cluster", Severity::Failure, text).attempt(attempt));
    }
    let behind = kept.behind.join(", ");
    let text = format!(
        "{name} is not whole on {behind}: it is away or catches up, and one loss less is survived"
    );
    let attempt = "start that server; it catches up by itself";
    (!kept.behind.is_empty())
        .then(|| Finding::new("cluster", Severity::Warning, text).attempt(attempt))
}

fn read_model(system: &System) -> Finding {
    let behind: u64 = system.behind.iter().map(|(_, behind)| behind).sum();
    match behind {
        0 => Finding::new("read model", Severity::Ok, "up to date"),
        few if few < FAR_BEHIND => {
            let text = format!("{few} events behind, as while others write");
            Finding::new("read model", Severity::Ok, text)
        }
        many => {
            let text =
                format!("{many} events behind: it is being rebuilt, or this host cannot keep up");
            Finding::new("read model", Severity::Warning, text).attempt("coordinator status")
        }
    }
}

fn chain((count, first): (u64, Option<u64>)) -> Option<Finding> {
    let text = format!(
        "the hash chain of CATALOG breaks {count} times, first at {}: somebody has written to it past the coordinators, or has changed it",
        first?
    );
    let finding = Finding::new("chain", Severity::Failure, text);
    Some(finding.attempt("coordinator audit verify"))
}

fn newer(sequence: Option<u64>) -> Option<Finding> {
    let text = format!(
        "a newer coordinator has made a change (CATALOG {}) that this one cannot read: what this one shows lacks it, and it refuses to change anything",
        sequence?
    );
    let finding = Finding::new("version", Severity::Failure, text);
    Some(finding.attempt("upgrade this coordinator to the version of the newest one"))
}

fn skipped((count, last): &(u64, Vec<Skipped>)) -> Finding {
    if *count == 0 {
        return Finding::new("log", Severity::Ok, "every message is what it claims");
    }
    let named = last.iter().rev().take(NAMED_MAX).map(|skipped| {
        let Skipped {
            stream,
            sequence,
            subject,
            reason,
        } = skipped;
        format!("{stream} {sequence} ({subject}): {reason}")
    });
    let named = named.collect::<Vec<_>>().join("; ");
    let text = format!(
        "{count} messages were skipped since the coordinator started, because they cannot be what they claim; the last: {named}"
    );
    let attempt = "find out who else writes to the broker, or whether a newer coordinator does; nothing that was skipped is shown or acted on";
    Finding::new("log", Severity::Warning, text).attempt(attempt)
}

fn clock(off: SignedDuration) -> Finding {
    if off.abs() < CLOCKS_DIFFER {
        return Finding::new(
            "clock",
            Severity::Ok,
            "the host's clock agrees with the broker's",
        );
    }
    let way = match off.is_negative() {
        true => "behind",
        false => "ahead of",
    };
    let text = format!(
        "this host's clock is {} s {way} the broker's; what is stored has the broker's time",
        off.abs().as_secs()
    );
    Finding::new("clock", Severity::Warning, text)
        .attempt("timedatectl set-ntp true, on both hosts")
}

fn runners(silent: &[(String, Timestamp)]) -> Option<Finding> {
    let (first, _) = silent.first()?;
    let named = silent.iter().take(NAMED_MAX);
    let named: Vec<String> = named
        .map(|(id, at)| format!("{id} (last known {at:.0})"))
        .collect();
    let more = silent.len().saturating_sub(NAMED_MAX);
    let more = match more {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let text = format!("silent, and never left: {}{more}", named.join(", "));
    let attempt = format!(
        "coordinator runner show {first}; `runner forget {first}` where it is gone for good"
    );
    Some(Finding::new("runners", Severity::Warning, text).attempt(attempt))
}

fn lanes(unserved: &[Unserved]) -> Vec<Finding> {
    let each = unserved.iter().take(NAMED_MAX).map(|lane| {
        let Unserved {
            lane: id,
            tags,
            agents,
            waiting,
        } = lane;
        let severity = match waiting {
            0 => Severity::Note,
            _ => Severity::Warning,
        };
        let text = format!(
            "no runner that is online takes runs of {tags}: {agents} agents belong there, {waiting} runs wait"
        );
        Finding::new("lanes", severity, text).attempt(format!("coordinator lane show {id}"))
    });
    each.collect()
}
