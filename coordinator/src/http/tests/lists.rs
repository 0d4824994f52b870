//! Lists page where a limit is given, and say less where less is asked for.

use super::world::World;
use rstest::rstest;
use serde_json::{Value, json};

impl World {
    /// All entries, one page after the other.
    async fn walk(&self, path: &str, of: &str) -> Vec<Value> {
        let (mut path, mut entries) = (path.to_owned(), Vec::new());
        loop {
            let answer = self.ask("GET", &path).await;
            assert_eq!(answer.status, 200, "{}", answer.json());
            let body = answer.json();
            let page = if of.is_empty() { &body } else { &body[of] };
            let page = page.as_array().unwrap().iter().cloned();
            entries.extend(page.map(|mut entry| {
                // It moves with each request.
                entry["last_used_at"].take();
                entry
            }));
            let Some(next) = answer.header("link").strip_prefix('<') else {
                return entries;
            };
            path = next.strip_suffix(">; rel=\"next\"").unwrap().to_owned();
        }
    }
}

#[rstest]
#[case("/agents", "")]
#[case("/scripts", "")]
#[case("/capabilities", "")]
#[case("/lanes", "")]
#[case("/pins", "")]
#[case("/scripts/deploy/pins", "")]
#[case("/tokens", "tokens")]
#[case("/runners", "runners")]
#[tokio::test]
async fn pages_together_are_the_list(#[case] path: &str, #[case] of: &str) {
    let world = World::with_deployer().await;
    for tag in ["eu", "us", "gpu"] {
        let pin = json!({"tags": [tag]});
        assert_eq!(
            world.send("POST", "/scripts/deploy/pins", pin).await.status,
            201
        );
        let token = json!({"role": "viewer", "name": tag});
        assert_eq!(world.send("POST", "/tokens", token).await.status, 201);
        let text = json!({"name": tag, "description": "", "text": "Be kind."});
        assert_eq!(world.send("POST", "/capabilities", text).await.status, 201);
    }
    let whole = world.walk(path, of).await;
    assert_eq!(world.walk(&format!("{path}?limit=1"), of).await, whole);
    assert_eq!(world.walk(&format!("{path}?limit=2"), of).await, whole);
}

#[tokio::test]
async fn a_page_of_runs_is_as_new_as_the_runs() {
    let world = World::with_deployer().await;
    let path = "/runs?limit=5";
    let request =
        json!({"type": "start_session", "agent_name": "deployer", "parameters": {"env": "test"}});
    for there in 1..=3 {
        let requested = world.send("POST", "/runs", request.clone()).await;
        assert_eq!(requested.status, 201, "{}", requested.json());
        let run = requested.json()["run_id"].as_str().unwrap().to_owned();
        let page = world.ask("GET", path).await.json();
        assert_eq!(page["runs"].as_array().unwrap().len(), there);
        assert_eq!(page["runs"][0]["status"], "pending");
        assert_eq!(world.ask("GET", path).await.json(), page);
        let stop = format!("/runs/{run}/stop");
        assert_eq!(world.send("POST", &stop, json!({})).await.status, 200);
        let page = world.ask("GET", path).await.json();
        assert_eq!(page["runs"][0]["status"], "stopped");
    }
}

#[rstest]
#[case("/scripts?prefix=de", "", 1)]
#[case("/scripts?prefix=x", "", 0)]
#[case("/scripts?tags=bash", "", 1)]
#[case("/scripts?tags=bash,gpu", "", 0)]
#[case("/lanes?tags=bash", "", 1)]
#[case("/lanes?script=deploy", "", 1)]
#[case("/lanes?script=other", "", 0)]
#[case("/lanes?agent=deployer", "", 1)]
#[case("/tokens?role=admin", "tokens", 1)]
#[case("/tokens?role=viewer", "tokens", 0)]
#[case("/tokens?status=used", "tokens", 0)]
#[case("/runners?status=online", "runners", 0)]
#[case("/capabilities?type=text", "", 0)]
#[tokio::test]
async fn filters(#[case] path: &str, #[case] of: &str, #[case] count: usize) {
    let world = World::with_deployer().await;
    assert_eq!(world.walk(path, of).await.len(), count);
}
