//! Bounds how much work may be done that keeps something in memory: the validator collects every error
//! before it hands out the first. Knows no time; that is `deadline`'s.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

thread_local! {
    static LEFT: Cell<Option<u32>> = const { Cell::new(None) };
}

/// What the work is unwound with.
struct OutOfSteps;

/// Does the work unless it takes more steps; nothing if it does.
pub(super) fn bounded<T>(steps: u32, work: impl FnOnce() -> T) -> Option<T> {
    LEFT.set(Some(steps));
    // The work only reads, so nothing half done is left behind.
    let done = catch_unwind(AssertUnwindSafe(work));
    LEFT.set(None);
    match done {
        Ok(done) => Some(done),
        Err(panic) if panic.is::<OutOfSteps>() => None,
        Err(panic) => resume_unwind(panic),
    }
}

/// Counts one step and ends the bounded work when there are no more. Elsewhere it does nothing.
pub(super) fn count() {
    match LEFT.get() {
        None => {}
        // Not `panic!`: nothing is wrong, so no panic hook shall print.
        Some(0) => resume_unwind(Box::new(OutOfSteps)),
        Some(left) => LEFT.set(Some(left - 1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_within_its_steps_is_done() {
        let work = || (0..5).for_each(|_| count());
        assert_eq!(bounded(5, work), Some(()));
        assert_eq!(bounded(4, work), None);
        work();
    }
}
