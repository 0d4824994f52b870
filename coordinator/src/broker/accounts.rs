//! What stands in `accounts.conf`: the two accounts, what each lets the other reach, and what
//! each user may do. Pure text from a list of users.
//!
//! Streams and coordinators live in APP, runners in RUN. Within one account permissions do not
//! protect the log: a client allowed a single subject can make the server write to another one
//! by naming it as the reply of a request. Across accounts only what is exported exists.
//!
//! The subjects here are those of `events::subject` as patterns, because the server's
//! configuration needs them before anything can connect.

use std::fmt::Write;

use super::credentials::UserKey;

/// Subjects of APP that a runner may send to and that give one answer.
const APP_SERVICES: &[&str] = &["run.*.*.*", "output.*.*.*", "runner.*", "presence.*", ACKS];

/// A delivery is settled by whoever holds it, which only the delivery's own numbers say.
const ACKS: &str = "$JS.ACK.RUNS.>";
/// What a coordinator has last said to a runner, and the copy of it.
const ORDERS: &str = "$JS.API.DIRECT.GET.RUNNERS.runner.*.coordinator";
const LIVE_ORDERS: &str = "live.runner.>";

/// How far `LANES` goes, under a name of its own in RUN: under its real name the server answers
/// twice there, once for the account that has no JetStream, and sometimes that answer is first.
const LANES_INFO: (&str, &str) = ("$JS.API.STREAM.INFO.LANES", "lanes.info");

/// Subjects of APP that give many answers, or answer late: within two minutes, after which the
/// server forgets where an answer goes and a delivery would be lost. Pulls last a minute.
///
/// A stream's own subject takes its question in the payload, where no permission sees it. Lanes
/// are read in pages that way, so any runner may read any lane's list; `RUNS`, with parameters
/// and results, is only read by subject.
const APP_STREAMING_SERVICES: &[&str] = &[
    "$JS.API.CONSUMER.MSG.NEXT.RUNS.*",
    "$JS.API.DIRECT.GET.LANES",
    "$JS.API.DIRECT.GET.LANES.>",
    "$JS.API.DIRECT.GET.RUNS.>",
    ORDERS,
    "$JS.API.DIRECT.GET.OBJ_BUNDLES",
    "$JS.API.DIRECT.GET.OBJ_BUNDLES.>",
];

/// What runners may hear: republished copies of stored events, and which queue a cluster has moved.
const APP_STREAMS: &[&str] = &[
    "live.lane.>",
    "live.run.>",
    LIVE_ORDERS,
    "$JS.EVENT.ADVISORY.CONSUMER.LEADER_ELECTED.RUNS.*",
];

/// What coordinators may ask runners.
const RUN_SERVICES: &[&str] = &["control.*", "ask.*"];

/// Where a runner may answer: to another runner's inbox, and to what the server makes of a
/// coordinator's. Both end in random text that only who asked knows.
///
/// Never `allow_responses` instead: it lets a client send to whatever reply a message named,
/// past every denial. A runner that asks itself with the reply `run.<lane>.<id>.coordinator`
/// then speaks as the coordinator; tried, and it landed in the stream.
const ANSWERS: &[&str] = &["_INBOX.>", "_R_.>"];

/// One runner's key and what it may do.
#[derive(Debug, Clone)]
pub struct RunnerUser {
    pub key: UserKey,
    pub permissions: Permissions,
}

impl RunnerUser {
    /// A runner with a key of its own.
    #[must_use]
    pub fn of(id: &str, key: UserKey) -> Self {
        let permissions = Permissions::of_runner(id);
        Self { key, permissions }
    }
}

/// Subject patterns; whatever is not allowed is denied, and a denial wins.
#[derive(Debug, Clone)]
pub struct Permissions {
    pub publish: Vec<String>,
    pub publish_denied: Vec<String>,
    pub subscribe: Vec<String>,
}

