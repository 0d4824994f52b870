//! Runners as people name them: by id, by a prefix that only one has, or by a host name that only
//! one has.

use serde_json::Value;

use super::client::Client;
use super::failure::Failure;
use super::output::text;

/// How many candidates an ambiguous name lists.
const CANDIDATES: usize = 5;

/// The runner's id. One that left is not listed any more and needs its whole id.
pub async fn resolve(client: &Client, typed: &str) -> Result<String, Failure> {
    let body = client.get(&["runners"], &[]).await?;
    choose(typed, body["runners"].as_array().map_or(&[], Vec::as_slice))
}

fn choose(typed: &str, runners: &[Value]) -> Result<String, Failure> {
    let id = |runner: &Value| text(&runner["runner_id"]);
    if runners.iter().any(|runner| id(runner) == typed) {
        return Ok(typed.to_owned());
    }
    let fits = |runner: &&Value| id(runner).starts_with(typed) || runner["hostname"] == typed;
    let found: Vec<&Value> = runners.iter().filter(fits).collect();
    match found[..] {
        // It may be one that left; the coordinator knows.
        [] => Ok(typed.to_owned()),
        [runner] => Ok(id(runner)),
        _ => Err(
            Failure::refused(format!("`{typed}` can be one of several runners"))
                .details(
                    found
                        .iter()
                        .take(CANDIDATES)
                        .map(|runner| candidate(runner)),
                )
                .hint("a whole id"),
        ),
    }
}

fn candidate(runner: &Value) -> String {
    let fields = ["runner_id", "hostname", "project_dir", "status"];
    fields.map(|field| text(&runner[field])).join(" ")
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    #[rstest]
    #[case::whole("rnr-1", Some("rnr-1"))]
    #[case::prefix("rnr-2", Some("rnr-22"))]
    #[case::host("web1", Some("rnr-1"))]
    #[case::several("rnr", None)]
    #[case::unknown("other", Some("other"))]
    fn a_name_is_one_runner(#[case] typed: &str, #[case] expected: Option<&str>) {
        let runner = |id: &str, host: &str| json!({"runner_id": id, "hostname": host});
        let runners = [
            runner("rnr-1", "web1"),
            runner("rnr-12", "web2"),
            runner("rnr-22", "web3"),
        ];
        assert_eq!(choose(typed, &runners).ok().as_deref(), expected);
    }
}
