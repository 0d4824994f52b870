//! The runner's side of a run's beginning: has a guard make the run ready, and then start it.
//!
//! Not here: following it to its end (`control`), reading the output (`execute::output`).

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::Path;
use std::process::{Command as Process, Stdio};
use std::sync::Arc;

use nix::sys::prctl;
use thiserror::Error;
use tokio::net::UnixStream;
use tokio::net::unix::pipe;

use super::control::{Control, Lost, send};
use super::guards::{Guards, send_with};
use super::protocol::{Command, Event, Refusal, Spec, line};
use super::server::ROLE;

/// A running launcher. Dropping it ends the launcher and every process below it.
///
/// A runner whose launcher is [`gone`](Self::gone) must not go on: it can neither start nor reliably end
/// anything. It calls [`end_all_descendants`](super::end_all_descendants), settles its runs as lost and ends.
pub struct Launcher {
    guards: Arc<Guards>,
    pid: u32,
}

/// A script that a guard makes ready, and of which nothing runs yet. Dropping it is the end of it.
pub struct Poised {
    stdout: pipe::Receiver,
    stderr: pipe::Receiver,
    control: Control,
    /// For another guard, should this one die before it is told to start anything.
    prepare: Vec<u8>,
    guards: Arc<Guards>,
}

/// One started script.
pub struct Execution {
    pub pid: u32,
    pub stdout: pipe::Receiver,
    pub stderr: pipe::Receiver,
    pub control: Control,
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
            guards: Arc::new(Guards::new(UnixStream::from_std(ours)?)),
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
        let _ = self.guards.channel().readable().await;
    }

    /// Hands one script to a guard, which makes everything ready and starts nothing. Does not wait for
    /// that: what the guard cannot do, [`Poised::start`] says.
    ///
    /// # Errors
    /// When there is no launcher, or the spec cannot be handed over.
    pub async fn prepare(&self, spec: Spec) -> Result<Poised, SpawnError> {
        let prepare = line(&Command::Prepare(Box::new(spec))).map_err(SpawnError::Unspeakable)?;
        let guard = self.guards.take().await;
        Poised::hand_over(&self.guards, guard, prepare).await
    }
}

impl Poised {
    async fn hand_over(
        guards: &Arc<Guards>,
        guard: io::Result<UnixStream>,
        prepare: Vec<u8>,
    ) -> Result<Self, SpawnError> {
        let guard = guard.map_err(|error| match error.kind() {
            io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => Lost::Launcher.into(),
            _ => SpawnError::Pipes(error),
        })?;
        let pipes = [pipe(), pipe()];
        let [(stdout, out), (stderr, err)] = all(pipes).map_err(SpawnError::Pipes)?;
        let control = Control::new(guard, guards);
        // A guard that is gone already is found out when the script is to start.
        if let Ok(sent) = send_with(control.stream(), &prepare, &[out, err]).await {
            let _ = send(control.stream(), &prepare[sent..]).await;
        }
        Ok(Self {
            stdout,
            stderr,
            control,
            prepare,
            guards: guards.clone(),
        })
    }

    /// Starts the script. Dropping the future ends whatever it has started.
    ///
    /// # Errors
    /// [`SpawnError::Refused`] says why the program did not start; nothing of it is left then.
    pub async fn start(self) -> Result<Execution, SpawnError> {
        let mut poised = self.with_a_guard_that_lives().await?;
        let _ = poised.control.say(&Command::Go).await;
        match poised.control.next_event().await? {
            Event::Spawned { pid } => Ok(Execution {
                pid,
                stdout: poised.stdout,
                stderr: poised.stderr,
                control: poised.control,
            }),
            other => Err(failed(other)),
        }
    }

    /// One that waited may have been killed just before, with nothing to show it yet: the launcher holds its
    /// socket, too, until it has looked after what the dead guard leaves. No other was told to start, so
    /// another may.
    async fn with_a_guard_that_lives(mut self) -> Result<Self, SpawnError> {
        match self.ready().await {
            Err(SpawnError::Lost(Lost::Guard)) => {}
            ready => return ready.map(|()| self),
        }
        let guard = self.guards.another().await;
        let mut second = Self::hand_over(&self.guards, guard, self.prepare).await?;
        second.ready().await?;
        Ok(second)
    }

    async fn ready(&mut self) -> Result<(), SpawnError> {
        match self.control.next_event().await? {
            Event::Ready => Ok(()),
            other => Err(failed(other)),
        }
    }
}

fn failed(event: Event) -> SpawnError {
    match event {
        Event::SpawnFailed { reason, message } => SpawnError::Refused { reason, message },
        // No guard says anything else before its script runs.
        _ => Lost::Launcher.into(),
    }
}

/// A pipe for output: our end and the script's.
fn pipe() -> io::Result<(pipe::Receiver, OwnedFd)> {
    let (ours, theirs) = io::pipe()?;
    Ok((pipe::Receiver::from_owned_fd(ours.into())?, theirs.into()))
}

fn all<T>([first, second]: [io::Result<T>; 2]) -> io::Result<[T; 2]> {
    Ok([first?, second?])
}
