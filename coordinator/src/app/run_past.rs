//! A run as it was at a moment: the fold of its own events up to then.

use super::moment::{AsOf, Moment};
use super::pages::Pages;
use super::{App, AppError};
use crate::domain::Rejection;
use crate::projections::RunFold;
use events::RunId;
use events::run::Run;
use events::subject::{self, Stream};

/// Steps read at once; a chunk of a result takes up to 700 KiB.
const READ_AT_ONCE: usize = 8;

impl App {
    /// # Errors
    /// When there is no such run, it had not been requested yet, or that moment has not come.
    pub async fn run_at(&self, run_id: &RunId, moment: Moment) -> Result<(AsOf, Run), AppError> {
        let now = self.run(run_id)?;
        self.come(Stream::Runs, moment).await?;
        let filter = subject::run_all(&now.request.lane_tags.lane(), run_id);
        let (log, until) = (self.0.broker.log.clone(), now.last_sequence);
        let pages = Pages::new(log, Stream::Runs, filter, until, READ_AT_ONCE);
        let mut pages = pages.from(now.first_sequence);
        let (mut fold, mut last) = (RunFold::default(), None);
        'all: while let Some(page) = pages.next().await? {
            for message in page {
                let is_later = match moment {
                    Moment::Time(time) => message.at > time,
                    Moment::Sequence(sequence) => message.sequence > sequence,
                };
                if is_later {
                    break 'all;
                }
                fold.take(&message);
                last = Some((message.sequence, message.at));
            }
        }
        let not_yet = || Rejection::RunNotYet {
            run_id: run_id.clone(),
            created_at: now.created_at,
            sequence: now.first_sequence,
        };
        let ((sequence, at), run) = last.zip(fold.run()).ok_or_else(not_yet)?;
        let as_of = AsOf {
            stream: Stream::Runs,
            sequence,
            at: Some(at),
        };
        Ok((as_of, run))
    }
}