impl Permissions {
    /// What the runner of this id needs, which is one word of a subject: its own words, its own
    /// inbox, what is said to it. Which lanes are its own is not told here: it says itself what it
    /// offers, and lanes come and go.
    #[must_use]
    pub fn of_runner(id: &str) -> Self {
        let own = [
            format!("run.*.*.{id}"),
            format!("output.*.*.{id}"),
            format!("runner.{id}"),
            format!("presence.{id}"),
        ];
        let orders = format!("$JS.API.DIRECT.GET.RUNNERS.runner.{id}.coordinator");
        let shared = APP_STREAMING_SERVICES.iter().filter(|s| **s != ORDERS);
        let shared = shared.chain(&[ACKS, LANES_INFO.1, "ask.*"]).chain(ANSWERS);
        let heard = APP_STREAMS.iter().filter(|s| **s != LIVE_ORDERS);
        let said = [
            format!("live.runner.{id}"),
            format!("control.{id}"),
            format!("ask.{id}"),
            format!("_INBOX.{id}.>"),
        ];
        Self {
            publish: own
                .into_iter()
                .chain([orders])
                .chain(shared.map(ToString::to_string))
                .collect(),
            publish_denied: denied(),
            subscribe: heard.map(ToString::to_string).chain(said).collect(),
        }
    }

    /// What any runner needs, for a key that all runners share.
    ///
    /// Requests, and events in the coordinator's name, stay the coordinator's.
    #[must_use]
    pub fn of_any_runner() -> Self {
        let own = [LANES_INFO.1, "ask.*"];
        let publish = [APP_SERVICES, APP_STREAMING_SERVICES, &own, ANSWERS].concat();
        let subscribe = [APP_STREAMS, RUN_SERVICES, &["_INBOX.>"]].concat();
        Self {
            publish: owned(&publish),
            publish_denied: denied(),
            subscribe: owned(&subscribe),
        }
    }
}

/// The whole of `accounts.conf`.
#[must_use]
pub fn render(app: &UserKey, runners: &[RunnerUser]) -> String {
    let mut text = String::from("accounts {\n");
    render_app(&mut text, app);
    render_run(&mut text, runners);
    text.push_str("}\n");
    text
}

