//! Whole streams out of the broker and back into one, with every sequence and time as they were: the
//! server's own snapshot and restore, which the client library has no method for. What a backup is made
//! of, and in which order, is not known here.

use super::connection::Connection;
use super::storage::{PATIENCE, STREAMS, StorageError, answered};
use crate::subject::{UNFINISHED_RESTORE, UNFINISHED_RESTORE_SUBJECTS};
use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::timeout;

/// A server first writes out what it holds in memory, and a large stream has much of that.
const BEGIN_WITHIN: Duration = Duration::from_secs(120);
/// Between two pieces: the server itself gives up after 7 s without our word.
const PIECE_WITHIN: Duration = Duration::from_secs(60);
/// After the last piece a server reads all it was given once more.
const END_WITHIN: Duration = Duration::from_secs(600);
/// Under every server's limit for one message.
const PIECE_BYTES: usize = 128 * 1024;

const STATUS_END: u16 = 204;
const STREAM_NOT_FOUND: u32 = 10059;

/// What a stream is, beside its messages: given out with a snapshot, and taken back with it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StreamForm {
    pub config: Value,
    pub state: Value,
}

/// A stream on its way out of the broker, as it was when this was asked for.
pub struct Snapshot {
    pub form: StreamForm,
    /// In the server's own form, each at most as large as a message may be.
    pub pieces: BoxStream<'static, Result<Bytes, StorageError>>,
}

/// A stream on its way into the broker. One that is not finished is never there.
pub struct Restoring {
    connection: Connection,
    subject: String,
    what: String,
    last_sequence: u64,
}

/// Why a broker's streams are not to be used: a restore that has not come to its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnfinishedRestore {
    /// When it began, and what is restored.
    pub begun_at: String,
    pub backup: String,
}

impl StreamForm {
    pub fn last_sequence(&self) -> u64 {
        self.state["last_seq"].as_u64().unwrap_or_default()
    }

    pub fn messages(&self) -> u64 {
        self.state["messages"].as_u64().unwrap_or_default()
    }

    pub fn bytes(&self) -> u64 {
        self.state["bytes"].as_u64().unwrap_or_default()
    }
}

impl Connection {
    /// A copy of the stream at this moment, without its consumers.
    pub async fn snapshot(&self, stream: &str) -> Result<Snapshot, StorageError> {
        let what = format!("give out the stream {stream}");
        let unavailable = || StorageError::Unavailable { what: what.clone() };
        if !self.can_send().await {
            return Err(unavailable());
        }
        let inbox = self.client.new_inbox();
        let pieces = self.client.subscribe(inbox.clone()).await;
        let pieces = pieces.map_err(|_| unavailable())?;
        let subject = format!("$JS.API.STREAM.SNAPSHOT.{stream}");
        let request = json!({
            "deliver_subject": inbox, "no_consumers": true, "chunk_size": PIECE_BYTES,
        });
        let form: StreamForm = self.ask_api(&what, subject, &request, BEGIN_WITHIN).await?;
        Ok(Snapshot {
            form,
            pieces: given_out(self.clone(), pieces, what),
        })
    }

    /// Begins to take a stream back. There must be none of its name.
    pub async fn restore(
        &self,
        stream: &str,
        form: &StreamForm,
        replicas: Option<usize>,
    ) -> Result<Restoring, StorageError> {
        #[derive(Deserialize)]
        struct Begun {
            deliver_subject: String,
        }
        let what = format!("take back the stream {stream}");
        let mut config = form.config.clone();
        if let Some(fields) = config.as_object_mut() {
            // Servers of another broker.
            fields.remove("placement");
            if let Some(replicas) = replicas {
                fields.insert("num_replicas".to_owned(), replicas.into());
            }
        }
        let subject = format!("$JS.API.STREAM.RESTORE.{stream}");
        let request = json!({"config": config, "state": form.state});
        let begun: Begun = self.ask_api(&what, subject, &request, BEGIN_WITHIN).await?;
        Ok(Restoring {
            connection: self.clone(),
            subject: begun.deliver_subject,
            what,
            last_sequence: form.last_sequence(),
        })
    }

