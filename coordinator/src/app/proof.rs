//! Whether the catalogue's log is what was written, and a checkpoint of its head to keep elsewhere.

use super::pages::{ALL, Pages};
use super::{App, AppError};
use crate::domain::proof::{Checkpoint, Keeper, Mark, Verified, Walk};
use crate::projections::Comparison;
use events::subject::Stream;
use schemas::Digest;

/// Messages read at once; most have a few kilobytes.
const READ_AT_ONCE: usize = 256;

/// How far a long piece of work has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    pub stream: Stream,
    /// The sequence that was read last, and the one to reach.
    pub done: u64,
    pub of: u64,
}

/// What a verification came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    pub verified: Verified,
    /// Where it was asked for.
    pub rebuilt: Option<Comparison>,
}

impl App {
    /// Verifies the log and, where asked for, builds every projection anew beside the live ones and
    /// compares. One at a time: either reads all there is.
    pub async fn prove(
        &self,
        checkpoint: Option<&Checkpoint>,
        rebuild: bool,
        tell: impl Fn(Progress) + Send + Sync,
    ) -> Result<Proof, AppError> {
        let _turn = self.0.proof_turn.lock().await;
        let verified = self.verify(checkpoint, &tell).await?;
        if !rebuild {
            return Ok(Proof {
                verified,
                rebuilt: None,
            });
        }
        let log = self.0.broker.log.clone();
        let compared = self
            .projections()
            .compare_with_rebuilt(log, |stream, done, of| tell(Progress { stream, done, of }));
        let rebuilt = Some(compared.await?);
        Ok(Proof { verified, rebuilt })
    }

    /// The last event of the catalogue; none where nothing has happened yet.
    pub async fn checkpoint(&self) -> Result<Option<Checkpoint>, AppError> {
        let last = self.0.broker.log.last(Stream::Catalog, ALL).await?;
        Ok(last.map(|last| Checkpoint {
            sequence: last.sequence,
            hash: Digest::of(&last.payload),
            at: last.at,
        }))
    }

    /// Walks the hash chain as far as it goes now, and compares it with what this coordinator has
    /// applied and, where given, with a checkpoint.
    async fn verify(
        &self,
        checkpoint: Option<&Checkpoint>,
        tell: &(impl Fn(Progress) + Send + Sync),
    ) -> Result<Verified, AppError> {
        let log = &self.0.broker.log;
        // First what was applied: it cannot be ahead of what the log is asked for afterwards.
        let marks = self.marks(checkpoint);
        let end = log.bounds(Stream::Catalog).await?.last_sequence;
        let mut walk = Walk::new(marks);
        let mut pages = Pages::new(log.clone(), Stream::Catalog, ALL, end, READ_AT_ONCE);
        let mut done = 0;
        loop {
            let page = match pages.next().await {
                Ok(Some(page)) => page,
                Ok(None) => break,
                // Somebody has taken the end out, unless the leader has more.
                Err(AppError::BehindTheLog) => {
                    let last = log.last(Stream::Catalog, ALL).await?;
                    match last.is_some_and(|last| last.sequence > done) {
                        true => return Err(AppError::BehindTheLog),
                        false => break,
                    }
                }
                Err(error) => return Err(error),
            };
            page.iter().for_each(|message| walk.take(message));
            done = page.last().map_or(done, |message| message.sequence);
            tell(Progress {
                stream: Stream::Catalog,
                done,
                of: end,
            });
            // A page is some milliseconds of work.
            tokio::task::yield_now().await;
        }
        Ok(walk.finish(end))
    }

    fn marks(&self, checkpoint: Option<&Checkpoint>) -> Vec<Mark> {
        let applied = self.projections().catalog();
        let ours = applied.head.map(|hash| Mark {
            sequence: applied.sequence,
            hash,
            kept_by: Keeper::Projection,
        });
        let given = checkpoint.map(|checkpoint| Mark {
            sequence: checkpoint.sequence,
            hash: checkpoint.hash,
            kept_by: Keeper::Caller,
        });
        given.into_iter().chain(ours).collect()
    }
}
