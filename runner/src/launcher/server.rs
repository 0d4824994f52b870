//! The launcher process: forks a guard whenever it is asked for one, and ends what nobody guards.
//!
//! It parses nothing and starts no program itself, so a bad request cannot stop it from serving the next.

use std::collections::HashMap;
use std::fs;
use std::io::{self, IoSliceMut, PipeWriter, Write};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl;
use nix::sys::signal::{SigHandler, SigSet, Signal, kill, signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, UnixAddr, recvmsg};
use nix::unistd::{ForkResult, Pid, chdir, close, dup2_stdin, fork, getpid, setsid};

use super::guard;
use super::protocol::{Event, Exit, Refusal, line};
use super::tree::{self, Reaped, Snapshot};

/// The hidden first argument that makes the runner's binary a launcher.
pub(super) const ROLE: &str = "__launcher";

/// How long a dying launcher tries to end what is left. What survives this (uninterruptible, or of another
/// user) nobody can end.
const LAST_PATIENCE: Duration = Duration::from_secs(10);

/// Between two rounds of ending a dead guard's orphans.
const SWEEP_PAUSE: Duration = Duration::from_millis(2);

/// To be called first in `main`: if this process was started as a launcher it is one, and never returns.
pub fn take_over() {
    if std::env::args_os().nth(1).is_none_or(|role| role != ROLE) {
        return;
    }
    if let Err(error) = serve() {
        // The one place where launcher and guards can complain: stderr is the runner's.
        eprintln!("runner: the launcher failed: {error}");
        std::process::exit(1);
    }
    std::process::exit(0);
}

fn serve() -> io::Result<()> {
    let mut server = Server::settle()?;
    loop {
        match server.turn()? {
            Turn::Served => {}
            Turn::RunnerGone => {
                tree::end_all_descendants(LAST_PATIENCE);
                return Ok(());
            }
            Turn::BeGuard(control) => {
                let lifeline = server.become_guard();
                return guard::run(control, lifeline);
            }
        }
    }
}

/// What one wait came to.
enum Turn {
    Served,
    RunnerGone,
    /// This process is the child of a fork.
    BeGuard(UnixStream),
}

struct Server {
    /// From the runner: a control socket per request. Closes when the runner ends.
    channel: OwnedFd,
    signals: SignalFd,
    /// Each guard with a copy of its control socket: so the runner reads end-of-file for a guard that died
    /// only after its orphans are gone, too.
    guards: HashMap<Pid, OwnedFd>,
    /// The control sockets of guards that died before their time.
    unguarded: Vec<OwnedFd>,
    /// Held by the guards and closed by this process's death; nothing is ever written.
    lifeline: OwnedFd,
    _alive: PipeWriter,
}

impl Server {
    /// Leaves everything that was inherited, except stderr, and takes the channel from stdin.
    fn settle() -> io::Result<Self> {
        let _ = prctl::set_name(c"runner-launcher");
        close_inherited()?;
        let channel = io::stdin().as_fd().try_clone_to_owned()?;
        dup2_stdin(fs::File::open("/dev/null")?)?;
        setsid()?;
        chdir("/")?;
        prctl::set_child_subreaper(true)?;
        reset_signals()?;
        let mut child_ended = SigSet::empty();
        child_ended.add(Signal::SIGCHLD);
        let (lifeline, alive) = io::pipe()?;
        Ok(Self {
            channel,
            signals: SignalFd::with_flags(
                &child_ended,
                SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC,
            )?,
            guards: HashMap::new(),
            unguarded: Vec::new(),
            lifeline: lifeline.into(),
            _alive: alive,
        })
    }

    /// Closes, in a forked child, what belongs to the launcher alone.
    fn become_guard(self) -> OwnedFd {
        self.lifeline
    }

