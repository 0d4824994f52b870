//! What somebody who has seen the demo may try next, ready to be pasted in the clone's root.

use std::path::Path;

/// `coordinator` and `data` are paths as seen from the clone's root.
pub fn next_commands(url: &str, coordinator: &Path, data: &Path) -> String {
    let coordinator = coordinator.display();
    let data = data.display();
    [
        format!("export COORDINATOR_URL={url} COORDINATOR_DATA_DIR={data}"),
        format!("{coordinator} agent list"),
        format!("{coordinator} agent run word-count -p text=\"to be or not to be\" -p top=2"),
        format!("{coordinator} run list"),
        format!("{coordinator} script show deploy"),
        format!("{coordinator} apply -f coordinator/starter    # after a change to a script there"),
        format!("curl -H \"Authorization: Bearer $(cat {data}/admin.token)\" {url}/scripts"),
    ]
    .map(|command| format!("  {command}\n"))
    .concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_speaks_to_this_demo() {
        let text = next_commands(
            "http://127.0.0.1:5",
            Path::new("target/debug/coordinator"),
            Path::new(".demo/data"),
        );
        let mut lines = text.lines().map(str::trim);
        assert_eq!(
            lines.next(),
            Some("export COORDINATOR_URL=http://127.0.0.1:5 COORDINATOR_DATA_DIR=.demo/data")
        );
        for line in lines {
            assert!(
                line.starts_with("target/debug/coordinator ")
                    || line.ends_with("http://127.0.0.1:5/scripts"),
                "{line}"
            );
        }
    }
}
