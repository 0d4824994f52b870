//! What `coordinator bench sync` compares with, on the same broker: one plain message to many
//! connections, and bundles fetched and unpacked one after the other with nothing of a runner around.
//! A question per line on stdin, an answer per line on stdout; times are in microseconds.

use crate::config::Settings;
use crate::join::{JoinError, Membership};
use events::RunnerId;
use events::log::jetstream::{Access, AskError, ConnectError, Connection};
use events::log::{BundleError, Bundles as _};
use futures::StreamExt as _;
use schemas::Digest;
use schemas::bundle::Folder;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::sync::mpsc;

/// All hear the first shout only once all have subscribed; until then it is repeated.
const WARM_UP_PATIENCE: Duration = Duration::from_millis(200);
/// Between two tries to be let in.
const KNOCK_PAUSE: Duration = Duration::from_millis(50);
/// A plain message may be lost, and then a floor is not to be had.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Question {
    /// Say one thing to all.
    Shout,
    /// Fetch these and unpack them below the project folder.
    Unpack { digests: Vec<Digest> },
}

#[derive(Serialize)]
struct Answer {
    /// Of each listener, or of everything unpacked.
    micros: Vec<u64>,
}

/// Why there is no floor.
#[derive(Debug, thiserror::Error)]
pub enum FloorError {
    #[error(transparent)]
    Join(#[from] JoinError),
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error(transparent)]
    Ask(#[from] AskError),
    #[error("a plain message did not reach all who listen")]
    Unheard,
    #[error(transparent)]
    Bundle(#[from] BundleError),
    #[error("the floor's questions, answers or files cannot be read or written")]
    Io(#[from] io::Error),
}

/// Answers until stdin ends.
pub async fn floor(settings: &Settings, count: u32) -> Result<(), FloorError> {
    let membership = crate::join::membership(settings).await?;
    let mut crowd = Crowd::gather(&membership, count).await?;
    let mut questions = BufReader::new(tokio::io::stdin()).lines();
    let mut stdout = tokio::io::stdout();
    while let Some(line) = questions.next_line().await? {
        let micros = match serde_json::from_str(&line).map_err(io::Error::other)? {
            Question::Shout => crowd.shout(PATIENCE).await?,
            Question::Unpack { digests } => {
                let taken = unpack(&crowd.speaker, &digests, &settings.project_dir).await?;
                vec![micros(taken)]
            }
        };
        let mut answer = serde_json::to_vec(&Answer { micros }).map_err(io::Error::other)?;
        answer.push(b'\n');
        stdout.write_all(&answer).await?;
        stdout.flush().await?;
    }
    Ok(())
}

/// Who listens, each on a connection of its own, and who speaks.
struct Crowd {
    runner_id: RunnerId,
    speaker: Connection,
    size: usize,
    heard: mpsc::UnboundedReceiver<(u64, Instant)>,
    said: u64,
}

impl Crowd {
    async fn gather(membership: &Membership, count: u32) -> Result<Self, FloorError> {
        let (sender, heard) = mpsc::unbounded_channel();
        let speaker = let_in(membership).await?;
        for number in 1..=count {
            let listener = Connection::open(named(membership, number)).await?;
            let mut shouts = listener.shouts(&membership.runner_id).await?;
            let sender = sender.clone();
            tokio::spawn(async move {
                let _open = listener;
                while let Some(payload) = shouts.next().await {
                    let number = std::str::from_utf8(&payload)
                        .ok()
                        .and_then(|n| n.parse().ok());
                    let heard = number.is_some_and(|n| sender.send((n, Instant::now())).is_ok());
                    if !heard {
                        return;
                    }
                }
            });
        }
        let mut crowd = Self {
            runner_id: membership.runner_id.clone(),
            speaker,
            size: count as usize,
            heard,
            said: 0,
        };
        let began = Instant::now();
        while crowd.shout(WARM_UP_PATIENCE).await.is_err() {
            if began.elapsed() > PATIENCE {
                return Err(FloorError::Unheard);
            }
        }
        Ok(crowd)
    }

    /// From the call until each has heard it.
    async fn shout(&mut self, patience: Duration) -> Result<Vec<u64>, FloorError> {
        self.said += 1;
        let start = Instant::now();
        let said = self.said.to_string().into();
        self.speaker.shout(&self.runner_id, said).await?;
        let mut taken = Vec::with_capacity(self.size);
        while taken.len() < self.size {
            let left = patience.saturating_sub(start.elapsed());
            match tokio::time::timeout(left, self.heard.recv()).await {
                Ok(Some((number, at))) if number == self.said => taken.push(micros(at - start)),
                // An echo of one before.
                Ok(Some(_)) => {}
                _ => return Err(FloorError::Unheard),
            }
        }
        Ok(taken)
    }
}

/// The broker learns of a key a moment after the coordinator.
async fn let_in(membership: &Membership) -> Result<Connection, ConnectError> {
    let began = Instant::now();
    loop {
        match Connection::open(named(membership, 0)).await {
            Err(ConnectError::NotAllowed { .. }) if began.elapsed() < PATIENCE => {
                tokio::time::sleep(KNOCK_PAUSE).await;
            }
            opened => return opened,
        }
    }
}

fn named(membership: &Membership, number: u32) -> Access {
    Access {
        name: format!("floor {number}"),
        ..membership.access()
    }
}

/// One after the other, as a plain client would: nothing is synced, checked again or renamed.
async fn unpack(
    connection: &Connection,
    digests: &[Digest],
    folder: &Path,
) -> Result<Duration, FloorError> {
    let place = folder.join("unpacked");
    let start = Instant::now();
    for digest in digests {
        let packed = connection.get(digest).await?;
        let unpacked = Folder::unpack(&packed, None).map_err(io::Error::other)?;
        for (path, file) in unpacked.files() {
            let path = place.join(digest.hex()).join(path.as_str());
            std::fs::create_dir_all(path.parent().unwrap_or(&place))?;
            std::fs::write(path, &file.bytes)?;
        }
    }
    let taken = start.elapsed();
    std::fs::remove_dir_all(&place)?;
    Ok(taken)
}

fn micros(taken: Duration) -> u64 {
    u64::try_from(taken.as_micros()).unwrap_or(u64::MAX)
}
