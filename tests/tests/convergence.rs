//! Whatever happened meanwhile, and whoever else was at work, every host ends with what its lanes want:
//! two coordinators at once, a week away, a folder in common, a script that is running.

use events::log::Bundles as _;
use futures::StreamExt as _;
use reqwest::Method;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use tests::coordinator::Coordinator;
use tests::eventually::eventually;
use tests::hand::{Hand, bundle, runner_named};
use tests::nats::Nats;
use tests::runner::{Runner, Settings};

async fn change(coordinator: &Coordinator, method: Method, path: &str, body: Value) {
    let answer = coordinator.send(method, path, Some(body)).await;
    assert!(answer.status.is_success(), "{path}: {answer:?}");
}

async fn says(coordinator: &Coordinator, name: &str, content: &str) {
    let path = format!("/scripts/{name}");
    let body = json!({ "script_content": content });
    change(coordinator, Method::PATCH, &path, body).await;
}

/// What active agents make of the scripts: names and digests.
async fn wanted(coordinator: &Coordinator) -> BTreeMap<String, String> {
    let mut wanted = BTreeMap::new();
    for agent in coordinator.get("/agents").await.body.as_array().unwrap() {
        if agent["status"] == "active" {
            let name = agent["script"].as_str().unwrap();
            let script = coordinator.get(&format!("/scripts/{name}")).await.body;
            let digest = script["digest"].as_str().unwrap().to_owned();
            wanted.insert(name.to_owned(), digest);
        }
    }
    wanted
}

/// What the names in a runner's folder lead to.
fn held(project: &Path) -> BTreeMap<String, String> {
    let entries = fs::read_dir(project.join("scripts")).into_iter().flatten();
    let links = entries
        .map(|entry| entry.unwrap().path())
        .filter_map(|path| {
            let target = fs::read_link(&path).ok()?;
            let digest = format!("sha256:{}", target.file_name()?.to_str()?);
            Some((path.file_name()?.to_str()?.to_owned(), digest))
        });
    links.collect()
}

async fn converges(coordinator: &Coordinator, runner: &Runner) {
    let wanted = wanted(coordinator).await;
    eventually("the folder is what the agents need", async || {
        (held(&runner.project_dir()) == wanted).then_some(())
    })
    .await;
}

/// Both decide, both tell the lanes; nothing is lost, and nothing is told twice without end.
#[tokio::test]
async fn two_coordinators_change_the_same_agents_at_once() {
    let nats = Nats::start().await;
    let url = nats.url();
    let one = Coordinator::start_with(&["--nats-url", &url]).await;
    let other = Coordinator::start_with(&["--nats-url", &url]).await;
    let runner = one.runner(Settings::default()).await;
    for name in ["a", "b", "c"] {
        one.bash(name, "echo 0\n").await;
    }
    eventually("the other knows them", async || {
        (other.get("/agents/c").await.status == 200).then_some(())
    })
    .await;
    let changes = async |coordinator: &Coordinator, own: u32| {
        for round in 0..6 {
            for name in ["a", "b", "c"] {
                says(coordinator, name, &format!("echo {own} {round}\n")).await;
                let status = ["active", "inactive"][(round + own) as usize % 2];
                let path = format!("/agents/{name}/status");
                change(
                    coordinator,
                    Method::PATCH,
                    &path,
                    json!({ "status": status }),
                )
                .await;
            }
        }
    };
    tokio::join!(changes(&one, 0), changes(&other, 1));
    let status = json!({"status": "active"});
    change(&other, Method::PATCH, "/agents/a/status", status).await;
    says(&one, "b", "echo last\n").await;
    eventually("both say the same", async || {
        (wanted(&one).await == wanted(&other).await).then_some(())
    })
    .await;
    converges(&one, &runner).await;
    let lanes = async |coordinator: &Coordinator| coordinator.get("/lanes").await.body;
    assert_eq!(
        lanes(&one).await[0]["scripts"],
        lanes(&other).await[0]["scripts"]
    );
}

