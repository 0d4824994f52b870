//! The runner's side: asks the launcher for a run's processes and follows them to their end.
//!
//! Not here: reading the output (`execute::output`), and deciding what an end means (the supervisor).

use std::io::{self, IoSlice};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::Path;
use std::process::{Command as Process, Stdio};
use std::sync::{Arc, Weak};

use nix::sys::prctl;
use nix::sys::socket::{ControlMessage, MsgFlags, UnixAddr, recv, sendmsg};
use thiserror::Error;
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::net::unix::pipe;

use super::protocol::{Command, Event, Exit, Lines, Refusal, Spec, line};
use super::server::ROLE;

/// A running launcher. Dropping it ends the launcher and every process below it.
///
/// A runner whose launcher is [`gone`](Self::gone) must not go on: it can neither start nor reliably end
/// anything. It calls [`end_all_descendants`](super::end_all_descendants), settles its runs as lost and ends.
pub struct Launcher {
    channel: Arc<UnixStream>,
    pid: u32,
}

/// One started script.
pub struct Execution {
    pub pid: u32,
    pub stdout: pipe::Receiver,
    pub stderr: pipe::Receiver,
    pub control: Control,
}

/// The runner's hold on a run's processes. Dropping it kills all of them at once.
pub struct Control {
    stream: Arc<UnixStream>,
    launcher: Weak<UnixStream>,
    lines: Lines,
    exit: Option<Exit>,
}

/// Asks a run's processes to end; may be held and used while another task waits. Does not keep them alive.
#[derive(Clone)]
pub struct Stopper(Weak<UnixStream>);

/// The end of a run's last process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finished {
    /// How the script's own process ended.
    pub exit: Exit,
    /// Processes that were still there after it and had to be ended.
    pub swept: u32,
    /// Resident memory of the largest process.
    pub max_rss_bytes: u64,
}

/// Why the end of a run's script is not known. Its processes are gone all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Lost {
    #[error(
        "the process that guards the run was killed from outside, and the script with it; run it again if that is safe"
    )]
    Guard,
    #[error(
        "the runner's launcher was killed from outside, and all its scripts with it; the runner has to be started again"
    )]
    Launcher,
}

#[derive(Debug, Error)]
pub enum SpawnError {
    /// The message names the path in question.
    #[error("{message}")]
    Refused { reason: Refusal, message: String },
    #[error(transparent)]
    Lost(#[from] Lost),
    #[error("the program or working directory is not a Unicode path; move it to one that is")]
    Unspeakable(#[source] serde_json::Error),
    #[error(
        "the runner could not open or use the pipes of a new process; raise its limit of open files"
    )]
    Pipes(#[source] io::Error),
}

impl Launcher {
    /// Starts a launcher from this program's own image, whose `main` must begin with
    /// [`take_over`](super::take_over). Call it within the runtime, before any run.
    ///
    /// # Errors
    /// When the process cannot be started.
    pub fn start() -> io::Result<Self> {
        Self::start_image(Path::new("/proc/self/exe"))
    }

    /// The same from the image of another program (a runner's), for tests.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn start_image(image: &Path) -> io::Result<Self> {
        // Last resort: what launcher and guard can no longer end falls to this process.
        prctl::set_child_subreaper(true)?;
        let (ours, theirs) = StdUnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let process = Process::new(image)
            .arg(ROLE)
            .env_clear()
            .stdin(OwnedFd::from(theirs))
            .stdout(Stdio::null())
            .spawn()?;
        Ok(Self {
            channel: Arc::new(UnixStream::from_std(ours)?),
            pid: process.id(),
        })
    }

    /// The launcher's process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Resolves when the launcher has died.
    pub async fn gone(&self) {
        // A launcher never sends anything, so readable means closed; an error means the runtime ends.
        let _ = self.channel.readable().await;
    }

    /// Starts one script. Dropping the future ends whatever it has started.
    ///
    /// # Errors
    /// [`SpawnError::Refused`] says why the program did not start; nothing of it is left then.
    pub async fn spawn(&self, spec: &Spec) -> Result<Execution, SpawnError> {
        let spec = line(spec).map_err(SpawnError::Unspeakable)?;
        let pipes = Pipes::open().map_err(SpawnError::Pipes)?;
        let theirs = [&pipes.stdout.1, &pipes.stderr.1, &pipes.control.1];
        hand_over(&self.channel, theirs.map(AsRawFd::as_raw_fd))
            .await
            .map_err(|error| match error.kind() {
                io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => Lost::Launcher.into(),
                _ => SpawnError::Pipes(error),
            })?;
        drop((pipes.stdout.1, pipes.stderr.1, pipes.control.1));
        let mut control = Control {
            stream: Arc::new(pipes.control.0),
            launcher: Arc::downgrade(&self.channel),
            lines: Lines::default(),
            exit: None,
        };
        // A guard that is gone already is found out by the read that follows.
        let _ = send(&control.stream, &spec).await;
        match control.next_event().await? {
            Event::Spawned { pid } => Ok(Execution {
                pid,
                stdout: pipes.stdout.0,
                stderr: pipes.stderr.0,
                control,
            }),
            Event::SpawnFailed { reason, message } => Err(SpawnError::Refused { reason, message }),
            Event::Exited { .. } | Event::Gone { .. } | Event::LauncherGone => {
                Err(Lost::Launcher.into())
            }
        }
    }
}

