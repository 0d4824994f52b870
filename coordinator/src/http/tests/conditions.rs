//! `If-Match`: a write that was decided on what is not there any more changes nothing.

use super::fixtures::{deploy, deployer};
use super::world::{Answer, World};
use axum::body::Body;
use rstest::rstest;
use serde_json::{Value, json};

impl World {
    async fn send_if(
        &self,
        method: &str,
        path: &str,
        (header, value): (&str, &str),
        body: &Value,
    ) -> Answer {
        let request = Self::request(method, path)
            .header("content-type", "application/json")
            .header(header, value);
        self.answer(request.body(Body::from(body.to_string())).unwrap())
            .await
    }
}

#[rstest]
#[case::put("PUT", "/agents/deployer", deployer())]
#[case::patch("PATCH", "/agents/deployer", json!({"description": "x"}))]
#[case::status("PATCH", "/agents/deployer/status", json!({"status": "inactive"}))]
#[case::rollback("POST", "/agents/deployer/rollback", json!({"to": 1}))]
#[case::delete("DELETE", "/agents/deployer", json!({}))]
#[case::script_put("PUT", "/scripts/deploy", deploy())]
#[case::script_patch("PATCH", "/scripts/deploy", json!({"description": "x"}))]
#[case::script_rollback("POST", "/scripts/deploy/rollback", json!({"to": 1}))]
#[tokio::test]
async fn a_stale_write_is_refused_and_a_fresh_one_is_not(
    #[case] method: &str,
    #[case] path: &str,
    #[case] body: Value,
) {
    let world = World::with_deployer().await;
    let stale = world
        .send_if(method, path, ("if-match", "\"7\""), &body)
        .await;
    let (status, detail, code) = stale.error();
    assert_eq!((status, code.as_str()), (412, "stale"));
    assert!(
        detail.as_str().unwrap().contains("its version is 1"),
        "{detail}"
    );
    let fresh = world
        .send_if(method, path, ("if-match", "\"6\", \"1\""), &body)
        .await;
    assert!(fresh.status.is_success(), "{}", fresh.status);
}

#[tokio::test]
async fn what_is_read_says_its_version_and_two_who_read_it_do_not_both_write() {
    let world = World::with_deployer().await;
    for path in ["/agents/deployer", "/scripts/deploy"] {
        let read = world.ask("GET", path).await;
        let tag = read.header("etag").to_owned();
        assert_eq!(tag, "\"1\"");
        let patches = ["one", "two"].map(|text| json!({"description": text}));
        let [one, two] = patches.each_ref();
        let (one, two) = tokio::join!(
            world.send_if("PATCH", path, ("if-match", &tag), one),
            world.send_if("PATCH", path, ("if-match", &tag), two),
        );
        let mut told =
            [one, two].map(|answer| (answer.status.as_u16(), answer.header("etag").to_owned()));
        told.sort();
        assert_eq!(told, [(200, "\"2\"".to_owned()), (412, String::new())]);
    }
}

#[tokio::test]
async fn a_put_may_want_the_name_to_be_free_or_taken() {
    let world = World::with_deployer().await;
    let free = ("if-none-match", "*");
    let taken = world
        .send_if("PUT", "/agents/deployer", free, &deployer())
        .await;
    assert_eq!(taken.error().2, "stale");
    let mut other = deployer();
    other["name"] = json!("other");
    let missing = world
        .send_if("PUT", "/agents/other", ("if-match", "*"), &other)
        .await;
    assert_eq!(
        (missing.status.as_u16(), missing.error().2.as_str()),
        (412, "stale")
    );
    let created = world.send_if("PUT", "/agents/other", free, &other).await;
    assert_eq!(created.status, 201);
    let odd = world
        .send_if("PUT", "/agents/other", ("if-match", "newest"), &other)
        .await;
    assert_eq!(odd.error().2, "invalid_condition");
}
