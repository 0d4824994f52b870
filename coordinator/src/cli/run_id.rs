//! Run ids as people type them: whole, or a prefix that only one run has.

use serde_json::Value;

use super::client::Client;
use super::failure::Failure;
use super::output::text;

/// `run_` and 16 hex digits.
const WHOLE_CHARS: usize = 20;

/// How many candidates an ambiguous prefix lists.
const CANDIDATES: usize = 5;

pub async fn resolve(client: &Client, typed: &str) -> Result<String, Failure> {
    let prefix = if typed.starts_with("run_") {
        typed.to_owned()
    } else {
        format!("run_{typed}")
    };
    if prefix.len() >= WHOLE_CHARS {
        return Ok(prefix);
    }
    let limit = (CANDIDATES + 1).to_string();
    let body = client
        .get(
            &["runs"],
            &[("prefix", prefix.as_str()), ("limit", limit.as_str())],
        )
        .await?;
    let runs = body["runs"].as_array().map_or(&[][..], Vec::as_slice);
    choose(typed, runs)
}

fn choose(typed: &str, runs: &[Value]) -> Result<String, Failure> {
    match runs {
        [] => Err(
            Failure::refused(format!("no run's id begins with `{typed}`"))
                .hint("coordinator run list; a run whose steps are gone needs its whole id"),
        ),
        [run] => Ok(text(&run["run_id"])),
        several => Err(
            Failure::refused(format!("`{typed}` is the beginning of several run ids"))
                .details(several.iter().take(CANDIDATES).map(candidate))
                .hint("a longer prefix"),
        ),
    }
}

fn candidate(run: &Value) -> String {
    format!(
        "{} {} {}",
        text(&run["run_id"]),
        text(&run["agent_name"]),
        text(&run["status"])
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_a_unique_prefix_is_taken() {
        let run = |id: &str| json!({"run_id": id, "agent_name": "a", "status": "running"});
        assert_eq!(choose("1", &[run("run_1f")]).unwrap(), "run_1f");
        assert!(choose("1", &[]).unwrap_err().report().contains("run list"));
        let report = choose("1", &[run("run_1e"), run("run_1f")])
            .unwrap_err()
            .report();
        assert!(
            report.contains("run_1e a running") && report.contains("longer"),
            "{report}"
        );
    }
}
