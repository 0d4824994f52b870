//! Plain messages beside the log: heartbeats, and questions between parts that are up.

use super::connection::Connection;
use super::reads::republished_sequence;
use crate::control::{Command, Done};
use crate::question::{Answer, Question};
use crate::runner::Presence;
use crate::subject::{self, Stream};
use crate::{Lane, RunId, RunnerId};
use async_nats::RequestErrorKind;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use std::time::Duration;

/// A subscription or publish that the broker did not take.
#[derive(Debug, thiserror::Error)]
#[error("the broker took no {0}")]
pub struct AskError(pub(super) &'static str);

/// A question that waits for our answer.
#[derive(Debug)]
pub struct Asked {
    pub question: Question,
    reply: String,
}

/// A command that waits for our answer.
#[derive(Debug)]
pub struct Commanded {
    pub command: Command,
    reply: String,
}

impl Connection {
    /// Asks a runner to do something at once; `None` when nobody has answered by then.
    pub async fn command(
        &self,
        runner: &RunnerId,
        command: &Command,
        patience: Duration,
    ) -> Option<Done> {
        if !self.is_connected() {
            return None;
        }
        let payload = serde_json::to_vec(command).expect("a command serializes");
        let request = async_nats::Request::new()
            .payload(payload.into())
            .timeout(Some(patience));
        let answer = self.client.send_request(subject::control(runner), request);
        match answer.await {
            Ok(message) => serde_json::from_slice(&message.payload).ok(),
            Err(error) => {
                tracing::debug!(%error, %runner, "a command got no answer");
                None
            }
        }
    }

    /// What a runner is asked to do at once.
    pub async fn commands(
        &self,
        runner: &RunnerId,
    ) -> Result<BoxStream<'static, Commanded>, AskError> {
        let heard = self.client.subscribe(subject::control(runner)).await;
        let heard = heard.map_err(|_| AskError("subscription to commands"))?;
        let parsed = heard.filter_map(|message| {
            let command = serde_json::from_slice(&message.payload).ok();
            let reply = message.reply.map(|reply| reply.to_string());
            let reply = reply.filter(|reply| is_inbox(reply));
            let commanded = command.zip(reply);
            std::future::ready(commanded.map(|(command, reply)| Commanded { command, reply }))
        });
        Ok(parsed.boxed())
    }

    pub async fn done(&self, commanded: &Commanded, done: &Done) {
        let payload = serde_json::to_vec(done).expect("an answer serializes");
        let reply = commanded.reply.clone();
        if let Err(error) = self.client.publish(reply, payload.into()).await {
            tracing::debug!(%error, "an answer was not sent");
        }
    }

    /// Says that a runner lives. Lost while the link is down, like any heartbeat.
    pub async fn announce(&self, presence: &Presence) {
        if !self.is_connected() {
            return;
        }
        let subject = subject::presence(&presence.runner_id);
        let payload = serde_json::to_vec(presence).expect("a heartbeat serializes");
        if let Err(error) = self.client.publish(subject, payload.into()).await {
            tracing::debug!(%error, "a heartbeat was not sent");
        }
    }

    /// Every runner's heartbeats.
    pub async fn presences(&self) -> Result<BoxStream<'static, Presence>, AskError> {
        let heard = self.client.subscribe(subject::every_presence()).await;
        let heard = heard.map_err(|_| AskError("subscription to heartbeats"))?;
        let parsed = heard.filter_map(|message| {
            let presence = serde_json::from_slice::<Presence>(&message.payload).ok();
            // A heartbeat counts for the runner whose subject it came under, and for no other.
            let own =
                presence.filter(|p| subject::presence(&p.runner_id) == message.subject.as_str());
            std::future::ready(own)
        });
        Ok(parsed.boxed())
    }

    /// Asks a runner; `None` when nobody answers.
    pub async fn ask(&self, runner: &RunnerId, question: &Question) -> Option<Answer> {
        if !self.is_connected() {
            return None;
        }
        let payload = serde_json::to_vec(question).expect("a question serializes");
        match self
            .client
            .request(subject::ask(runner), payload.into())
            .await
        {
            Ok(message) => serde_json::from_slice(&message.payload).ok(),
            Err(error) => {
                if error.kind() != RequestErrorKind::NoResponders {
                    tracing::debug!(%error, %runner, "a question got no answer");
                }
                None
            }
        }
    }

    /// The questions asked of a runner.
    pub async fn questions(
        &self,
        runner: &RunnerId,
    ) -> Result<BoxStream<'static, Asked>, AskError> {
        let heard = self.client.subscribe(subject::ask(runner)).await;
        let heard = heard.map_err(|_| AskError("subscription to questions"))?;
        let parsed = heard.filter_map(|message| {
            let question = serde_json::from_slice(&message.payload).ok();
            let reply = message.reply.map(|reply| reply.to_string());
            let reply = reply.filter(|reply| is_inbox(reply));
            std::future::ready(
                question
                    .zip(reply)
                    .map(|(question, reply)| Asked { question, reply }),
            )
        });
        Ok(parsed.boxed())
    }

    pub async fn answer(&self, asked: &Asked, answer: &Answer) {
        let payload = serde_json::to_vec(answer).expect("an answer serializes");
        if let Err(error) = self
            .client
            .publish(asked.reply.clone(), payload.into())
            .await
        {
            tracing::debug!(%error, "an answer was not sent");
        }
    }

    /// Where in `RUNNERS` a coordinator has said something to a runner. A hint: what was said
    /// stands in the log, under [`subject::runner_order`].
    pub async fn runner_orders(
        &self,
        runner: &RunnerId,
    ) -> Result<BoxStream<'static, u64>, AskError> {
        let heard = self.client.subscribe(subject::live_runner(runner)).await;
        let heard = heard.map_err(|_| AskError("subscription to orders"))?;
        let sequences = heard.filter_map(|message| {
            std::future::ready(republished_sequence(Stream::Runners, &message))
        });
        Ok(sequences.boxed())
    }

    /// The runs of a lane to which a coordinator has said something, a stop above all. A hint:
    /// what was said stands in the log.
    pub async fn lane_commands(&self, lane: &Lane) -> Result<BoxStream<'static, RunId>, AskError> {
        let heard = self.client.subscribe(subject::live_runs(lane)).await;
        let heard = heard.map_err(|_| AskError("subscription to a lane's commands"))?;
        let runs = heard.filter_map(|message| {
            let run = subject::parse_live_run(&message.subject).map(|(_, run_id)| run_id);
            std::future::ready(run)
        });
        Ok(runs.boxed())
    }
}

/// Whether an answer goes to somebody who waits for one: into an inbox, or through the server to
/// the other account. We may answer anywhere, so a question could make us write into the log.
fn is_inbox(reply: &str) -> bool {
    reply.starts_with("_INBOX.") || reply.starts_with("_R_.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_goes_nowhere_but_to_who_asked() {
        let inbox = format!("{}.abc.1", subject::inbox_prefix("rnr-1"));
        assert!(is_inbox(&inbox));
        assert!(is_inbox("_R_.abc.1"));
        assert!(!is_inbox("runner.rnr-1"));
        assert!(!is_inbox("$JS.ACK.RUNS.lane.1.1.1.1.0"));
    }
}
