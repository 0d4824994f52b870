//! One run, from its script's start to the end of the last process that is left of it.
//!
//! Not here: how the script's own process is made (`script`), how its descendants are found (`tree`).

use std::collections::HashSet;
use std::io;
use std::time::{Duration, Instant};

use nix::poll::PollTimeout;
use nix::sys::signal::Signal;
use nix::unistd::Pid;

use super::protocol::{Command, Event, Exit};
use super::ties::Ties;
use super::tree::{self, Reaped};

/// How far the end of the tree has come.
enum Phase {
    Running,
    /// TERM was sent to all.
    Ending {
        kill_at: Instant,
    },
    /// KILL is sent to whatever is found, until nothing is.
    Killing {
        pause: Duration,
    },
}

pub(super) struct Watch {
    script: Pid,
    exit: Option<Exit>,
    grace: Duration,
    phase: Phase,
    /// Signalled after the script's own end.
    swept: HashSet<Pid>,
    /// Of the largest process. Never below the guard's own few MiB: the kernel counts what a process held
    /// before its exec.
    max_rss_bytes: u64,
}

impl Watch {
    pub fn new(script: Pid, grace: Duration) -> Self {
        Self {
            script,
            exit: None,
            grace,
            phase: Phase::Running,
            swept: HashSet::new(),
            max_rss_bytes: 0,
        }
    }

    /// Returns when nothing of the tree is left; until then the runner may say stop, or be gone.
    pub fn until_gone(mut self, ties: &mut Ties) -> io::Result<()> {
        ties.say(&[Event::Spawned {
            pid: self.script.as_raw().cast_unsigned(),
        }]);
        // A stop may have come together with the word to start.
        self.obey(ties);
        while self.reap(ties) {
            self.advance(ties);
            ties.wait(self.timeout())?;
            self.obey(ties);
        }
        Ok(())
    }

    /// Takes the status of what has ended and tells the runner; false when nothing is left.
    ///
    /// In the common case both events leave in one write and nobody looks into `/proc`.
    fn reap(&mut self, ties: &Ties) -> bool {
        let mut events = Vec::new();
        let left = loop {
            match tree::reap() {
                Reaped::One(ended) => {
                    self.max_rss_bytes = self.max_rss_bytes.max(ended.max_rss_bytes);
                    if ended.pid == self.script {
                        self.exit = Some(ended.exit);
                        events.push(Event::Exited { exit: ended.exit });
                    }
                }
                Reaped::NoneEnded => break true,
                Reaped::NoneLeft => break false,
            }
        };
        if !left {
            events.push(self.last_words(ties));
        }
        ties.say(&events);
        left
    }

    fn last_words(&self, ties: &Ties) -> Event {
        if ties.is_launcher_gone() {
            return Event::LauncherGone;
        }
        Event::Gone {
            swept: u32::try_from(self.swept.len()).unwrap_or(u32::MAX),
            max_rss_bytes: self.max_rss_bytes,
        }
    }

    fn advance(&mut self, ties: &Ties) {
        match self.phase {
            Phase::Killing { pause } => self.kill_again(pause),
            Phase::Running | Phase::Ending { .. } if ties.is_cut() => self.kill(),
            Phase::Running if self.exit.is_some() => self.end(),
            Phase::Ending { kill_at } if Instant::now() >= kill_at => self.kill(),
            Phase::Running | Phase::Ending { .. } => {}
        }
    }

    /// Asks the whole tree to end. Once only: what a trap starts in order to clean up is left its time.
    fn end(&mut self) {
        self.signal_all(Signal::SIGTERM);
        self.phase = Phase::Ending {
            kill_at: Instant::now() + self.grace,
        };
    }

    fn kill(&mut self) {
        self.kill_again(tree::SHORTEST_PAUSE);
    }

    fn kill_again(&mut self, pause: Duration) {
        let pause = match self.signal_all(Signal::SIGKILL) {
            0 => tree::LONGEST_PAUSE.min(pause * 2),
            _ => tree::SHORTEST_PAUSE,
        };
        self.phase = Phase::Killing { pause };
    }

    /// Signals the tree; says how many of it were seen for the first time since the script's own end.
    fn signal_all(&mut self, signal: Signal) -> usize {
        let signalled = tree::signal_all(signal);
        let before = self.swept.len();
        if self.exit.is_some() {
            self.swept.extend(signalled);
        }
        self.swept.len() - before
    }

    fn timeout(&self) -> PollTimeout {
        let wait = match self.phase {
            Phase::Running => return PollTimeout::NONE,
            Phase::Ending { kill_at } => kill_at.saturating_duration_since(Instant::now()),
            Phase::Killing { pause } => pause,
        };
        // Rounded up: a wait of less than a millisecond would otherwise spin.
        PollTimeout::try_from(wait + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX)
    }

    fn obey(&mut self, ties: &mut Ties) {
        while let Some(Command::Stop) = ties.next_command() {
            if let Phase::Running = self.phase {
                self.end();
            }
        }
    }
}
