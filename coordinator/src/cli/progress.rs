//! How far something has come that takes its time, on stderr: one line that is redrawn on a terminal, a
//! line now and then elsewhere, nothing where nobody wants remarks.

use std::io::Write as _;
use std::time::{Duration, Instant};

use super::global::Context;
use super::terminal::note;

/// Often enough to see that it moves.
const REDRAW: Duration = Duration::from_millis(200);
/// Seldom enough for a log.
const SAY_AGAIN: Duration = Duration::from_secs(10);

pub struct Progress {
    what: &'static str,
    done: u64,
    estimate: Option<u64>,
    said: Instant,
    form: Form,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Silent,
    Redrawn,
    Lines,
}

impl Progress {
    /// `what` is said before how many bytes are done; the estimate is of all of them.
    pub fn start(context: &Context, what: &'static str, estimate: Option<u64>) -> Self {
        let form = match (context.quiet, context.output.terminal.stderr) {
            (true, _) => Form::Silent,
            (false, true) => Form::Redrawn,
            (false, false) => Form::Lines,
        };
        Self {
            what,
            done: 0,
            estimate,
            said: Instant::now(),
            form,
        }
    }

    pub fn add(&mut self, bytes: u64) {
        self.done += bytes;
        let pause = match self.form {
            Form::Silent => return,
            Form::Redrawn => REDRAW,
            Form::Lines => SAY_AGAIN,
        };
        if self.said.elapsed() >= pause {
            self.said = Instant::now();
            self.say();
        }
    }

    pub fn end(&mut self) {
        if self.form == Form::Redrawn {
            self.say();
            note("");
        }
    }

    fn say(&self) {
        let of = self.estimate.map_or_else(String::new, |all| {
            format!(" (the streams take up {})", size(all))
        });
        let line = format!("{} {}{of}", self.what, size(self.done));
        match self.form {
            Form::Redrawn => {
                // A closed stderr is nobody's problem.
                let _ = write!(std::io::stderr(), "\r\u{1b}[K{line}");
            }
            _ => note(&line),
        }
    }
}

/// `512 B`, `1.5 KiB`, `20.0 MiB`.
pub fn size(bytes: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < units.len() {
        value /= 1024.0;
        unit += 1;
    }
    match unit {
        0 => format!("{bytes} B"),
        _ => format!("{value:.1} {}", units[unit]),
    }
}

#[cfg(test)]
mod tests {
    use super::size;

    #[test]
    fn sizes_are_read_at_a_glance() {
        let shown = [0, 1023, 1536, 20 << 20, u64::MAX].map(size);
        let expected = ["0 B", "1023 B", "1.5 KiB", "20.0 MiB", "16777216.0 TiB"];
        assert_eq!(shown, expected);
    }
}