#[tokio::test]
async fn who_was_away_for_long_comes_to_what_is_wanted_now() {
    let coordinator = Coordinator::start().await;
    let mut runner = coordinator.runner(Settings::default()).await;
    for name in ["kept", "changed", "gone", "elsewhere", "reborn"] {
        coordinator.bash(name, "echo 0\n").await;
    }
    converges(&coordinator, &runner).await;
    runner.kill();
    let theirs = runner.project_dir().join("scripts/theirs");
    fs::create_dir(&theirs).unwrap();
    for round in 1..20 {
        says(&coordinator, "changed", &format!("echo {round}\n")).await;
        says(&coordinator, "reborn", &format!("echo {round}\n")).await;
    }
    for path in [
        "/agents/gone",
        "/scripts/gone",
        "/agents/reborn",
        "/scripts/reborn",
    ] {
        let answer = coordinator.send(Method::DELETE, path, None).await;
        assert_eq!(answer.status, 204, "{path}");
    }
    coordinator.bash("reborn", "echo again\n").await;
    coordinator.bash("new", "echo new\n").await;
    // To a host that offers more than this one.
    let demands = json!({"demands": {"tags": ["bash", "gpu"]}});
    change(&coordinator, Method::PATCH, "/scripts/elsewhere", demands).await;
    let mut wanted = wanted(&coordinator).await;
    wanted.remove("elsewhere");
    runner.start_again();
    eventually("the folder is what is wanted now", async || {
        (held(&runner.project_dir()) == wanted).then_some(())
    })
    .await;
    eventually("what was only needed before is gone", async || {
        let bundles = fs::read_dir(runner.project_dir().join("scripts/.bundles"));
        (bundles.unwrap().count() == wanted.len()).then_some(())
    })
    .await;
    assert!(theirs.is_dir());
}

/// However many runners a host has in one folder, its bytes come over the network once.
#[tokio::test]
async fn runners_that_share_a_folder_fetch_once() {
    let nats = Nats::start().await;
    let hand = Hand::on(&nats).await;
    let shared = tempfile::tempdir().unwrap();
    let packed = bundle("greet", "echo 1\n");
    let digest = hand.connection.put(packed.bytes.into()).await.unwrap();
    let client = async_nats::connect(nats.url()).await.unwrap();
    // Each fetch begins by asking what the bucket says of the object.
    let mut fetches = client
        .subscribe("$JS.API.DIRECT.GET.OBJ_BUNDLES.$O.BUNDLES.M.>")
        .await
        .unwrap();
    client.flush().await.unwrap();
    let runner = |number: u32| {
        let settings = Settings {
            project_dir: Some(shared.path().to_owned()),
            ..Settings::default()
        };
        runner_named(&nats, &format!("host-{number}"), settings)
    };
    let _runners: Vec<Runner> = (1..=5).map(runner).collect();
    hand.want("greet", digest, 1, 1).await;
    let owners = shared.path().join("scripts/.owners");
    eventually("all have it", async || {
        let ledgers = fs::read_dir(&owners).ok()?;
        let texts = ledgers.filter_map(|entry| fs::read_to_string(entry.ok()?.path()).ok());
        let need = texts
            .filter(|text| text.contains(&digest.to_string()))
            .count();
        let there = held(shared.path()).get("greet") == Some(&digest.to_string());
        (need == 5 && there).then_some(())
    })
    .await;
    client
        .publish("$JS.API.DIRECT.GET.OBJ_BUNDLES.$O.BUNDLES.M.end", "".into())
        .await
        .unwrap();
    let mut count = 0;
    while !fetches.next().await.unwrap().subject.ends_with("M.end") {
        count += 1;
    }
    assert_eq!(count, 1);
}

/// The script reads its second half only after its successor has taken its name.
#[tokio::test]
async fn a_running_script_keeps_its_version_and_the_next_run_has_the_new_one() {
    let coordinator = Coordinator::start().await;
    let runner = coordinator.runner(Settings::default()).await;
    let content = |version: u32| {
        format!(
            "echo first {version}; touch started-{version}\n\
             while [ ! -e go ]; do sleep 0.02; done\ngrep -c 'version {version}' \"$0\"\n# version {version}\n"
        )
    };
    coordinator.bash("slow", &content(1)).await;
    let run = coordinator.request("slow", json!({})).await;
    let project = runner.project_dir();
    eventually("it runs", async || {
        project.join("started-1").exists().then_some(())
    })
    .await;
    says(&coordinator, "slow", &content(2)).await;
    converges(&coordinator, &runner).await;
    fs::write(project.join("go"), "").unwrap();
    let first = coordinator.ends(&run).await;
    assert_eq!(
        (&first["status"], &first["script_version"]),
        (&json!("completed"), &json!(1))
    );
    assert_eq!(
        first["result_data"]["stdout"], "first 1\n2\n",
        "its own file to its end"
    );
    let run = coordinator.request("slow", json!({})).await;
    let second = coordinator.ends(&run).await;
    assert_eq!(second["result_data"]["stdout"], "first 2\n2\n");
}
