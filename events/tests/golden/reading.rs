//! How messages are read that are not what this version writes: by an older or newer program, or
//! by nobody who knows us.

use super::{golden, stored};
use events::Envelope;
use events::catalog::CatalogEvent;
use events::distribution::LaneEvent;
use events::envelope::Unreadable;
use events::output::OutputBatch;
use events::question::{Answer, Question};
use events::run::RunStep;
use events::runner::{Presence, RunnerEvent};
use rstest::rstest;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

fn run_step(value: &Value) -> Result<Envelope<RunStep>, Unreadable> {
    Envelope::from_bytes(value.to_string().as_bytes())
}

/// Who sees `Err` counts the message and goes on.
#[rstest]
#[case::catalog("catalog/script_deleted.json", "/event", fails::<Envelope<CatalogEvent>>)]
#[case::lanes("lanes/sync.json", "/event", fails::<Envelope<LaneEvent>>)]
#[case::runs("runs/claimed.json", "/event/step", fails::<Envelope<RunStep>>)]
#[case::output("output/text.json", "/event/chunks/0", fails::<Envelope<OutputBatch>>)]
#[case::runners("runners/left.json", "/event", fails::<Envelope<RunnerEvent>>)]
#[case::questions("ask/holds_run.json", "", fails::<Question>)]
#[case::answers("ask_reply/yes.json", "", fails::<Answer>)]
fn an_unknown_type_is_an_error(
    #[case] file: &str,
    #[case] place: &str,
    #[case] fails: fn(&Value) -> bool,
) {
    let mut value = stored(file);
    assert!(!fails(&value));
    value.pointer_mut(place).unwrap()["type"] = json!("evaporated");
    assert!(fails(&value), "{value}");
}

fn fails<T: DeserializeOwned>(value: &Value) -> bool {
    serde_json::from_str::<T>(&value.to_string()).is_err()
}

/// A newer program may say more than we know; what we know of it stays true. So a field that
/// readers must not overlook needs a new type of event.
#[rstest]
#[case::envelope("")]
#[case::actor("/actor")]
#[case::event("/event")]
#[case::state("/event/state")]
#[case::step("/event/step")]
#[case::outcome("/event/step/outcome")]
fn an_unknown_field_is_passed_over(#[case] place: &str) {
    let known = stored("runs/completed.json");
    let mut newer = known.clone();
    newer.pointer_mut(place).unwrap()["mood"] = json!({ "type": "good" });
    assert_eq!(run_step(&newer).unwrap(), run_step(&known).unwrap());
}

#[rstest]
#[case::of_a_step_without_fields("runs/stop_requested.json", "/event/step")]
#[case::of_a_request("runs/requested.json", "/event/step/demands")]
fn so_is_one_elsewhere(#[case] file: &str, #[case] place: &str) {
    let known = stored(file);
    let mut newer = known.clone();
    newer.pointer_mut(place).unwrap()["mood"] = json!("good");
    assert_eq!(run_step(&newer).unwrap(), run_step(&known).unwrap());
}

/// Hooks are the exception: in a document people write, a mistyped field of a hook is refused, and
/// an event carries the same type. So a new field of a hook needs a new type of event, too.
#[test]
fn an_unknown_field_of_a_hook_is_an_error() {
    let mut newer = stored("catalog/agent_changed.json");
    assert!(!fails::<Envelope<CatalogEvent>>(&newer));
    newer["event"]["document"]["hooks"]["on_run_start"]["mood"] = json!("good");
    assert!(fails::<Envelope<CatalogEvent>>(&newer));
}

/// Whatever is written without being asked for may be absent, and nothing else.
#[rstest]
#[case("", &["id", "at", "actor", "event"], &[])]
#[case("/actor", &["name", "via"], &[])]
#[case("/event", &["state", "step"], &[])]
#[case("/event/state", &["status", "attempt", "started"], &["runner_id", "reason"])]
#[case("/event/step", &["type", "reason", "error"], &["outcome"])]
#[case("/event/step/outcome", &["exit_code", "result_data", "duration_ms"], &[])]
fn a_missing_field_is_an_error_unless_it_is_optional(
    #[case] place: &str,
    #[case] needed: &[&str],
    #[case] optional: &[&str],
) {
    let whole = stored("runs/failed.json");
    let fields = whole.pointer(place).unwrap().as_object().unwrap();
    let listed = needed.iter().chain(optional).copied();
    assert!(
        fields
            .keys()
            .all(|field| listed.clone().any(|name| name == field)),
        "{fields:?}"
    );
    for field in listed {
        let mut value = whole.clone();
        let object = value.pointer_mut(place).unwrap().as_object_mut().unwrap();
        object.remove(field).unwrap();
        assert_eq!(
            run_step(&value).is_ok(),
            optional.contains(&field),
            "{field}"
        );
    }
}