fn render_app(text: &mut String, key: &UserKey) {
    text.push_str("  APP {\n    jetstream: enabled\n    users: [\n");
    line(text, 6, &format!("{{ nkey: {key} }}"));
    text.push_str("    ]\n    exports: [\n");
    for subject in APP_SERVICES.iter().chain([&LANES_INFO.0]) {
        line(
            text,
            6,
            &format!(r#"{{ service: "{subject}", accounts: [RUN] }}"#),
        );
    }
    for subject in APP_STREAMING_SERVICES {
        let entry = format!(r#"{{ service: "{subject}", response: stream, accounts: [RUN] }}"#);
        line(text, 6, &entry);
    }
    for subject in APP_STREAMS {
        line(
            text,
            6,
            &format!(r#"{{ stream: "{subject}", accounts: [RUN] }}"#),
        );
    }
    text.push_str("    ]\n    imports: [\n");
    render_imports(text, "service", "RUN", RUN_SERVICES);
    text.push_str("    ]\n  }\n");
}

fn render_run(text: &mut String, runners: &[RunnerUser]) {
    text.push_str("  RUN {\n    users: [\n");
    for runner in runners {
        render_runner(text, runner);
    }
    text.push_str("    ]\n    exports: [\n");
    for subject in RUN_SERVICES {
        line(
            text,
            6,
            &format!(r#"{{ service: "{subject}", accounts: [APP] }}"#),
        );
    }
    text.push_str("    ]\n    imports: [\n");
    render_imports(text, "service", "APP", APP_SERVICES);
    let (subject, local) = LANES_INFO;
    let info = format!(r#"{{ service: {{ account: APP, subject: "{subject}" }}, to: "{local}" }}"#);
    line(text, 6, &info);
    render_imports(text, "service", "APP", APP_STREAMING_SERVICES);
    render_imports(text, "stream", "APP", APP_STREAMS);
    text.push_str("    ]\n  }\n");
}

fn render_runner(text: &mut String, RunnerUser { key, permissions }: &RunnerUser) {
    line(text, 6, "{");
    line(text, 8, &format!("nkey: {key}"));
    line(text, 8, "permissions: {");
    line(text, 10, "publish: {");
    render_list(text, "allow", &permissions.publish);
    render_list(text, "deny", &permissions.publish_denied);
    line(text, 10, "}");
    line(text, 10, "subscribe: {");
    render_list(text, "allow", &permissions.subscribe);
    line(text, 10, "}");
    line(text, 8, "}");
    line(text, 6, "}");
}

fn render_list(text: &mut String, name: &str, subjects: &[String]) {
    line(text, 12, &format!("{name}: ["));
    for subject in subjects {
        line(text, 14, &format!(r#""{subject}""#));
    }
    line(text, 12, "]");
}

fn render_imports(text: &mut String, kind: &str, from: &str, subjects: &[&str]) {
    for subject in subjects {
        let entry = format!(r#"{{ {kind}: {{ account: {from}, subject: "{subject}" }} }}"#);
        line(text, 6, &entry);
    }
}

fn line(text: &mut String, indent: usize, content: &str) {
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{:indent$}{content}", "");
}

/// Requests, and events in the coordinator's name, also where a runner is called like one.
fn denied() -> Vec<String> {
    owned(&["run.*.*.requested", "run.*.*.coordinator"])
}

fn owned(subjects: &[&str]) -> Vec<String> {
    subjects.iter().map(ToString::to_string).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Operators copy the form at the end of `nats.conf`; it is what we write ourselves.
    #[test]
    fn nats_conf_shows_these_very_accounts() {
        let app = UserKey::placeholder("<public key of the coordinator>");
        let runner = RunnerUser {
            key: UserKey::placeholder("<public key of the runners>"),
            permissions: Permissions::of_any_runner(),
        };
        let form: String = render(&app, &[runner])
            .lines()
            .map(|line| format!("# {line}\n"))
            .collect();
        let shown = include_str!("../../../nats.conf");
        assert!(shown.ends_with(&form), "nats.conf should end with:\n{form}");
    }

    #[test]
    fn a_runners_own_user_touches_no_other_runners_subjects() {
        let Permissions {
            publish, subscribe, ..
        } = Permissions::of_runner("web-1");
        for shared in [
            "run.*.*.*",
            "output.*.*.*",
            "runner.*",
            "presence.*",
            ORDERS,
        ] {
            assert!(!publish.iter().any(|subject| subject == shared), "{shared}");
        }
        for shared in ["_INBOX.>", "ask.*", "control.*", LIVE_ORDERS] {
            assert!(
                !subscribe.iter().any(|subject| subject == shared),
                "{shared}"
            );
        }
        assert!(publish.contains(&"run.*.*.web-1".to_owned()));
        assert!(subscribe.contains(&"_INBOX.web-1.>".to_owned()));
    }

    #[test]
    fn every_runner_has_its_own_entry() {
        let runner = |key: &str, subject: &str| RunnerUser {
            key: UserKey::placeholder(key),
            permissions: Permissions {
                publish: vec![subject.to_owned()],
                publish_denied: vec![],
                subscribe: vec![],
            },
        };
        let users = [runner("UA", "runner.a"), runner("UB", "runner.b")];
        let text = render(&UserKey::placeholder("UC"), &users);
        let a = text.find("nkey: UA").unwrap();
        let b = text.find("nkey: UB").unwrap();
        assert!(
            text[a..b].contains("runner.a") && !text[a..b].contains("runner.b"),
            "{text}"
        );
        assert!(text[b..].contains("\"runner.b\""), "{text}");
    }
}
