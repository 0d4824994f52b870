//! The end of a log file, for when its writer gave up.

use std::fs;
use std::path::Path;

/// Enough for an error with its causes and what led to it, little enough for one screen.
const LINES: usize = 40;

pub fn log_tail(path: &Path) -> String {
    match fs::read(path) {
        Ok(content) => last_lines(&String::from_utf8_lossy(&content), LINES),
        Err(problem) => format!("(its log {} cannot be read: {problem})", path.display()),
    }
}

fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_end_is_shown() {
        assert_eq!(last_lines("1\n2\n3\n", 2), "2\n3");
        assert_eq!(last_lines("1\n", 2), "1");
        assert_eq!(last_lines("", 2), "");
    }

    #[test]
    fn a_missing_log_is_said_to_be_missing() {
        assert!(log_tail(Path::new("/no/such.log")).contains("/no/such.log"));
    }
}
