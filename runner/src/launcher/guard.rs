//! A guard: takes runs one after the other, has each one's script started, and ends everything it leaves
//! behind.
//!
//! A guard is forked from the launcher and never executes another image. It is single-threaded. It waits for
//! its next run when nothing of the last one is left below it, and leaves when runner or launcher do. Nothing
//! of a run stays with it: limits, folder, umask and sandbox are those of the script's process alone.
//! Not here: how that process is made (`script`), and what follows until its tree is gone (`watch`).

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use nix::poll::PollTimeout;
use nix::sys::prctl;
use nix::unistd::setsid;

use super::protocol::{Command, Event, Spec};
use super::script::Script;
use super::ties::Ties;
use super::watch::Watch;

/// Is a guard, until nobody needs it.
pub(super) fn run(control: UnixStream, lifeline: OwnedFd) -> io::Result<()> {
    let _ = prctl::set_name(c"runner-guard");
    setsid()?;
    prctl::set_child_subreaper(true)?;
    let mut ties = Ties::new(control, lifeline)?;
    while let Some(spec) = next_run(&mut ties)? {
        let output = ties.take_files();
        let script = match Script::prepare(&spec, output) {
            Ok(script) => script,
            Err(refusal) => {
                ties.say(&[refusal]);
                continue;
            }
        };
        ties.say(&[Event::Ready]);
        if !told_to_go(&mut ties)? {
            return Ok(());
        }
        match script.spawn(&spec) {
            Ok(pid) => Watch::new(pid, spec.grace).until_gone(&mut ties)?,
            Err(refusal) => ties.say(&[refusal]),
        }
    }
    Ok(())
}

/// What is to be run next; `None` when there will be nothing any more.
fn next_run(ties: &mut Ties) -> io::Result<Option<Box<Spec>>> {
    loop {
        match ties.next_command() {
            Some(Command::Prepare(spec)) => return Ok(Some(spec)),
            // For the run before this, which had ended by itself meanwhile.
            Some(Command::Stop | Command::Go) => {}
            None if ties.is_cut() => return Ok(None),
            None => ties.wait(PollTimeout::NONE)?,
        }
    }
}

/// Whether the run may start now; else it is not wanted any more.
fn told_to_go(ties: &mut Ties) -> io::Result<bool> {
    loop {
        match ties.next_command() {
            Some(Command::Go) => return Ok(!ties.is_cut()),
            Some(Command::Stop | Command::Prepare(_)) => return Ok(false),
            None if ties.is_cut() => return Ok(false),
            None => ties.wait(PollTimeout::NONE)?,
        }
    }
}