impl Control {
    #[must_use]
    pub fn stopper(&self) -> Stopper {
        Stopper(Arc::downgrade(&self.stream))
    }

    /// Resolves when the script's own process has ended. Safe to cancel and to call again.
    ///
    /// # Errors
    /// When launcher or guard were killed; nothing of the tree is left then.
    pub async fn exited(&mut self) -> Result<Exit, Lost> {
        loop {
            if let Some(exit) = self.exit {
                return Ok(exit);
            }
            self.follow().await?;
        }
    }

    /// Resolves when nothing of the tree is left. Safe to cancel and to call again until it has resolved.
    ///
    /// What cannot be killed (uninterruptible, or of another user, as after `sudo`) keeps this waiting.
    ///
    /// # Errors
    /// When launcher or guard were killed; nothing of the tree is left then either.
    pub async fn wait(&mut self) -> Result<Finished, Lost> {
        loop {
            if let Some(finished) = self.follow().await? {
                return Ok(finished);
            }
        }
    }

    async fn follow(&mut self) -> Result<Option<Finished>, Lost> {
        match (self.next_event().await?, self.exit) {
            (Event::Exited { exit }, _) => {
                self.exit = Some(exit);
                Ok(None)
            }
            (
                Event::Gone {
                    swept,
                    max_rss_bytes,
                },
                Some(exit),
            ) => Ok(Some(Finished {
                exit,
                swept,
                max_rss_bytes,
            })),
            (Event::LauncherGone, _) => Err(Lost::Launcher),
            // No guard says anything else at this point.
            (Event::Gone { .. } | Event::Spawned { .. } | Event::SpawnFailed { .. }, _) => {
                Err(Lost::Guard)
            }
        }
    }

    /// The guard's next word.
    async fn next_event(&mut self) -> Result<Event, Lost> {
        let mut bytes = [0; 1024];
        loop {
            match self.lines.next() {
                Ok(Some(event)) => return Ok(event),
                Ok(None) => {}
                Err(_) => return Err(self.lost()),
            }
            match receive(&self.stream, &mut bytes).await {
                Ok(0) | Err(_) => return Err(self.lost()),
                Ok(read) => self.lines.extend(&bytes[..read]).map_err(|_| self.lost())?,
            }
        }
    }

    /// Whose death it was that closed the socket.
    fn lost(&self) -> Lost {
        let Some(channel) = self.launcher.upgrade() else {
            return Lost::Launcher;
        };
        let flags = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
        match recv(channel.as_raw_fd(), &mut [0], flags) {
            Err(nix::errno::Errno::EAGAIN) => Lost::Guard,
            _ => Lost::Launcher,
        }
    }
}

impl Stopper {
    /// TERM to the whole tree, KILL after the grace time. Without effect on a tree that is ending or gone.
    pub fn stop(&self) {
        if let (Some(stream), Ok(command)) = (self.0.upgrade(), line(&Command::Stop)) {
            // The few bytes always fit, or the guard is gone and there is nothing to stop.
            let _ = stream.try_write(&command);
        }
    }
}

/// Both ends of what connects the runner with a guard: ours first.
struct Pipes {
    stdout: (pipe::Receiver, OwnedFd),
    stderr: (pipe::Receiver, OwnedFd),
    control: (UnixStream, OwnedFd),
}

impl Pipes {
    fn open() -> io::Result<Self> {
        let output = || -> io::Result<_> {
            let (ours, theirs) = io::pipe()?;
            Ok((
                pipe::Receiver::from_owned_fd(ours.into())?,
                OwnedFd::from(theirs),
            ))
        };
        let (ours, theirs) = StdUnixStream::pair()?;
        ours.set_nonblocking(true)?;
        Ok(Self {
            stdout: output()?,
            stderr: output()?,
            control: (UnixStream::from_std(ours)?, theirs.into()),
        })
    }
}

/// Sends the launcher the descriptors of one run; it needs no words.
async fn hand_over(channel: &UnixStream, fds: [i32; 3]) -> io::Result<()> {
    channel
        .async_io(Interest::WRITABLE, || {
            let rights = [ControlMessage::ScmRights(&fds)];
            let byte = [IoSlice::new(&[0])];
            let flags = MsgFlags::MSG_NOSIGNAL;
            sendmsg::<UnixAddr>(channel.as_raw_fd(), &byte, &rights, flags, None)
                .map_err(io::Error::from)
        })
        .await?;
    Ok(())
}

async fn send(stream: &UnixStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        stream.writable().await?;
        match stream.try_write(bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

async fn receive(stream: &UnixStream, bytes: &mut [u8]) -> io::Result<usize> {
    loop {
        stream.readable().await?;
        match stream.try_read(bytes) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            done => return done,
        }
    }
}
