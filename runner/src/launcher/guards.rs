//! The guards that a runner has: those that wait for a run, and how it comes by another.
//!
//! Not here: what is said to a guard (`client`, `control`).

use std::io::{self, IoSlice};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nix::errno::Errno;
use nix::sys::socket::{ControlMessage, MsgFlags, UnixAddr, recv, sendmsg};
use tokio::io::Interest;
use tokio::net::UnixStream;

/// Guards that wait at the same time. A run that ends leaves its guard to the next one, so that few wait
/// where many run; each takes a process and some hundred KiB.
const WAITING_MAX: usize = 4;

pub(super) struct Guards {
    /// To the launcher.
    channel: UnixStream,
    /// Those used last are at the end; they are taken first.
    waiting: Mutex<Vec<Arc<UnixStream>>>,
}

impl Guards {
    pub fn new(channel: UnixStream) -> Self {
        Self {
            channel,
            waiting: Mutex::default(),
        }
    }

    pub fn channel(&self) -> &UnixStream {
        &self.channel
    }

    /// One that waits, else a new one.
    ///
    /// # Errors
    /// When there is no launcher, or no descriptor for another socket. A launcher that cannot fork says so
    /// in the place of a guard.
    pub async fn take(&self) -> io::Result<UnixStream> {
        while let Some(guard) = self.pop() {
            // Not where somebody is about to ask for the end of the run before.
            if let Some(guard) = Arc::into_inner(guard)
                && is_silent(&guard)
            {
                return Ok(guard);
            }
        }
        self.another().await
    }

    /// A new one.
    ///
    /// # Errors
    /// As [`take`](Self::take).
    pub async fn another(&self) -> io::Result<UnixStream> {
        let (ours, theirs) = StdUnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let ours = UnixStream::from_std(ours)?;
        send_with(&self.channel, &[0], &[OwnedFd::from(theirs)]).await?;
        Ok(ours)
    }

    /// Its run is over and it waits; where enough do, it leaves.
    pub fn give_back(&self, guard: Arc<UnixStream>) {
        let mut waiting = self.waiting();
        if waiting.len() < WAITING_MAX {
            waiting.push(guard);
        }
    }

    /// Whether the launcher lives.
    pub fn is_launcher_alive(&self) -> bool {
        is_silent(&self.channel)
    }

    fn pop(&self) -> Option<Arc<UnixStream>> {
        self.waiting().pop()
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<Arc<UnixStream>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the other side, which has nothing to say now, has not closed its end.
fn is_silent(stream: &UnixStream) -> bool {
    let flags = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
    matches!(
        recv(stream.as_raw_fd(), &mut [0], flags),
        Err(Errno::EAGAIN)
    )
}

/// Sends bytes and, with the first of them, files. Says how many bytes went.
pub(super) async fn send_with(
    stream: &UnixStream,
    bytes: &[u8],
    files: &[OwnedFd],
) -> io::Result<usize> {
    let files: Vec<RawFd> = files.iter().map(AsRawFd::as_raw_fd).collect();
    let send = || {
        let rights = [ControlMessage::ScmRights(&files)];
        let bytes = [IoSlice::new(bytes)];
        let flags = MsgFlags::MSG_NOSIGNAL;
        sendmsg::<UnixAddr>(stream.as_raw_fd(), &bytes, &rights, flags, None)
            .map_err(io::Error::from)
    };
    stream.async_io(Interest::WRITABLE, send).await
}