    /// What a restore has left behind that did not come to its end.
    pub async fn unfinished_restore(&self) -> Result<Option<UnfinishedRestore>, StorageError> {
        let subject = format!("$JS.API.STREAM.INFO.{UNFINISHED_RESTORE}");
        let what = "tell of an unfinished restore";
        let asked = self.ask_api::<Value>(what, subject, &Value::Null, PATIENCE);
        match asked.await {
            Ok(info) => {
                let told = &info["config"]["metadata"];
                let text = |field: &str| told[field].as_str().unwrap_or("unknown").to_owned();
                Ok(Some(UnfinishedRestore {
                    begun_at: text("begun_at"),
                    backup: text("backup"),
                }))
            }
            Err(StorageError::Refused { code, .. }) if code == STREAM_NOT_FOUND => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Says that the broker's streams are not whole, until [`Self::end_restore`].
    pub async fn begin_restore(
        &self,
        is: &UnfinishedRestore,
        replicas: Option<usize>,
    ) -> Result<(), StorageError> {
        let subject = format!("$JS.API.STREAM.CREATE.{UNFINISHED_RESTORE}");
        let config = json!({
            "name": UNFINISHED_RESTORE, "subjects": [UNFINISHED_RESTORE_SUBJECTS],
            "storage": "file", "num_replicas": replicas.unwrap_or(1),
            "metadata": {"begun_at": is.begun_at, "backup": is.backup},
        });
        let what = "note that a restore begins";
        let made = self.ask_api::<Value>(what, subject, &config, PIECE_WITHIN);
        made.await.map(drop)
    }

    pub async fn end_restore(&self) -> Result<(), StorageError> {
        self.delete_stream(UNFINISHED_RESTORE).await
    }

    /// Takes away whatever is there of our streams. Only for what holds nothing, or what a restore
    /// has left unfinished.
    pub async fn delete_streams(&self) -> Result<(), StorageError> {
        for name in STREAMS {
            self.delete_stream(name).await?;
        }
        Ok(())
    }

    async fn delete_stream(&self, name: &str) -> Result<(), StorageError> {
        let subject = format!("$JS.API.STREAM.DELETE.{name}");
        let what = format!("delete the stream {name}");
        let deleted = self.ask_api::<Value>(&what, subject, &Value::Null, PIECE_WITHIN);
        match deleted.await {
            Err(StorageError::Refused { code, .. }) if code == STREAM_NOT_FOUND => Ok(()),
            done => done.map(drop),
        }
    }
}

impl Restoring {
    /// The next piece, in order.
    pub async fn put(&self, piece: Bytes) -> Result<(), StorageError> {
        let answer = self.send(piece, PIECE_WITHIN).await?;
        // Nothing is said unless something is wrong.
        if answer.is_empty() {
            return Ok(());
        }
        answered::<Value>(&self.what, &answer).map(drop)
    }

    /// Only now the stream is there, whole.
    pub async fn finish(self) -> Result<(), StorageError> {
        let answer = self.send(Bytes::new(), END_WITHIN).await?;
        let made: Value = answered(&self.what, &answer)?;
        let last = made["state"]["last_seq"].as_u64().unwrap_or_default();
        if last == self.last_sequence {
            return Ok(());
        }
        let expected = self.last_sequence;
        Err(StorageError::Refused {
            what: self.what,
            code: 0,
            reason: format!("it ends at {last} and should at {expected}"),
        })
    }

    async fn send(&self, piece: Bytes, patience: Duration) -> Result<Bytes, StorageError> {
        let request = async_nats::Request::new()
            .payload(piece)
            .timeout(Some(patience));
        let answer = self
            .connection
            .client
            .send_request(self.subject.clone(), request);
        let answer = answer.await.map_err(|_| StorageError::Unavailable {
            what: self.what.clone(),
        })?;
        Ok(answer.payload)
    }
}

/// The pieces as they are wanted: the server sends no more than a few ahead of our word.
fn given_out(
    connection: Connection,
    pieces: async_nats::Subscriber,
    what: String,
) -> BoxStream<'static, Result<Bytes, StorageError>> {
    let state = Some((connection, pieces, what));
    futures::stream::unfold(state, async |state| {
        let (connection, mut pieces, what) = state?;
        match next_piece(&connection, &mut pieces, &what).await {
            Ok(Some(piece)) => Some((Ok(piece), Some((connection, pieces, what)))),
            Ok(None) => None,
            Err(error) => Some((Err(error), None)),
        }
    })
    .boxed()
}

async fn next_piece(
    connection: &Connection,
    pieces: &mut async_nats::Subscriber,
    what: &str,
) -> Result<Option<Bytes>, StorageError> {
    let unavailable = || StorageError::Unavailable {
        what: what.to_owned(),
    };
    let next = timeout(PIECE_WITHIN, pieces.next()).await;
    let message = next.ok().flatten().ok_or_else(unavailable)?;
    if !message.payload.is_empty() {
        if let Some(reply) = message.reply {
            let said = connection.client.publish(reply, Bytes::new()).await;
            said.map_err(|_| unavailable())?;
        }
        return Ok(Some(message.payload));
    }
    match message.status.map(|status| status.as_u16()) {
        None | Some(STATUS_END) => Ok(None),
        Some(code) => Err(StorageError::Refused {
            what: what.to_owned(),
            code: 0,
            reason: format!("{code} {}", message.description.unwrap_or_default()),
        }),
    }
}
