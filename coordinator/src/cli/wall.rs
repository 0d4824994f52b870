//! A rollout as it is drawn in place on a terminal: a bar, what is behind, and why. It makes text and
//! writes nothing itself.

use serde_json::Value;

use super::output::text;
use super::script_rollout::{holds, why};
use super::terminal::plain;

const BAR_CELLS: usize = 40;
/// Runners that are named; a wall is for looking at, and `rollout` without `--watch` has all.
const NAMED_MAX: usize = 12;
/// Where the terminal does not say.
const WIDTH_DEFAULT: usize = 79;

const GREEN: &str = "32";
const RED: &str = "31";
const YELLOW: &str = "33";

pub struct Wall {
    colors: bool,
    /// What was drawn last, to be drawn over.
    lines: usize,
}

impl Wall {
    pub fn new(colors: bool) -> Self {
        Self { colors, lines: 0 }
    }

    /// What to send to the terminal so that it shows this instead of what was drawn before.
    pub fn redraw(&mut self, rollout: &Value) -> String {
        // A terminal that was never told its size says 0.
        let width = comfy_table::Table::new().width().filter(|width| *width > 0);
        let width = width.map_or(WIDTH_DEFAULT, |width| usize::from(width).max(20) - 1);
        let lines = self.lines(rollout, width);
        // Up to the first line, and clear everything below.
        let back = match self.lines {
            0 => String::new(),
            up => format!("\u{1b}[{up}A\r\u{1b}[J"),
        };
        self.lines = lines.len();
        lines.iter().fold(back, |text, line| text + line + "\n")
    }

    fn lines(&self, rollout: &Value, width: usize) -> Vec<String> {
        let number = |field: &str| rollout[field].as_u64().unwrap_or_default();
        let (total, current) = (number("total"), number("current"));
        let digest: String = text(&rollout["digest"]).chars().take(15).collect();
        let (name, version) = (text(&rollout["script"]), text(&rollout["version"]));
        let mut lines = vec![
            cut(&format!("{name} v{version}  {digest}…"), width),
            self.bar(current, total),
        ];
        if total == 0 {
            lines.push(cut(&text(&rollout["summary"]), width));
            return lines;
        }
        let runners = rollout["runners"].as_array().map_or(&[][..], Vec::as_slice);
        let behind: Vec<&Value> = runners
            .iter()
            .filter(|line| line["state"] != "current" && line["state"] != "delivered")
            .collect();
        for line in behind.iter().take(NAMED_MAX) {
            lines.push(self.runner(line, width));
        }
        if behind.len() > NAMED_MAX {
            lines.push(format!("  … and {} more", behind.len() - NAMED_MAX));
        }
        if rollout["done"] == true {
            lines.push(self.paint(GREEN, "every runner has it"));
        }
        lines
    }

    fn bar(&self, current: u64, total: u64) -> String {
        let cells =
            |part: u64| usize::try_from(part * BAR_CELLS as u64 / total.max(1)).unwrap_or(0);
        let full = "█".repeat(cells(current));
        let empty = "░".repeat(BAR_CELLS.saturating_sub(cells(current)));
        let percent = current * 100 / total.max(1);
        format!(
            "{}{empty} {current}/{total}  {percent} %",
            self.paint(GREEN, &full)
        )
    }

    fn runner(&self, line: &Value, width: usize) -> String {
        let state = text(&line["state"]);
        let told = match why(line) {
            why if why.is_empty() && state == "offline" => match line["last_seen"].as_str() {
                Some(at) => format!("last seen {at}"),
                None => String::new(),
            },
            why => why,
        };
        let drained = if line["drained"] == true {
            " (drained)"
        } else {
            ""
        };
        let (id, holds) = (text(&line["runner_id"]), holds(line));
        let rest = format!(" {id}{drained}  {holds}  {told}");
        let rest = cut(&rest, width.saturating_sub(10));
        let color = match state.as_str() {
            "failed" => RED,
            _ => YELLOW,
        };
        format!("  {}{rest}", self.paint(color, &format!("{state:<8}")))
    }

    fn paint(&self, color: &str, text: &str) -> String {
        match self.colors && !text.is_empty() {
            true => format!("\u{1b}[{color}m{text}\u{1b}[0m"),
            false => text.to_owned(),
        }
    }
}

/// A line that wraps would be two to draw over.
fn cut(text: &str, width: usize) -> String {
    let text = plain(text);
    if text.chars().count() <= width {
        return text;
    }
    let kept: String = text.chars().take(width.saturating_sub(1)).collect();
    kept + "…"
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rollout(current: u64, runners: &Value) -> Value {
        json!({
            "script": "deploy", "version": 7, "digest": "sha256:abababababababab", "total": 4,
            "current": current, "done": current == 4, "runners": runners, "summary": "",
        })
    }

    #[test]
    fn a_wall_shows_how_far_it_is_and_who_is_behind() {
        let runners = json!([
            {"runner_id": "host-9", "state": "failed", "version": 6,
             "error": {"message": "disk full: bundle sha256:abab cannot be written to the scripts folder"}},
            {"runner_id": "host-3", "state": "offline", "version": 6, "drained": true,
             "last_seen": "2026-11-20T10:00:00Z"},
            {"runner_id": "host-1", "state": "current", "version": 7},
        ]);
        let lines = Wall::new(false).lines(&rollout(2, &runners), 70).join("\n");
        insta::assert_snapshot!(lines, @r#"
        deploy v7  sha256:abababab…
        ████████████████████░░░░░░░░░░░░░░░░░░░░ 2/4  50 %
          failed   host-9  v6  disk full: bundle sha256:abab cannot be writte…
          offline  host-3 (drained)  v6  last seen 2026-11-20T10:00:00Z
        "#);
    }

    #[test]
    fn what_was_drawn_is_drawn_over() {
        let mut wall = Wall::new(false);
        let first = wall.redraw(&rollout(0, &json!([])));
        assert!(!first.contains('\u{1b}'), "{first}");
        let second = wall.redraw(&rollout(4, &json!([])));
        assert!(second.starts_with("\u{1b}[2A\r\u{1b}[J"), "{second:?}");
        assert!(second.contains("4/4  100 %") && second.contains("every runner has it"));
    }
}
