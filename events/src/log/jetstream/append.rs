//! Append, with the four answers a broker may give (BROKER.md: "Append").

use super::connection::{Connection, REQUEST_TIMEOUT};
use super::patience::{NO_LEADER_PAUSE, NOT_NOW, PATIENCE};
use crate::log::{Append, AppendError, Appended, Expect};
use async_nats::HeaderMap;
use async_nats::header::{
    NATS_EXPECTED_LAST_SEQUENCE, NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, NATS_MESSAGE_ID,
};
use bytes::Bytes;
use serde::Deserialize;
use std::time::Duration;
use tokio::time::Instant;

/// Names the subjects whose last sequence is expected; async-nats has no constant for it.
pub(super) const EXPECTED_LAST_SUBJECT_SEQUENCE_SUBJECT: &str =
    "Nats-Expected-Last-Subject-Sequence-Subject";

/// How long a broker that is known to be gone is waited for, so that a person learns of it.
const PATIENCE_DISCONNECTED: Duration = Duration::from_secs(3);
/// A replica may see its own pipeline as a conflict for a moment; the same append again succeeds.
const FALSE_CONFLICT_PAUSE: Duration = Duration::from_millis(2);
/// False conflicts in a row that are believed; seen were 3 in 1,000, one at a time.
const FALSE_CONFLICTS_MAX: u32 = 50;

const WRONG_LAST_SEQUENCE: u32 = 10071;
const WRONG_LAST_SEQUENCE_FALSE: u32 = 10164;

/// Answers that say "no room": the account's or the server's storage, the stream's own limits, and
/// a disk that takes nothing.
const NO_ROOM: [u32; 4] = [10002, 10023, 10047, 10077];

/// The broker's answer to one publish.
#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    seq: u64,
    error: Option<ApiError>,
}

#[derive(Deserialize)]
struct ApiError {
    #[serde(default)]
    err_code: u32,
    #[serde(default)]
    description: String,
}

/// What to do after one try.
enum Next {
    Done(Appended),
    Fail(AppendError),
    Conflict { last: u64 },
    Again { after: Duration },
}

impl Connection {
    pub(super) async fn append(&self, append: Append) -> Result<Appended, AppendError> {
        let begun = Instant::now();
        let headers = headers(&append);
        let mut false_conflicts = 0;
        loop {
            if !self.connected_within(PATIENCE_DISCONNECTED).await {
                return Err(unavailable(begun));
            }
            match self
                .try_append(&append, &headers, &mut false_conflicts)
                .await
            {
                Next::Done(appended) => return Ok(appended),
                Next::Fail(error) => return Err(error),
                Next::Conflict { last } => return self.conflict(&append, last).await,
                Next::Again { after } if begun.elapsed() + after < PATIENCE => {
                    tokio::time::sleep(after).await;
                }
                Next::Again { .. } => return Err(unavailable(begun)),
            }
        }
    }

    async fn try_append(
        &self,
        append: &Append,
        headers: &HeaderMap,
        false_conflicts: &mut u32,
    ) -> Next {
        let request = async_nats::Request::new()
            .headers(headers.clone())
            .payload(append.payload.clone())
            .timeout(Some(REQUEST_TIMEOUT));
        let answer = match self
            .client
            .send_request(append.subject.clone(), request)
            .await
        {
            Ok(message) => message.payload,
            Err(error) => return unanswered(&error, append),
        };
        interpret(&answer, append, false_conflicts)
    }

    /// A conflict may be our own event whose acknowledgement was lost: looks for its id among
    /// what came after the expected sequence.
    async fn conflict(&self, append: &Append, last: u64) -> Result<Appended, AppendError> {
        match self.find(append).await {
            Some(sequence) => Ok(Appended { sequence }),
            None => Err(AppendError::Conflict { last }),
        }
    }
}

fn headers(append: &Append) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(NATS_MESSAGE_ID, append.id.to_string());
    match &append.expect {
        Expect::Nothing => {}
        Expect::Stream { sequence } => {
            headers.insert(NATS_EXPECTED_LAST_SEQUENCE, sequence.to_string());
        }
        Expect::Subjects { filter, sequence } => {
            headers.insert(NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, sequence.to_string());
            headers.insert(EXPECTED_LAST_SUBJECT_SEQUENCE_SUBJECT, filter.as_str());
        }
    }
    headers
}

fn interpret(answer: &Bytes, append: &Append, false_conflicts: &mut u32) -> Next {
    let answer: Answer = match serde_json::from_slice(answer) {
        Ok(answer) => answer,
        Err(error) => return Next::Fail(refused(append, format!("unreadable answer: {error}"))),
    };
    let Some(error) = answer.error else {
        // Also `duplicate: true`: ours, and the sequence is that of the first.
        let sequence = answer.seq;
        return Next::Done(Appended { sequence });
    };
    match error.err_code {
        WRONG_LAST_SEQUENCE => Next::Conflict {
            last: last_in(&error.description),
        },
        WRONG_LAST_SEQUENCE_FALSE if *false_conflicts < FALSE_CONFLICTS_MAX => {
            *false_conflicts += 1;
            Next::Again {
                after: FALSE_CONFLICT_PAUSE,
            }
        }
        code if NOT_NOW.contains(&code) => Next::Again {
            after: NO_LEADER_PAUSE,
        },
        code if NO_ROOM.contains(&code) => Next::Fail(AppendError::Full {
            stream: append.stream.name(),
            reason: error.description,
        }),
        _ => Next::Fail(refused(append, error.description)),
    }
}

fn unanswered(error: &async_nats::RequestError, append: &Append) -> Next {
    use async_nats::RequestErrorKind::{InvalidSubject, MaxPayloadExceeded, NoResponders};
    match error.kind() {
        InvalidSubject | MaxPayloadExceeded => Next::Fail(refused(append, error.to_string())),
        // The stream has no leader, or is not there yet.
        NoResponders => Next::Again {
            after: NO_LEADER_PAUSE,
        },
        _ => Next::Again {
            after: Duration::ZERO,
        },
    }
}

fn refused(append: &Append, reason: String) -> AppendError {
    AppendError::Refused {
        stream: append.stream.name(),
        reason,
    }
}

fn unavailable(begun: Instant) -> AppendError {
    AppendError::Unavailable {
        waited: begun.elapsed(),
    }
}

/// The broker names the real last sequence at the end of its text.
fn last_in(description: &str) -> u64 {
    let number = description.rsplit(' ').next().unwrap_or_default();
    number.parse().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_stream_is_no_refusal_for_ever() {
        let append = Append {
            stream: crate::subject::Stream::Runs,
            subject: "run.l.r.coordinator".to_owned(),
            id: crate::EventId::fresh(),
            payload: Bytes::new(),
            expect: Expect::Nothing,
        };
        let answer = |code: u32| {
            let answer = format!(r#"{{"error":{{"err_code":{code},"description":"why"}}}}"#);
            interpret(&answer.into(), &append, &mut 0)
        };
        for code in NO_ROOM {
            assert!(matches!(answer(code), Next::Fail(AppendError::Full { .. })));
        }
        let too_large = answer(10054);
        assert!(matches!(too_large, Next::Fail(AppendError::Refused { .. })));
    }

    #[test]
    fn the_last_sequence_stands_at_the_end_of_a_conflict() {
        assert_eq!(last_in("wrong last sequence: 42"), 42);
        assert_eq!(last_in("something else"), 0);
    }
}
