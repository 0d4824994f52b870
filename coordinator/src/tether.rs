//! Ties a child process to us: however we end, also by `kill -9`, it ends too.
//!
//! A death signal follows the *thread* that spawns, so that thread has to live as long as we do.

use nix::errno::Errno;
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

/// The child gets KILL when the spawning thread ends. KILL and not TERM: one that is stuck must go
/// as well; a regular end is asked for with TERM before.
#[allow(unsafe_code)]
pub fn tie(command: &mut Command) {
    let parent = Pid::this();
    // SAFETY: between fork and exec only async-signal-safe calls are allowed. The closure makes two
    // system calls (prctl, getppid) and builds an error from a plain number; it does not allocate,
    // lock or touch memory of other threads.
    unsafe {
        command.pre_exec(move || die_with_parent(parent));
    }
}

#[cfg(target_os = "linux")]
fn die_with_parent(parent: Pid) -> io::Result<()> {
    nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?;
    // The parent may have died before the line above: then no signal comes any more.
    if Pid::parent() == parent {
        Ok(())
    } else {
        Err(Errno::ESRCH.into())
    }
}

/// Elsewhere there is no such signal.
#[cfg(not(target_os = "linux"))]
fn die_with_parent(_parent: Pid) -> io::Result<()> {
    Ok(())
}
