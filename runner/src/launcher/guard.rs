//! The guard of one run: has the script started, and ends everything the script leaves behind.
//!
//! A guard is forked from the launcher and never executes another image. It is single-threaded. It leaves
//! when nothing is below it; until then the runner's end of the control socket may say stop, or close.
//! Not here: how the script's own process is made (`script`), how its descendants are found (`tree`).

use std::collections::HashSet;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::socket::{MsgFlags, recv};
use nix::unistd::{Pid, setsid};

use crate::sandbox;

use super::protocol::{Command, Event, Exit, Lines, Spec, line};
use super::script::{no_sandbox, refusal, spawn};
use super::tree::{self, Reaped};

/// What the launcher hands to a guard.
pub(super) struct Files {
    pub stdout: OwnedFd,
    pub stderr: OwnedFd,
    pub control: UnixStream,
}

/// Is the guard of one run, from the request to the end of its last process.
pub(super) fn run(files: Files, lifeline: OwnedFd) -> io::Result<()> {
    let _ = prctl::set_name(c"runner-guard");
    setsid()?;
    prctl::set_child_subreaper(true)?;
    let mut lines = Lines::default();
    let Some(spec) = lines.read_one::<Spec>(&files.control)? else {
        return Ok(());
    };
    let control = files.control;
    // The guard goes along, so that the standard library may take `posix_spawn`: it needs no more than
    // `/proc` and signals to its own. The launcher stays outside, where no script's signal reaches it.
    if let Some(rules) = &spec.sandbox
        && let Err(error) = sandbox::restrict(rules)
    {
        return report(&control, &[no_sandbox(&error)]);
    }
    match spawn(&spec, files.stdout, files.stderr) {
        Ok(pid) => Guard::new(control, lines, lifeline, pid, spec.grace).watch(),
        Err(error) => report(&control, &[refusal(&spec, &error)]),
    }
}

fn report(mut control: &UnixStream, events: &[Event]) -> io::Result<()> {
    let mut bytes = Vec::new();
    for event in events {
        bytes.extend(line(event)?);
    }
    control.write_all(&bytes)
}

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

struct Guard {
    /// `None` when the runner has closed it.
    control: Option<UnixStream>,
    lines: Lines,
    /// Never carries a byte; closes when the launcher dies. `None` when it has.
    lifeline: Option<OwnedFd>,
    script: Pid,
    exit: Option<Exit>,
    grace: Duration,
    phase: Phase,
    /// Signalled after the script's own end.
    swept: HashSet<Pid>,
}

impl Guard {
    fn new(
        control: UnixStream,
        lines: Lines,
        lifeline: OwnedFd,
        script: Pid,
        grace: Duration,
    ) -> Self {
        Self {
            control: Some(control),
            lines,
            lifeline: Some(lifeline),
            script,
            exit: None,
            grace,
            phase: Phase::Running,
            swept: HashSet::new(),
        }
    }

    fn watch(mut self) -> io::Result<()> {
        let mut child_ended = SigSet::empty();
        child_ended.add(Signal::SIGCHLD);
        let signals = SignalFd::with_flags(&child_ended, SfdFlags::SFD_NONBLOCK)?;
        self.say(&[Event::Spawned {
            pid: self.script.as_raw().cast_unsigned(),
        }]);
        // A stop may have come together with the spec.
        self.obey();
        while self.reap() {
            self.advance();
            self.sleep(&signals)?;
        }
        Ok(())
    }

    /// Takes the status of what has ended and tells the runner; false when nothing is left.
    ///
    /// In the common case both events leave in one write and nobody looks into `/proc`.
    fn reap(&mut self) -> bool {
        let mut events = Vec::new();
        let left = loop {
            match tree::reap() {
                Reaped::One(pid, exit) if pid == self.script => {
                    self.exit = Some(exit);
                    events.push(Event::Exited { exit });
                }
                Reaped::One(..) => {}
                Reaped::NoneEnded => break true,
                Reaped::NoneLeft => break false,
            }
        };
        if !left {
            events.push(self.last_words());
        }
        self.say(&events);
        left
    }

    fn last_words(&self) -> Event {
        if self.lifeline.is_none() {
            return Event::LauncherGone;
        }
        Event::Gone {
            swept: u32::try_from(self.swept.len()).unwrap_or(u32::MAX),
            max_rss_bytes: max_rss_bytes(),
        }
    }

    fn advance(&mut self) {
        match self.phase {
            Phase::Running if self.exit.is_some() => self.end(),
            Phase::Ending { kill_at } if Instant::now() >= kill_at => self.kill(),
            Phase::Killing { pause } => self.kill_again(pause),
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

    /// Waits for a child's end, a word from the runner, the launcher's death or the next step's time.
    fn sleep(&mut self, signals: &SignalFd) -> io::Result<()> {
        let mut ready = vec![PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
        let (control, lifeline) = (self.control.as_ref(), self.lifeline.as_ref());
        ready.extend(control.map(|fd| PollFd::new(fd.as_fd(), PollFlags::POLLIN)));
        ready.extend(lifeline.map(|fd| PollFd::new(fd.as_fd(), PollFlags::POLLIN)));
        match poll(&mut ready, self.timeout()) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        let woken = |fd: &PollFd<'_>| fd.any() == Some(true);
        let lifeline_closed = lifeline.is_some() && ready.last().is_some_and(woken);
        let control_woken = control.is_some() && ready.get(1).is_some_and(woken);
        while let Ok(Some(_)) = signals.read_signal() {}
        if lifeline_closed {
            self.lifeline = None;
            self.kill();
        }
        if control_woken {
            self.listen();
        }
        Ok(())
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

    /// Reads what the runner sent. Its end of the socket closing means that nobody wants the run any more.
    fn listen(&mut self) {
        let Some(control) = &self.control else { return };
        let mut bytes = [0; 256];
        let read = recv(control.as_raw_fd(), &mut bytes, MsgFlags::MSG_DONTWAIT);
        match read {
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            Ok(read) if read > 0 && self.lines.extend(&bytes[..read]).is_ok() => self.obey(),
            _ => {
                self.control = None;
                self.kill();
            }
        }
    }

    fn obey(&mut self) {
        while let Ok(Some(Command::Stop)) = self.lines.next() {
            if let Phase::Running = self.phase {
                self.end();
            }
        }
    }

    /// The runner may be gone; then the socket says so to `listen`.
    fn say(&self, events: &[Event]) {
        if let (Some(control), false) = (&self.control, events.is_empty()) {
            let _ = report(control, events);
        }
    }
}

/// The largest process of the tree. Never below the guard's own few MiB: the kernel counts what a process
/// held before its exec.
fn max_rss_bytes() -> u64 {
    let kib = getrusage(UsageWho::RUSAGE_CHILDREN).map_or(0, |usage| usage.max_rss());
    u64::try_from(kib).unwrap_or(0) * 1024
}
