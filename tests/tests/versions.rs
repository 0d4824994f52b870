//! Every change makes a version that stays: listed with who made it and through what, shown,
//! compared, and made current again by one event that runners follow.

use reqwest::Method;
use serde_json::{Value, json};
use tests::coordinator::Coordinator;
use tests::eventually::eventually;
use tests::nats::Nats;
use tests::runner::Settings;

async fn done(coordinator: &Coordinator, method: Method, path: &str, body: Value) -> Value {
    let answer = coordinator.send(method, path, Some(body)).await;
    assert!(answer.status.is_success(), "{path}: {answer:?}");
    answer.body
}

async fn content(coordinator: &Coordinator, content: &str) -> Value {
    let body = json!({"script_content": content});
    done(coordinator, Method::PATCH, "/scripts/s", body).await
}

async fn lines(coordinator: &Coordinator, path: &str) -> Vec<Value> {
    let answer = coordinator.get(path).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.body["versions"].as_array().unwrap().clone()
}

async fn rollback(coordinator: &Coordinator, path: &str, to: u32) -> Value {
    let path = format!("{path}/rollback");
    done(coordinator, Method::POST, &path, json!({"to": to})).await
}

/// What the command line said, and whether it was content.
fn cli(coordinator: &Coordinator, arguments: &[&str]) -> (i32, String, String) {
    let output = coordinator.cli(arguments);
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let code = output.status.code().unwrap();
    (code, text(output.stdout), text(output.stderr))
}

fn numbers(lines: &[Value]) -> Vec<u64> {
    lines
        .iter()
        .map(|line| line["version"].as_u64().unwrap())
        .collect()
}

#[tokio::test]
async fn a_history_tells_a_whole_life() {
    let coordinator = Coordinator::start().await;
    coordinator.bash("s", "echo 1\n").await;
    let second = json!({"script_content": "echo 2\n", "description": "Says two"});
    done(&coordinator, Method::PATCH, "/scripts/s", second).await;
    content(&coordinator, "echo 3\n").await;
    let back = cli(&coordinator, &["script", "rollback", "s", "--to", "1"]);
    assert_eq!(back.1, "script/s is now v4, as v1 was\n", "{back:?}");
    let again = rollback(&coordinator, "/scripts/s", 1).await;
    assert_eq!(
        (&again["version"], &again["changed"]),
        (&json!(4), &json!(false))
    );
    for path in ["/agents/s", "/scripts/s"] {
        let gone = coordinator.send(Method::DELETE, path, None).await;
        assert_eq!(gone.status, 204, "{gone:?}");
    }

    let told = lines(&coordinator, "/scripts/s/versions").await;
    assert_eq!(numbers(&told), [4, 3, 2, 1]);
    let deletion = &told[0]["deleted"];
    let by_http = json!({"name": "admin", "via": "http"});
    assert_eq!(deletion["actor"], by_http);
    assert!(deletion["at"].as_str() > told[0]["at"].as_str());
    assert_eq!(told[0]["current"], false);
    assert_eq!(
        (&told[0]["rollback_of"], &told[0]["actor"]["via"]),
        (&json!(1), &json!("cli"))
    );
    assert_eq!(told[0]["digest"], told[3]["digest"]);
    assert_eq!(told[0]["changes"], json!(["description", "s.sh"]));
    assert_eq!(told[1]["changes"], json!(["s.sh"]));
    assert_eq!(told[2]["changes"], json!(["description", "s.sh"]));
    assert_eq!(
        (&told[3]["change"], &told[3]["changes"]),
        (&json!("created"), &json!([]))
    );

    let refused = coordinator.post("/scripts/s/rollback", json!({"to": 2}));
    assert_eq!(refused.await.refusal(), (409, "script_deleted"));
    let (code, _, said) = cli(&coordinator, &["script", "rollback", "s", "--to", "2"]);
    assert_eq!(code, 1);
    assert!(
        said.contains("coordinator script rollback s --to 2 --recreate"),
        "{said}"
    );
    let (code, said, _) = cli(
        &coordinator,
        &["script", "show", "s", "--version", "2", "--content"],
    );
    assert_eq!((code, said.as_str()), (0, "echo 2\n"));
    let back = ["script", "rollback", "s", "--to", "2", "--recreate"];
    assert_eq!(
        cli(&coordinator, &back).1,
        "script/s is now v5, as v2 was\n"
    );
    let now = coordinator.get("/scripts/s").await.body;
    assert_eq!(
        (&now["version"], &now["description"], &now["script_content"]),
        (&json!(5), &json!("Says two"), &json!("echo 2\n"))
    );

    let (code, table, _) = cli(&coordinator, &["script", "history", "s"]);
    assert_eq!(code, 0);
    for said in [
        "created as 2 was (current)",
        "deleted",
        "rolled back to 1",
        "admin",
    ] {
        assert!(table.contains(said), "{table}");
    }
    let (_, names, _) = cli(&coordinator, &["script", "history", "s", "-q"]);
    assert_eq!(names, "5\n4\n3\n2\n1\n");
}

