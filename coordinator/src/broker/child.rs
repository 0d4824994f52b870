//! One nats-server process: how it is started so that it cannot outlive this one.
//!
//! Must be called on a thread that lives until the process is gone: a death signal follows the
//! thread that spawned, not its process. Restarting is `keeper`'s matter.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::files::Folder;
use super::lock::Lock;
use crate::tether;

/// What a server is started with.
#[derive(Debug)]
pub(super) struct Launch {
    pub program: PathBuf,
    pub folder: Folder,
    /// Inherited by the server, so that it holds for as long as either of us lives.
    pub lock: Lock,
}

impl Launch {
    pub fn spawn(&self) -> io::Result<Child> {
        forget_earlier_servers(&self.folder.ports())?;
        let mut command = Command::new(&self.program);
        command
            .arg("--config")
            .arg(self.folder.main_conf())
            .arg("--ports_file_dir")
            .arg(self.folder.ports())
            .current_dir(self.folder.root())
            // Nothing in our environment is meant for it, and tokens may be in there.
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            // Ctrl-C on the terminal is for us; we stop the server when nothing needs it.
            .process_group(0);
        tie_to_us(&mut command, self.lock.file().as_raw_fd());
        command.spawn()
    }

    /// Whether the server with this process id has said that it listens.
    pub fn listens(&self, process: u32) -> bool {
        let said = format!("_{process}.ports");
        fs::read_dir(self.folder.ports()).is_ok_and(|entries| {
            entries
                .filter_map(Result::ok)
                .any(|entry| entry.file_name().to_string_lossy().ends_with(&said))
        })
    }
}

/// Sends a signal to a child that has not been waited for yet, so its id is still its own.
pub(super) fn signal(child: &Child, signal: Signal) {
    let Ok(id) = i32::try_from(child.id()) else {
        return;
    };
    if let Err(error) = kill(Pid::from_raw(id), signal) {
        tracing::warn!(%error, %signal, "cannot signal nats-server");
    }
}

/// A process id may come round again; its old ports file must not speak for the new server.
fn forget_earlier_servers(ports: &Path) -> io::Result<()> {
    for entry in fs::read_dir(ports)? {
        fs::remove_file(entry?.path())?;
    }
    Ok(())
}

/// What it acknowledged is with the operating system already, so KILL costs nothing. Where there
/// is no death signal the inherited lock still keeps a second server away.
#[allow(unsafe_code)]
fn tie_to_us(command: &mut Command, lock: RawFd) {
    tether::tie(command);
    // SAFETY: between fork and exec only async-signal-safe calls are allowed. The closure makes one
    // system call (fcntl) and builds an error from a plain number; it does not allocate, lock or
    // touch memory of other threads. `lock` stays open while the command is spawned, because the
    // `Launch` that owns it is borrowed until then.
    unsafe {
        command.pre_exec(move || keep_over_exec(lock));
    }
}

/// The descriptor is closed on exec by default; without that flag the server inherits it.
#[allow(unsafe_code)]
fn keep_over_exec(lock: RawFd) -> io::Result<()> {
    // SAFETY: a system call on a number; it reads and writes no memory of ours.
    let answer = unsafe { nix::libc::fcntl(lock, nix::libc::F_SETFD, 0) };
    Errno::result(answer).map(drop).map_err(io::Error::from)
}
