//! Stops a real process before one of the system calls by which it changes files, as the n-th crash of a
//! machine would: the program is the one that is shipped and does not know. Linux's ptrace; whether
//! what is left on the disk is good is the story's to say.

use crate::process::Process;
use nix::errno::Errno;
use nix::libc;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;
use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread::JoinHandle;

/// A process whose steps are counted, and that is killed before one of them.
pub struct Stepped(JoinHandle<usize>);

/// System calls that change what is on the disk, whatever their arguments.
const CHANGES: &[libc::c_long] = &[
    #[cfg(target_arch = "x86_64")]
    libc::SYS_mkdir,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_rename,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_rmdir,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_symlink,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_unlink,
    libc::SYS_fchmod,
    libc::SYS_fdatasync,
    libc::SYS_fsync,
    libc::SYS_mkdirat,
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_symlinkat,
    libc::SYS_unlinkat,
];

impl Stepped {
    /// Kills the process with its `step`-th change, which does not happen.
    ///
    /// # Panics
    /// Where this user may not trace: such stories are `cfg(traces)`.
    pub fn before(process: &Process, step: usize, folder: &Path) -> Self {
        let pid = Pid::from_raw(i32::try_from(process.pid()).unwrap());
        let (ready, attached) = mpsc::channel();
        let folder = folder.to_owned();
        // A tracee belongs to the thread that attached it.
        let tracing = std::thread::spawn(move || {
            let seized = seize(pid);
            ready.send(seized).unwrap();
            match seized {
                Ok(()) => follow(pid, step, &folder),
                Err(_) => 0,
            }
        });
        attached.recv().unwrap().expect("this user may trace");
        Self(tracing)
    }

    /// Whether the process is gone. Nobody may wait for the process itself before this says so: a wait
    /// takes the stops that are for the tracer, for it is another thread of the same process.
    pub fn is_over(&self) -> bool {
        self.0.is_finished()
    }

    /// The steps that were begun, once the process is gone.
    pub fn count(self) -> usize {
        self.0.join().unwrap()
    }
}

/// All threads there are; those that come are traced with them.
fn seize(pid: Pid) -> nix::Result<()> {
    let options = Options::PTRACE_O_TRACESYSGOOD | Options::PTRACE_O_TRACECLONE;
    let mut seen = HashSet::new();
    loop {
        let threads = fs::read_dir(format!("/proc/{pid}/task")).map_err(|_| Errno::ESRCH)?;
        let threads = threads.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        let fresh: Vec<i32> = threads.filter(|thread| seen.insert(*thread)).collect();
        if fresh.is_empty() {
            return Ok(());
        }
        for thread in fresh.into_iter().map(Pid::from_raw) {
            match ptrace::seize(thread, options) {
                Ok(()) => ptrace::interrupt(thread)?,
                // It ended meanwhile, or was attached with the one that made it.
                Err(Errno::ESRCH) => {}
                Err(Errno::EPERM) if thread != pid => {}
                Err(error) => return Err(error),
            }
        }
    }
}

fn follow(pid: Pid, step: usize, folder: &Path) -> usize {
    let (mut within, mut steps) = (HashSet::new(), 0);
    let flags = WaitPidFlag::WEXITED
        | WaitPidFlag::WSTOPPED
        | WaitPidFlag::__WALL
        | WaitPidFlag::__WNOTHREAD;
    loop {
        // The end of the process is only looked at: it is for who started it.
        let status = match waitid(Id::All, flags | WaitPidFlag::WNOWAIT) {
            Ok(WaitStatus::Exited(gone, _) | WaitStatus::Signaled(gone, ..)) if gone == pid => {
                return steps;
            }
            Ok(status) => status.pid().map_or(Ok(status), |thread| {
                waitid(Id::Pid(thread), flags | WaitPidFlag::WNOHANG)
            }),
            Err(error) => Err(error),
        };
        let status = match status {
            Ok(status) => status,
            Err(Errno::EINTR) => continue,
            Err(_) => return steps,
        };
        match status {
            WaitStatus::PtraceSyscall(thread) => {
                // The same stop stands for the beginning of a call and for its end.
                let begins = within.insert(thread) || !within.remove(&thread);
                if begins && changes(thread, folder) {
                    steps += 1;
                    if steps == step {
                        let _ = kill(pid, Signal::SIGKILL);
                        continue;
                    }
                }
                go_on(thread, None);
            }
            // A signal on its way to the thread is told as an event without a number.
            WaitStatus::Stopped(thread, signal) | WaitStatus::PtraceEvent(thread, signal, 0) => {
                go_on(thread, Some(signal));
            }
            WaitStatus::PtraceEvent(thread, ..) => go_on(thread, None),
            _ => {}
        }
    }
}

/// A thread that was killed meanwhile cannot go on, and need not.
fn go_on(thread: Pid, signal: Option<Signal>) {
    let _ = ptrace::syscall(thread, signal);
}

/// Whether the call that the thread is about to make changes something. Writes count where they go to
/// files below the folder; the rest of a runner's writes are its talk.
fn changes(thread: Pid, folder: &Path) -> bool {
    let call = fs::read_to_string(format!("/proc/{thread}/syscall")).unwrap_or_default();
    let mut words = call.split_whitespace();
    let number = words.next().and_then(|word| word.parse().ok());
    let Some(number): Option<libc::c_long> = number else {
        return false;
    };
    if number != libc::SYS_write {
        return CHANGES.contains(&number);
    }
    let file = words.next().and_then(|word| word.strip_prefix("0x"));
    let file = file.and_then(|word| u64::from_str_radix(word, 16).ok());
    let file = file.map(|file| PathBuf::from(format!("/proc/{thread}/fd/{file}")));
    file.and_then(|file| fs::read_link(file).ok())
        .is_some_and(|file| file.starts_with(folder))
}
