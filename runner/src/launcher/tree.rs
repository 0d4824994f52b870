//! The processes below one: found through `/proc`, signalled, reaped.
//!
//! A snapshot of `/proc` is never complete while processes fork, so killing is a loop: a process that has
//! been sent KILL cannot fork any more, its children fall to the subreaper, and the next round sees them.
//! Not here: when to do so (`guard`, `server`).

use std::collections::HashMap;
use std::fs;
use std::io;
use std::mem::MaybeUninit;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, getpid};

use super::protocol::Exit;

/// First wait between two rounds of killing: the kernel needs well under this to end a process.
pub(super) const SHORTEST_PAUSE: Duration = Duration::from_millis(1);
/// Longest one: for what cannot be killed at once (uninterruptible, or of another user).
pub(super) const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// Who is whose child, at about one moment.
pub(super) struct Snapshot {
    children: HashMap<Pid, Vec<Pid>>,
}

impl Snapshot {
    pub fn take() -> io::Result<Self> {
        let mut children: HashMap<Pid, Vec<Pid>> = HashMap::new();
        for entry in fs::read_dir("/proc")? {
            let name = entry?.file_name();
            let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            // One that ended between listing and reading is of no interest.
            let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else {
                continue;
            };
            if let Some(parent) = parent_in(&stat) {
                children.entry(parent).or_default().push(Pid::from_raw(pid));
            }
        }
        Ok(Self { children })
    }

    /// Every process below `root`, zombies included, without those below (and) a child of `root` that is
    /// `spared`.
    pub fn below(&self, root: Pid, spared: impl Fn(Pid) -> bool) -> Vec<Pid> {
        let mut found: Vec<Pid> = self.children_of(root).filter(|pid| !spared(*pid)).collect();
        let mut next = 0;
        while let Some(parent) = found.get(next).copied() {
            found.extend(self.children_of(parent));
            next += 1;
        }
        found
    }

    fn children_of(&self, parent: Pid) -> impl Iterator<Item = Pid> {
        self.children.get(&parent).into_iter().flatten().copied()
    }
}

/// The parent in a line of `/proc/<pid>/stat`. The name before it may hold anything, brackets too.
fn parent_in(stat: &str) -> Option<Pid> {
    let (_, after_name) = stat.rsplit_once(") ")?;
    let parent = after_name.split(' ').nth(1)?;
    Some(Pid::from_raw(parent.parse().ok()?))
}

/// Sends `signal` to everything below this process and says to whom.
///
/// A process id can in theory be used again between snapshot and signal; ids are handed out in a circle of at
/// least 32,768, so that takes a whole round within microseconds.
pub(super) fn signal_all(signal: Signal) -> Vec<Pid> {
    let Ok(snapshot) = Snapshot::take() else {
        return Vec::new();
    };
    let found = snapshot.below(getpid(), |_| false);
    for pid in &found {
        // Gone already, or of another user: the next round tells.
        let _ = kill(*pid, signal);
    }
    found
}

/// What a look at this process's own children found.
pub(super) enum Reaped {
    One(Ended),
    /// There are children, none has ended.
    NoneEnded,
    /// There is no child, so nothing at all below a subreaper.
    NoneLeft,
}

/// A child that has ended.
pub(super) struct Ended {
    pub pid: Pid,
    pub exit: Exit,
    /// Of itself, or of the largest process whose end it had waited for.
    pub max_rss_bytes: u64,
}

/// Takes the status of one child that has ended, without waiting.
///
/// Not `nix::sys::wait`: that takes the status of a child killed by a real-time signal and then loses it.
pub(super) fn reap() -> Reaped {
    let mut status = 0;
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: both are valid places for what the kernel writes, and live through the call.
    #[allow(unsafe_code)]
    let pid = unsafe { libc::wait4(-1, &raw mut status, libc::WNOHANG, usage.as_mut_ptr()) };
    match pid {
        0 => Reaped::NoneEnded,
        pid if pid > 0 => Reaped::One(Ended {
            pid: Pid::from_raw(pid),
            exit: exit_of(status),
            max_rss_bytes: max_rss_bytes(usage),
        }),
        _ if Errno::last() == Errno::ECHILD => Reaped::NoneLeft,
        _ => Reaped::NoneEnded,
    }
}

fn max_rss_bytes(usage: MaybeUninit<libc::rusage>) -> u64 {
    // SAFETY: zeroes are a `rusage`, too.
    #[allow(unsafe_code)]
    let kib = unsafe { usage.assume_init() }.ru_maxrss;
    u64::try_from(kib).unwrap_or(0) * 1024
}

fn exit_of(status: i32) -> Exit {
    let status = ExitStatus::from_raw(status);
    match (status.code(), status.signal()) {
        (Some(code), _) => Exit::Code(code),
        (None, signal) => Exit::Signal(signal.unwrap_or_default()),
    }
}

/// Kills everything below this process and waits until it is gone, at most `patience`; says whether it is.
///
/// For a process that is about to end: it takes the exit statuses of *all* children, whoever started them.
pub fn end_all_descendants(patience: Duration) -> bool {
    let deadline = Instant::now() + patience;
    let mut pause = SHORTEST_PAUSE;
    while !reap_all() {
        if Instant::now() >= deadline {
            return false;
        }
        signal_all(Signal::SIGKILL);
        thread::sleep(pause);
        pause = LONGEST_PAUSE.min(pause * 2);
    }
    true
}

/// Reaps what has ended; true when no child is left.
fn reap_all() -> bool {
    loop {
        match reap() {
            Reaped::One(..) => {}
            Reaped::NoneEnded => return false,
            Reaped::NoneLeft => return true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("12 (bash) S 7 12 12 0", Some(7))]
    #[case("12 (a) b) (c) S 7 12 12 0", Some(7))]
    #[case("12 () R 1", Some(1))]
    #[case("12 (bash", None)]
    #[case("", None)]
    fn the_parent_stands_after_the_name(#[case] stat: &str, #[case] parent: Option<i32>) {
        assert_eq!(parent_in(stat), parent.map(Pid::from_raw));
    }

    #[test]
    fn spared_children_keep_what_is_below_them() {
        let pid = Pid::from_raw;
        let snapshot = Snapshot {
            children: HashMap::from([
                (pid(1), vec![pid(2), pid(3)]),
                (pid(2), vec![pid(4)]),
                (pid(3), vec![pid(5)]),
                (pid(5), vec![pid(6)]),
            ]),
        };
        let found = snapshot.below(pid(1), |child| child == pid(2));
        assert_eq!(found, [pid(3), pid(5), pid(6)]);
    }

    #[rstest]
    #[case(0, Exit::Code(0))]
    #[case(3 << 8, Exit::Code(3))]
    #[case(9, Exit::Signal(9))]
    #[case(34, Exit::Signal(34))]
    fn a_wait_status_is_a_code_or_a_signal(#[case] status: i32, #[case] exit: Exit) {
        assert_eq!(exit_of(status), exit);
    }
}
