//! Work that must answer in time: on a thread of its own, with a deep stack, given up when it is late.
//! Knows nothing of schemas; the work itself calls [`stop_if_given_up`] as often as it can.

use std::cell::RefCell;
use std::fs;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use serde::Serialize;

/// Enough for the deepest parameters against the longest chain of references, in a debug build too.
/// Only what is used is ever backed by memory.
const STACK_BYTES: usize = 32 * 1024 * 1024;

/// Threads that were given up and have not noticed yet. Each ends at its next subschema, so they are few;
/// with this many, further work is refused rather than let them take every core.
const MAX_GIVEN_UP: usize = 8;

/// A deadline counts the time the work had a core for; on a host so busy that it hardly gets one, this
/// many deadlines on the wall are the end all the same.
const BUSY_HOST_FACTOR: u32 = 6;
/// Before a late answer is looked for again, at the least.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

static GIVEN_UP: AtomicUsize = AtomicUsize::new(0);

const RUNNING: u8 = 0;
const FINISHED: u8 = 1;
const ABANDONED: u8 = 2;

thread_local! {
    static STATE: RefCell<Option<Arc<AtomicU8>>> = const { RefCell::new(None) };
}

/// Why a check has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Unanswered {
    /// It took longer than it may.
    #[error("the check took longer than it may: simplify the schema or send less at once")]
    TooSlow,
    /// Too many checks were given up a moment ago and still run, or no thread could be started.
    #[error("too many slow checks are under way: try again in a few seconds")]
    TooBusy,
    /// The validator broke down, which is a fault of ours.
    #[error("the check broke down, which is a fault in this program: please report the schema")]
    Broken,
}

/// Does the work on another thread and waits for it no longer than the deadline.
pub(super) fn within<T: Send + 'static>(
    deadline: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Unanswered> {
    within_counted(&GIVEN_UP, deadline, work)
}

fn within_counted<T: Send + 'static>(
    given_up: &'static AtomicUsize,
    deadline: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Unanswered> {
    if given_up.load(Ordering::Acquire) >= MAX_GIVEN_UP {
        return Err(Unanswered::TooBusy);
    }
    let state = Arc::new(AtomicU8::new(RUNNING));
    let running = Running {
        state: state.clone(),
        given_up,
    };
    let (answer, answers) = mpsc::sync_channel(1);
    let clock = Arc::new(OnceLock::new());
    let own_clock = clock.clone();
    let body = move || {
        if let Some(path) = thread_clock() {
            let _ = own_clock.set(path);
        }
        STATE.set(Some(running.state.clone()));
        // Nobody listens once it is given up.
        let _ = answer.send(work());
        drop(running);
    };
    let thread = thread::Builder::new()
        .name("schema-check".into())
        .stack_size(STACK_BYTES);
    thread.spawn(body).map_err(|_| Unanswered::TooBusy)?;
    let mut waited = Duration::ZERO;
    let mut patience = deadline;
    loop {
        match answers.recv_timeout(patience) {
            Ok(answer) => return Ok(answer),
            Err(RecvTimeoutError::Disconnected) => return Err(Unanswered::Broken),
            Err(RecvTimeoutError::Timeout) => {}
        }
        // Not what the clock says: a process that was paused meanwhile did not wait.
        waited += patience;
        let worked = clock.get().and_then(|clock| time_on_core(clock));
        let left = deadline.saturating_sub(worked.unwrap_or(waited));
        if left.is_zero() || waited >= deadline * BUSY_HOST_FACTOR {
            give_up(&state, given_up);
            return Err(Unanswered::TooSlow);
        }
        patience = left.max(LOOK_AGAIN);
    }
}

/// Where Linux tells how long this thread has run; elsewhere the wall clock has to do.
fn thread_clock() -> Option<PathBuf> {
    let thread = fs::read_link("/proc/thread-self").ok()?;
    Some(Path::new("/proc").join(thread).join("schedstat"))
}

/// The first number there: nanoseconds on a core.
fn time_on_core(clock: &Path) -> Option<Duration> {
    let text = fs::read_to_string(clock).ok()?;
    let nanoseconds = text.split_whitespace().next()?.parse().ok()?;
    Some(Duration::from_nanos(nanoseconds))
}

/// Ends this thread by unwinding if nobody waits for it any more. Elsewhere it does nothing.
pub(super) fn stop_if_given_up() {
    let given_up = STATE.with_borrow(|state| {
        state
            .as_ref()
            .is_some_and(|state| state.load(Ordering::Relaxed) == ABANDONED)
    });
    if given_up {
        // Not `panic!`: nothing is wrong, so no panic hook shall print.
        resume_unwind(Box::new(Unanswered::TooSlow));
    }
}

/// Counted before it is marked, so that the thread cannot take itself off the count too early.
fn give_up(state: &AtomicU8, given_up: &AtomicUsize) {
    given_up.fetch_add(1, Ordering::AcqRel);
    let swapped = state.compare_exchange(RUNNING, ABANDONED, Ordering::AcqRel, Ordering::Acquire);
    if swapped.is_err() {
        given_up.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A thread at work; dropped when it ends, by unwinding too.
struct Running {
    state: Arc<AtomicU8>,
    given_up: &'static AtomicUsize,
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.state.swap(FINISHED, Ordering::AcqRel) == ABANDONED {
            self.given_up.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

/// For tests of work that must end itself.
#[cfg(test)]
pub(super) fn wait_until_none_is_given_up() {
    while GIVEN_UP.load(Ordering::Acquire) > 0 {
        thread::yield_now();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn answers_in_time() {
        assert_eq!(within(Duration::from_secs(60), || 7), Ok(7));
    }

    #[test]
    fn work_that_panics_is_broken() {
        let work = || resume_unwind(Box::new(()));
        assert_eq!(
            within::<()>(Duration::from_secs(60), work),
            Err(Unanswered::Broken)
        );
    }

    fn wait_for_none(given_up: &AtomicUsize) {
        while given_up.load(Ordering::Acquire) > 0 {
            thread::yield_now();
        }
    }

    #[test]
    fn late_work_ends_itself() {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let endless = || -> () {
            loop {
                stop_if_given_up();
                thread::yield_now();
            }
        };
        for _ in 0..3 * MAX_GIVEN_UP {
            let answer = within_counted(&COUNT, Duration::ZERO, endless);
            assert_eq!(answer, Err(Unanswered::TooSlow));
            wait_for_none(&COUNT);
        }
    }

    #[test]
    fn work_is_refused_while_too_much_was_given_up() {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let (release, released) = mpsc::channel::<()>();
        let released = Arc::new(Mutex::new(released));
        for _ in 0..MAX_GIVEN_UP {
            let released = released.clone();
            let deaf = move || {
                released
                    .lock()
                    .map(|released| released.recv().is_err())
                    .is_err()
            };
            let answer = within_counted(&COUNT, Duration::ZERO, deaf);
            assert_eq!(answer, Err(Unanswered::TooSlow));
        }
        let seven = || within_counted(&COUNT, Duration::from_secs(60), || 7);
        assert_eq!(seven(), Err(Unanswered::TooBusy));
        drop(release);
        wait_for_none(&COUNT);
        assert_eq!(seven(), Ok(7));
    }
}