/// What runners said of themselves before they had agents of their own.
#[test]
fn a_registration_without_agents_is_one() {
    let mut older = stored("runners/registered.json");
    let event = older["event"].as_object_mut().unwrap();
    event.remove("agents").unwrap();
    event.remove("agent_faults").unwrap();
    assert!(!fails::<Envelope<RunnerEvent>>(&older));
}

/// What stands in the middle of a name or a number is checked when it is read, too.
#[rstest]
#[case::run_id("/event/step/run_id", json!("run_1"))]
#[case::name("/event/step/agent", json!("../notifier"))]
#[case::path("/event/step/program/file", json!("../send-notification.py"))]
#[case::digest("/event/step/digest", json!("sha256:12"))]
#[case::attempt("/event/state/attempt", json!(-1))]
#[case::status("/event/state/status", json!("asleep"))]
#[case::id("/id", json!("first"))]
#[case::time("/at", json!("yesterday"))]
#[case::door("/actor/via", json!("window"))]
fn a_value_that_cannot_be_is_an_error(#[case] place: &str, #[case] wrong: Value) {
    let mut value = stored("runs/requested.json");
    *value.pointer_mut(place).unwrap() = wrong;
    assert!(run_step(&value).is_err(), "{value}");
}

/// As runners said it before scripts had a sandbox.
#[test]
fn a_registration_without_a_sandbox_is_read() {
    let mut older = stored("runners/registered.json");
    older["event"].as_object_mut().unwrap().remove("sandbox");
    let read: Envelope<RunnerEvent> = serde_json::from_value(older).unwrap();
    let RunnerEvent::Registered(registration) = read.event else {
        panic!("{:?}", read.event);
    };
    assert_eq!(registration.sandbox, None);
}

#[test]
fn garbage_is_an_error() {
    for bytes in [
        b"".as_slice(),
        b"null",
        b"{}",
        b"[]",
        b"\"\"",
        b"\xff\xfe",
        b"{{",
        b"0",
    ] {
        assert!(Envelope::<RunStep>::from_bytes(bytes).is_err(), "{bytes:?}");
        assert!(
            serde_json::from_slice::<Presence>(bytes).is_err(),
            "{bytes:?}"
        );
        assert!(
            serde_json::from_slice::<Question>(bytes).is_err(),
            "{bytes:?}"
        );
        assert!(
            serde_json::from_slice::<Answer>(bytes).is_err(),
            "{bytes:?}"
        );
    }
}

#[test]
fn a_message_cut_anywhere_or_followed_by_more_is_an_error() {
    let whole = std::fs::read(golden().join("runs/completed.json")).unwrap();
    let whole = whole.trim_ascii_end();
    assert!(Envelope::<RunStep>::from_bytes(whole).is_ok());
    for end in 0..whole.len() {
        assert!(
            Envelope::<RunStep>::from_bytes(&whole[..end]).is_err(),
            "cut at {end}"
        );
    }
    assert!(Envelope::<RunStep>::from_bytes(&[whole, b"{}"].concat()).is_err());
}

/// Every word that stands for itself in an event.
#[rstest]
#[case::via(words::<events::Via>, "http cli dashboard mcp runner hook policy")]
#[case::status(words::<events::run::RunStatus>, "pending claimed running stopping completed failed stopped")]
#[case::reason(
    words::<events::run::FailureReason>,
    "exit_code timeout lost no_match blocked rejected output_invalid"
)]
#[case::hook_point(words::<events::run::HookPoint>, "on_run_start on_run_finish")]
#[case::mode(words::<events::run::ExecutionMode>, "sync async_poll async_callback")]
#[case::stream(words::<events::output::OutputStream>, "stdout stderr")]
fn words_are_read_and_written_alike(#[case] again: fn(&str) -> String, #[case] words: &str) {
    assert_eq!(again(words), words);
}

fn words<T: DeserializeOwned + serde::Serialize>(words: &str) -> String {
    let again = words.split(' ').map(|word| {
        let value: T = serde_json::from_value(json!(word)).unwrap();
        serde_json::to_value(value)
            .unwrap()
            .as_str()
            .unwrap()
            .to_owned()
    });
    again.collect::<Vec<_>>().join(" ")
}

/// The parser goes 128 deep and an envelope takes the first levels of that. Whoever lets a value in
/// has to stay below, or it can be stored and never be read.
#[rstest]
#[case::result("runs/completed.json", "/event/step/outcome/result_data", 123)]
#[case::parameter("runs/requested.json", "/event/step/parameters/message", 123)]
fn a_value_is_readable_to_this_depth(
    #[case] file: &str,
    #[case] place: &str,
    #[case] deepest: usize,
) {
    for (depth, readable) in [(deepest, true), (deepest + 1, false)] {
        let mut value = stored(file);
        let nested = (0..depth).fold(json!(1), |inner, _| json!([inner]));
        *value.pointer_mut(place).unwrap() = nested;
        assert_eq!(run_step(&value).is_ok(), readable, "{depth}");
    }
}
