//! The runner's hold on a run at work: follows its processes to their end, or has them ended.
//!
//! Not here: how a run begins (`client`), and what an end means (the supervisor).

use std::io;
use std::sync::{Arc, Weak};

use thiserror::Error;
use tokio::net::UnixStream;

use super::guards::Guards;
use super::protocol::{Command, Event, Exit, Lines, line};

/// The runner's hold on a run's processes. Dropping it kills all of them at once.
pub struct Control {
    stream: Arc<UnixStream>,
    guards: Weak<Guards>,
    lines: Lines,
    exit: Option<Exit>,
    /// Nothing of the run is left, and its guard waits for another.
    is_over: bool,
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

impl Control {
    pub(super) fn new(guard: UnixStream, guards: &Arc<Guards>) -> Self {
        Self {
            stream: Arc::new(guard),
            guards: Arc::downgrade(guards),
            lines: Lines::default(),
            exit: None,
            is_over: false,
        }
    }

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
            ) => {
                self.is_over = true;
                Ok(Some(Finished {
                    exit,
                    swept,
                    max_rss_bytes,
                }))
            }
            (Event::LauncherGone, _) => Err(Lost::Launcher),
            // No guard says anything else at this point.
            (
                Event::Ready
                | Event::Gone { .. }
                | Event::Spawned { .. }
                | Event::SpawnFailed { .. },
                _,
            ) => Err(Lost::Guard),
        }
    }

    pub(super) async fn say(&self, command: &Command) -> io::Result<()> {
        send(&self.stream, &line(command)?).await
    }

    pub(super) fn stream(&self) -> &UnixStream {
        &self.stream
    }

    /// The guard's next word.
    pub(super) async fn next_event(&mut self) -> Result<Event, Lost> {
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
        match self.guards.upgrade() {
            Some(guards) if guards.is_launcher_alive() => Lost::Guard,
            _ => Lost::Launcher,
        }
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        if let (true, Some(guards)) = (self.is_over, self.guards.upgrade()) {
            guards.give_back(self.stream.clone());
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

pub(super) async fn send(stream: &UnixStream, mut bytes: &[u8]) -> io::Result<()> {
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