#[tokio::test]
async fn versions_are_shown_compared_and_downloaded() {
    let coordinator = Coordinator::start().await;
    coordinator.bash("s", "echo 1\n").await;
    let second = json!({"script_content": "echo 2\n", "description": "Says two"});
    done(&coordinator, Method::PATCH, "/scripts/s", second).await;
    content(&coordinator, "echo 1\n").await;
    let first = coordinator.get("/scripts/s/versions/1").await.body;
    assert_eq!(
        (
            &first["script_content"],
            &first["current"],
            &first["actor"]["name"]
        ),
        (&json!("echo 1\n"), &json!(false), &json!("admin"))
    );
    let (code, diff, _) = cli(&coordinator, &["script", "diff", "s", "1", "2"]);
    assert_eq!(code, 1);
    for said in [
        "script/s (v1 → v2): description, s.sh",
        "-echo 1",
        "+echo 2",
        "Says two",
    ] {
        assert!(diff.contains(said), "{diff}");
    }
    let (_, diff, _) = cli(&coordinator, &["script", "diff", "s", "1"]);
    assert!(diff.contains("(v1 → v3): description\n"), "{diff}");
    let same = cli(&coordinator, &["script", "diff", "s", "3", "3"]);
    assert_eq!(
        (same.0, same.1.as_str()),
        (0, "script/s: versions 3 and 3 are the same\n")
    );

    let download = async |query: &str| {
        let path = format!("/scripts/s/download?format=zst&{query}");
        let answer = coordinator.http(Method::GET, &path).send().await.unwrap();
        (answer.status().as_u16(), answer.bytes().await.unwrap())
    };
    let digest = first["digest"].as_str().unwrap();
    let by_digest = download(&format!("digest={digest}")).await;
    assert_eq!(download("version=1").await, by_digest);
    assert_eq!(by_digest.0, 200);
    assert_eq!(download(&format!("version=1&digest={digest}")).await.0, 400);

    for (path, refusal) in [
        ("/scripts/s/versions/4", (404, "version_not_found")),
        ("/scripts/s/versions/0", (404, "version_not_found")),
        ("/scripts/s/versions/x", (400, "invalid_version")),
        ("/scripts/s/download?version=9", (404, "version_not_found")),
        ("/scripts/never/versions", (404, "script_not_found")),
        ("/agents/never/versions/1", (404, "agent_not_found")),
    ] {
        assert_eq!(coordinator.get(path).await.refusal(), refusal, "{path}");
    }
    let (code, _, said) = cli(&coordinator, &["script", "rollback", "s", "--to", "9"]);
    assert_eq!(code, 1);
    assert!(
        said.contains("has no version 9; there are 1 to 3")
            && said.contains("try: coordinator script history s"),
        "{said}"
    );
}

#[tokio::test]
async fn a_rollback_reaches_the_runner_s_disk_and_its_runs() {
    let coordinator = Coordinator::start().await;
    let runner = coordinator.runner(Settings::default()).await;
    coordinator.bash("s", "echo 1\n").await;
    let file = runner.project_dir().join("scripts/s/s.sh");
    let holds = async |content: &str| {
        eventually(&format!("the runner holds {content:?}"), async || {
            (std::fs::read_to_string(&file).ok()? == content).then_some(())
        })
        .await;
    };
    holds("echo 1\n").await;
    content(&coordinator, "echo 2\n").await;
    holds("echo 2\n").await;
    rollback(&coordinator, "/scripts/s", 1).await;
    holds("echo 1\n").await;
    let run = coordinator.request("s", json!({})).await;
    let run = coordinator.ends(&run).await;
    assert_eq!(
        (
            &run["script_version"],
            &run["agent_version"],
            &run["result_data"]
        ),
        (&json!(3), &json!(1), &json!(1))
    );
    let id = run["run_id"].as_str().unwrap();
    let (_, shown, _) = cli(&coordinator, &["run", "show", id]);
    for said in [
        "agent version:",
        "requested by:",
        "admin",
        "via:",
        "http",
        "digest:",
    ] {
        assert!(shown.contains(said), "{shown}");
    }
}

