//! The output of a run as it comes, until the run has ended.

use super::output::{OutputItem, PAGE_MAX, filter};
use super::{App, AppError};
use events::RunId;
use events::run::Run;
use events::subject::Stream;
use futures::future::Fuse;
use futures::stream::{self, BoxStream};
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _};
use std::time::Duration;
use tokio::sync::oneshot;

/// A wake-up can be lost, as any plain message; then this looks again.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

impl App {
    /// Everything after the sequence `after`, as it is stored; ends when the run has ended.
    pub async fn tail_output(
        &self,
        run_id: &RunId,
        after: u64,
    ) -> Result<BoxStream<'static, Result<OutputItem, AppError>>, AppError> {
        let run = self.run(run_id)?;
        let log = &self.0.broker.log;
        let tail = Tail {
            wakes: log.changes(Stream::Output, &filter(&run)).await?,
            ended: self.projections().ended(run_id).fuse(),
            app: self.clone(),
            run,
            after,
        };
        let pages = stream::try_unfold(tail, |mut tail| async {
            let items = tail.next().await?;
            Ok::<_, AppError>(items.map(|items| (stream::iter(items.into_iter().map(Ok)), tail)))
        });
        Ok(pages.try_flatten().boxed())
    }
}

struct Tail {
    app: App,
    run: Run,
    after: u64,
    wakes: BoxStream<'static, ()>,
    ended: Fuse<oneshot::Receiver<()>>,
}

impl Tail {
    /// The next items; `None` when the run has ended and all of its output was given.
    async fn next(&mut self) -> Result<Option<Vec<OutputItem>>, AppError> {
        loop {
            // In this order: what is written before the end is read after it was seen.
            let run = self.app.run(&self.run.request.run_id)?;
            let page = self.app.read_output(&run, self.after, PAGE_MAX).await?;
            if page.next > self.after {
                self.after = page.next;
                return Ok(Some(page.items));
            }
            if run.state.status.is_final() {
                return Ok(None);
            }
            self.wait().await?;
        }
    }

    async fn wait(&mut self) -> Result<(), AppError> {
        tokio::select! {
            woken = self.wakes.next() => {
                if woken.is_none() {
                    let log = &self.app.0.broker.log;
                    self.wakes = log.changes(Stream::Output, &filter(&self.run)).await?;
                }
            }
            _ = &mut self.ended => {}
            () = tokio::time::sleep(LOOK_AGAIN) => {}
        }
        Ok(())
    }
}