    fn turn(&mut self) -> io::Result<Turn> {
        self.reap();
        let timeout = if self.orphans_ended() {
            PollTimeout::NONE
        } else {
            PollTimeout::try_from(SWEEP_PAUSE).unwrap_or(PollTimeout::ZERO)
        };
        let mut ready = [
            PollFd::new(self.channel.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.signals.as_fd(), PollFlags::POLLIN),
        ];
        match poll(&mut ready, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        let requested = ready[0].any() == Some(true);
        while let Ok(Some(_)) = self.signals.read_signal() {}
        if requested {
            self.accept()
        } else {
            Ok(Turn::Served)
        }
    }

    fn reap(&mut self) {
        while let Reaped::One(ended) = tree::reap() {
            if let Some(control) = self.guards.remove(&ended.pid)
                && ended.exit != Exit::Code(0)
            {
                self.unguarded.push(control);
            }
        }
    }

    /// Kills what dead guards left, one round; true when nothing is left of it.
    fn orphans_ended(&mut self) -> bool {
        if self.unguarded.is_empty() {
            return true;
        }
        let Ok(snapshot) = Snapshot::take() else {
            return false;
        };
        let orphans = snapshot.below(getpid(), |child| self.guards.contains_key(&child));
        for orphan in &orphans {
            let _ = kill(*orphan, Signal::SIGKILL);
        }
        if orphans.is_empty() {
            self.unguarded.clear();
        }
        orphans.is_empty()
    }

    fn accept(&mut self) -> io::Result<Turn> {
        let control = match receive(&self.channel)? {
            Received::Request(control) => control,
            Received::Nothing => return Ok(Turn::Served),
            Received::Closed => return Ok(Turn::RunnerGone),
        };
        match forked() {
            Ok(ForkResult::Child) => return Ok(Turn::BeGuard(control)),
            Ok(ForkResult::Parent { child }) => {
                self.guards.insert(child, control.into());
            }
            Err(error) => refuse(&control, &error),
        }
        Ok(Turn::Served)
    }
}

fn forked() -> io::Result<ForkResult> {
    // SAFETY: this process has one thread, so the child may do whatever its parent may.
    #[allow(unsafe_code)]
    let forked = unsafe { fork() };
    Ok(forked?)
}

/// Tells the runner that this host has no room for one more process.
fn refuse(mut control: &UnixStream, error: &io::Error) {
    let refusal = Event::SpawnFailed {
        reason: Refusal::Other,
        message: format!("the launcher could not fork: {error}; the host is out of processes"),
    };
    if let Ok(line) = line(&refusal) {
        let _ = control.write_all(&line);
    }
}

enum Received {
    Request(UnixStream),
    Nothing,
    Closed,
}

fn receive(channel: &OwnedFd) -> io::Result<Received> {
    let mut byte = [0];
    let mut parts = [IoSliceMut::new(&mut byte)];
    let mut space = nix::cmsg_space!(RawFd);
    let flags = MsgFlags::MSG_CMSG_CLOEXEC | MsgFlags::MSG_DONTWAIT;
    let message =
        match recvmsg::<UnixAddr>(channel.as_raw_fd(), &mut parts, Some(&mut space), flags) {
            Ok(message) => message,
            Err(Errno::EAGAIN | Errno::EINTR) => return Ok(Received::Nothing),
            Err(Errno::ECONNRESET) => return Ok(Received::Closed),
            Err(error) => return Err(error.into()),
        };
    if message.bytes == 0 {
        return Ok(Received::Closed);
    }
    let mut received = Vec::new();
    for part in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(fds) = part {
            received.extend(fds.into_iter().map(owned));
        }
    }
    // It does arrive: this process holds one descriptor per guard where its runner, under the same limit,
    // holds more and so runs out first.
    Ok(match received.pop() {
        Some(control) => Received::Request(UnixStream::from(control)),
        None => Received::Nothing,
    })
}

/// A descriptor that has just been received.
pub(super) fn owned(fd: RawFd) -> OwnedFd {
    // SAFETY: the kernel has just made this descriptor for this process; nobody else knows its number.
    #[allow(unsafe_code)]
    unsafe {
        OwnedFd::from_raw_fd(fd)
    }
}

/// Closes what whoever started the runner left open. The runner's own descriptors close on exec.
fn close_inherited() -> io::Result<()> {
    let listed: Vec<RawFd> = fs::read_dir("/proc/self/fd")?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|fd| *fd > 2)
        .collect();
    for fd in listed {
        // The listing's own descriptor is closed already.
        let _ = close(fd);
    }
    Ok(())
}

/// Blocks every signal (the runner decides about the end, by closing the channel) and undoes what was
/// ignored by whoever started the runner, since ignored signals are inherited by scripts.
fn reset_signals() -> io::Result<()> {
    SigSet::all().thread_set_mask()?;
    for number in Signal::iterator() {
        // PIPE stays ignored here; the standard library resets it in what it spawns.
        if matches!(number, Signal::SIGKILL | Signal::SIGSTOP | Signal::SIGPIPE) {
            continue;
        }
        // SAFETY: the default disposition runs no code of ours.
        #[allow(unsafe_code)]
        unsafe { signal(number, SigHandler::SigDfl) }?;
    }
    Ok(())
}
