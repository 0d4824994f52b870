//! What ties a guard to its runner and its launcher: words and files from the one, and whether both live.
//!
//! Not here: what a guard does about any of it (`guard`, `watch`).

use std::io::{self, IoSliceMut, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

use nix::cmsg_space;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, UnixAddr, recvmsg};

use super::protocol::{Command, Event, Lines, line};
use super::server::owned;

/// Read at once: most specs are shorter.
const CHUNK: usize = 16 * 1024;

pub(super) struct Ties {
    /// `None` when the runner has closed it.
    control: Option<UnixStream>,
    lines: Lines,
    /// Came with the words.
    files: Vec<OwnedFd>,
    /// Never carries a byte; closes when the launcher dies. `None` when it has.
    lifeline: Option<OwnedFd>,
    child_ended: SignalFd,
}

impl Ties {
    pub fn new(control: UnixStream, lifeline: OwnedFd) -> io::Result<Self> {
        let mut child_ended = SigSet::empty();
        child_ended.add(Signal::SIGCHLD);
        let flags = SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC;
        Ok(Self {
            control: Some(control),
            lines: Lines::default(),
            files: Vec::new(),
            lifeline: Some(lifeline),
            child_ended: SignalFd::with_flags(&child_ended, flags)?,
        })
    }

    /// Waits for a child's end, a word from the runner, or the death of runner or launcher.
    pub fn wait(&mut self, timeout: PollTimeout) -> io::Result<()> {
        let mut ready = vec![PollFd::new(self.child_ended.as_fd(), PollFlags::POLLIN)];
        let (control, lifeline) = (self.control.as_ref(), self.lifeline.as_ref());
        ready.extend(control.map(|fd| PollFd::new(fd.as_fd(), PollFlags::POLLIN)));
        ready.extend(lifeline.map(|fd| PollFd::new(fd.as_fd(), PollFlags::POLLIN)));
        match poll(&mut ready, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        let woken = |fd: &PollFd<'_>| fd.any() == Some(true);
        let child_ended = woken(&ready[0]);
        let lifeline_closed = lifeline.is_some() && ready.last().is_some_and(woken);
        let control_woken = control.is_some() && ready.get(1).is_some_and(woken);
        while child_ended && matches!(self.child_ended.read_signal(), Ok(Some(_))) {}
        if lifeline_closed {
            self.lifeline = None;
        }
        if control_woken {
            self.listen();
        }
        Ok(())
    }

    /// The runner's next word that has arrived.
    pub fn next_command(&mut self) -> Option<Command> {
        self.lines.next().unwrap_or_else(|_| {
            self.control = None;
            None
        })
    }

    /// The files that came with the last words.
    pub fn take_files(&mut self) -> Vec<OwnedFd> {
        std::mem::take(&mut self.files)
    }

    /// Whether nobody wants the run any more: the runner has closed its end, or the launcher has died.
    pub fn is_cut(&self) -> bool {
        self.control.is_none() || self.lifeline.is_none()
    }

    pub fn is_launcher_gone(&self) -> bool {
        self.lifeline.is_none()
    }

    /// The runner may be gone; then the next wait finds out.
    pub fn say(&self, events: &[Event]) {
        let (Some(mut control), false) = (self.control.as_ref(), events.is_empty()) else {
            return;
        };
        let lines: Result<Vec<_>, _> = events.iter().map(line).collect();
        if let Ok(lines) = lines {
            let _ = control.write_all(&lines.concat());
        }
    }

    /// Reads what the runner sent.
    fn listen(&mut self) {
        let Some(control) = &self.control else { return };
        match receive(control, &mut self.lines, &mut self.files) {
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            Ok(Heard::Something) => {}
            Ok(Heard::End) | Err(_) => self.control = None,
        }
    }
}

enum Heard {
    Something,
    End,
}

fn receive(
    control: &UnixStream,
    lines: &mut Lines,
    files: &mut Vec<OwnedFd>,
) -> Result<Heard, Errno> {
    let mut bytes = [0; CHUNK];
    let mut parts = [IoSliceMut::new(&mut bytes)];
    let mut space = cmsg_space!([RawFd; 2]);
    let flags = MsgFlags::MSG_CMSG_CLOEXEC | MsgFlags::MSG_DONTWAIT;
    let message = recvmsg::<UnixAddr>(control.as_raw_fd(), &mut parts, Some(&mut space), flags)?;
    for part in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(fds) = part {
            files.extend(fds.into_iter().map(owned));
        }
    }
    let read = message.bytes;
    match lines.extend(&bytes[..read]) {
        Ok(()) if read > 0 => Ok(Heard::Something),
        _ => Ok(Heard::End),
    }
}
