//! Starts and ends the processes of runs, so that none of them outlives its run or its runner.
//!
//! Three kinds of process stand between a runner and a script:
//!
//! ```text
//! runner ── launcher ── guard of run A ── script ── whatever it forks
//!                  └─── guard of run B ── script ── …
//! ```
//!
//! - The **launcher** is one small single-threaded process per runner. It only forks guards, and it ends
//!   everything below itself when its socket to the runner closes.
//! - A **guard** is a plain fork of the launcher, with one run at a time. As a child subreaper it inherits
//!   every orphan of its run and of no other one, whatever the script did: `setsid`, double fork, a cleared
//!   environment. When nothing of the run is left, it waits for the next one.
//! - The **runner** holds three descriptors per run: stdout, stderr and a control socket to the guard.
//!
//! A run begins in two steps, so that the second is short: its guard makes ready what it can, the sandbox's
//! rules too, and starts the script when it is told to. Before that word nothing of the run exists.
//!
//! Who dies, and what ends the tree then: the runner → the guards and the launcher read end-of-file; a guard
//! → its orphans fall to the launcher, which kills what it adopts; the launcher → the guards read end-of-file
//! on their lifeline, those that wait too; launcher and guard at once → the orphans fall to the runner, which calls
//! [`end_all_descendants`] on its way out. A script that runs as the same user and kills all three escapes.
//!
//! The launcher is the runner's own image started again (`/proc/self/exe` with a hidden first argument), not
//! a fork of the runner: so it may be started from a threaded process, carries none of the runner's memory,
//! and a fork of it stays cheap.
//!
//! Not here: what is run and with which environment (`execute`), and what a run's end means (the supervisor).

mod client;
mod control;
mod guard;
mod guards;
mod protocol;
mod script;
mod server;
mod ties;
mod tree;
mod watch;

pub use client::{Execution, Launcher, Poised, SpawnError};
pub use control::{Control, Finished, Lost, Stopper};
pub use protocol::{Exit, Refusal, ResourceLimits, Spec};
pub use server::take_over;
pub use tree::end_all_descendants;