#[tokio::test]
async fn what_does_not_fit_any_more_is_refused() {
    let coordinator = Coordinator::start().await;
    coordinator.bash("s", "echo 1\n").await;
    coordinator.bash("gate", "echo\n").await;
    let hooked = json!({"hooks": {"on_run_start": {"type": "agent", "agent_name": "gate"}}});
    done(&coordinator, Method::PATCH, "/agents/s", hooked).await;
    done(
        &coordinator,
        Method::PATCH,
        "/agents/s",
        json!({"hooks": {}}),
    )
    .await;
    let note = json!({"name": "notes", "description": "", "text": "one"});
    done(&coordinator, Method::POST, "/capabilities", note).await;
    let text = json!({"text": "two"});
    done(&coordinator, Method::PATCH, "/capabilities/notes", text).await;
    let gone = coordinator.send(Method::DELETE, "/agents/gate", None).await;
    assert_eq!(gone.status, 204, "{gone:?}");

    let (code, _, said) = cli(&coordinator, &["agent", "rollback", "s", "--to", "2"]);
    assert_eq!(code, 1);
    assert!(
        said.contains("refers to agent gate, which does not exist"),
        "{said}"
    );
    assert_eq!(
        numbers(&lines(&coordinator, "/agents/s/versions").await),
        [3, 2, 1]
    );
    let (_, diff, _) = cli(&coordinator, &["agent", "diff", "s", "2", "3"]);
    assert!(diff.starts_with("agent/s (v2 → v3): hooks\n"), "{diff}");

    let back = rollback(&coordinator, "/capabilities/notes", 1).await;
    assert_eq!(
        (&back["version"], &back["changed"]),
        (&json!(3), &json!(true))
    );
    let now = coordinator.get("/capabilities/notes").await.body;
    assert_eq!(now["text"], "one");
    let told = lines(&coordinator, "/capabilities/notes/versions").await;
    assert_eq!(
        (&told[0]["rollback_of"], &told[0]["changes"]),
        (&json!(1), &json!(["text"]))
    );
    let old = coordinator.get("/capabilities/notes/versions/2").await.body;
    assert_eq!((&old["text"], &old["version"]), (&json!("two"), &json!(2)));
}

#[tokio::test]
async fn two_coordinators_race_a_rollback_and_a_put() {
    let nats = Nats::start().await;
    let url = nats.url();
    let one = Coordinator::start_with(&["--nats-url", &url]).await;
    let two = Coordinator::start_with(&["--nats-url", &url]).await;
    one.bash("s", "echo 0\n").await;
    content(&one, "echo other\n").await;
    let rolls = async {
        for _ in 0..10 {
            rollback(&one, "/scripts/s", 1).await;
        }
    };
    let puts = async {
        for round in 0..10 {
            // The other one may not have seen the script yet.
            eventually("the script is there", async || {
                (two.get("/scripts/s").await.status == 200).then_some(())
            })
            .await;
            content(&two, &format!("echo {round}!\n")).await;
        }
    };
    tokio::join!(rolls, puts);
    let told = lines(&one, "/scripts/s/versions").await;
    let last = told.len() as u64;
    assert_eq!(numbers(&told), (1..=last).rev().collect::<Vec<_>>());
    assert!(
        last >= 13,
        "every put and at least one rollback made a version: {told:?}"
    );
    let digest = |version: &Value| {
        let of = told.iter().find(|line| line["version"] == *version);
        of.map(|line| line["digest"].clone())
    };
    for line in told.iter().filter(|line| !line["rollback_of"].is_null()) {
        assert_eq!(digest(&line["rollback_of"]), Some(line["digest"].clone()));
    }
    let path = "/scripts/s/versions";
    eventually("both tell the same", async || {
        let (one, two) = (lines(&one, path).await, lines(&two, path).await);
        (one == two).then_some(())
    })
    .await;
}

/// Versions of an agent: they bring no bundle, so that a thousand are quick.
const MANY: u64 = 1_000;

#[tokio::test]
async fn a_thousand_versions_page_without_gap_or_double() {
    let coordinator = Coordinator::start().await;
    coordinator.bash("s", "echo\n").await;
    for number in 2..=MANY {
        let body = json!({"description": format!("Version {number}")});
        done(&coordinator, Method::PATCH, "/agents/s", body).await;
        // Others in between, as in life.
        if number % 100 == 0 {
            content(&coordinator, &format!("echo {number}\n")).await;
        }
    }
    let mut all = Vec::new();
    let mut before = String::new();
    loop {
        let path = format!("/agents/s/versions?limit=170{before}");
        let body = coordinator.get(&path).await.body;
        let page = body["versions"].as_array().unwrap();
        assert!(page.len() <= 170);
        all.extend(page.clone());
        match body["next_before"].as_u64() {
            Some(next) => before = format!("&before={next}"),
            None => break,
        }
    }
    assert_eq!(numbers(&all), (1..=MANY).rev().collect::<Vec<_>>());
    let changed = all
        .iter()
        .filter(|line| line["changes"] == json!(["description"]));
    assert_eq!(changed.count() as u64, MANY - 1);
    for number in [1, 2, 499, 500, 501, MANY - 1, MANY] {
        let path = format!("/agents/s/versions/{number}");
        let version = coordinator.get(&path).await.body;
        assert_eq!(version["version"], number);
        let told = format!("Version {number}");
        assert!(number == 1 || version["description"] == told, "{version}");
    }
    let scripts = lines(&coordinator, "/scripts/s/versions?limit=3").await;
    assert_eq!(numbers(&scripts), [11, 10, 9]);
    let (_, names, said) = cli(
        &coordinator,
        &["agent", "history", "s", "--limit", "450", "-q"],
    );
    assert_eq!(names.lines().count(), 450, "{said}");
}
