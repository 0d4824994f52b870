//! Short work on files, done on the very thread that everything else of the runner waits for: mostly it takes
//! microseconds, and another thread would take longer to wake.
//!
//! Not here: work that takes long by nature (unpacking, syncing, removing), which always goes elsewhere.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::task::block_in_place;

/// Longer than local disks ever take over what they have in memory. A network's may.
const SLOW: Duration = Duration::from_millis(5);

/// What is known of how fast the disk is.
#[derive(Debug, Default)]
pub struct Disk {
    was_slow: AtomicBool,
}

impl Disk {
    /// Does the work here, or, where it was slow the last time, lets others have this thread's tasks first.
    /// To be called in a runtime of several threads.
    pub fn work<T>(&self, work: impl FnOnce() -> T) -> T {
        let begun = Instant::now();
        let done = match self.was_slow.load(Ordering::Relaxed) {
            true => block_in_place(work),
            false => work(),
        };
        self.was_slow
            .store(begun.elapsed() > SLOW, Ordering::Relaxed);
        done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With one worker, nothing else goes on while that is blocked; so it must not be.
    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn others_go_on_while_a_slow_disk_works() {
        let task = tokio::spawn(async {
            let disk = Disk::default();
            disk.work(|| std::thread::sleep(SLOW * 2));
            let (sender, receiver) = std::sync::mpsc::channel();
            tokio::spawn(async move { sender.send(()) });
            disk.work(|| receiver.recv())
        });
        assert_eq!(task.await.unwrap(), Ok(()));
    }
}
