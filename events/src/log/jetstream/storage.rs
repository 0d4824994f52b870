//! What the broker's streams are and take up, as it tells it: for those who look after it. Answers are
//! the broker's at one moment; nothing is judged here.

use super::connection::Connection;
use super::patience::Moment;
use crate::Timestamp;
use crate::subject::{BUNDLES_STREAM, Stream};
use async_nats::RequestErrorKind;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::time::Duration;

/// All streams that are ours, the bucket's one included.
pub const STREAMS: [&str; 7] = [
    Stream::Catalog.name(),
    Stream::Lanes.name(),
    Stream::Runs.name(),
    Stream::History.name(),
    Stream::Output.name(),
    Stream::Runners.name(),
    BUNDLES_STREAM,
];

/// A cluster without a leader does not answer at all; who wants to wait for one asks again.
pub(super) const PATIENCE: Duration = Duration::from_secs(3);
const STREAM_NOT_FOUND: u32 = 10059;

/// The broker cannot do it, or does not answer.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    #[error("the broker does not answer when asked to {what}")]
    Unavailable { what: String },
    #[error(
        "the broker at {address} has no jetstream; start nats-server with it, as with nats.conf"
    )]
    NoJetStream { address: String },
    #[error("the broker refuses to {what}: {reason}")]
    Refused {
        what: String,
        /// The broker's own number for it.
        code: u32,
        reason: String,
    },
}

/// One stream as the broker has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamFacts {
    pub name: String,
    pub messages: u64,
    pub bytes: u64,
    pub first_sequence: u64,
    pub last_sequence: u64,
    /// Of the oldest message; none where there is none.
    pub first_at: Option<Timestamp>,
    /// How long messages are kept; none for ever.
    pub max_age: Option<Duration>,
    /// What it may take up; none without a limit of its own.
    pub max_bytes: Option<u64>,
    pub replicas: usize,
    pub consumers: u64,
    /// Who keeps it, where several servers do.
    pub kept_by: Option<Keepers>,
}

/// The servers that keep a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keepers {
    /// None while there is none.
    pub leader: Option<String>,
    /// The others that have everything.
    pub current: Vec<String>,
    /// The others that lag behind, or are away.
    pub behind: Vec<String>,
}

/// What our account takes up and may take up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccountFacts {
    pub storage_bytes: u64,
    pub max_storage_bytes: Option<u64>,
}

impl StreamFacts {
    /// How full it is, of 1; none without a limit.
    pub fn fill(&self) -> Option<f64> {
        let max = self.max_bytes.filter(|max| *max > 0)?;
        Some(self.bytes as f64 / max as f64)
    }
}

impl Connection {
    /// The stream, or none where there is none of that name.
    pub async fn stream_facts(&self, name: &str) -> Result<Option<StreamFacts>, StorageError> {
        let subject = format!("$JS.API.STREAM.INFO.{name}");
        let what = format!("tell of the stream {name}");
        match self
            .ask_api::<Info>(&what, subject, &Value::Null, PATIENCE)
            .await
        {
            Ok(info) => Ok(Some(info.facts())),
            Err(StorageError::Refused { code, .. }) if code == STREAM_NOT_FOUND => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Those of our streams that are there.
    pub async fn all_stream_facts(&self) -> Result<Vec<StreamFacts>, StorageError> {
        let asked = STREAMS.map(|name| self.stream_facts(name));
        let answers = futures::future::try_join_all(asked).await?;
        Ok(answers.into_iter().flatten().collect())
    }

    pub async fn account_facts(&self) -> Result<AccountFacts, StorageError> {
        let subject = "$JS.API.INFO".to_owned();
        let what = "tell what our account takes up";
        let info: AccountInfo = self.ask_api(what, subject, &Value::Null, PATIENCE).await?;
        Ok(AccountFacts {
            storage_bytes: info.storage,
            max_storage_bytes: u64::try_from(info.limits.max_storage).ok(),
        })
    }

    /// The name of the cluster that our server belongs to; none where it stands alone.
    pub fn cluster(&self) -> Option<String> {
        self.client
            .server_info()
            .cluster
            .filter(|name| !name.is_empty())
    }

    /// The sequence of the first message that is not older than `at`; none where all are.
    pub(super) async fn first_since(
        &self,
        stream: Stream,
        at: Timestamp,
    ) -> Result<Option<u64>, crate::log::ReadError> {
        let request = json!({"next_by_subj": ">", "start_time": at.to_string(), "batch": 1});
        let page = self.direct_page(stream.name(), request).await?;
        Ok(page.messages.first().map(|message| message.sequence))
    }

    /// One request to the broker's own interface: `what` it is, for errors.
    pub(super) async fn ask_api<T: DeserializeOwned>(
        &self,
        what: &str,
        subject: String,
        request: &Value,
        patience: Duration,
    ) -> Result<T, StorageError> {
        let unavailable = || StorageError::Unavailable {
            what: what.to_owned(),
        };
        if !self.can_send().await {
            return Err(unavailable());
        }
        let payload = match request {
            Value::Null => bytes::Bytes::new(),
            request => request.to_string().into(),
        };
        let moment = Moment::begin();
        loop {
            let request = async_nats::Request::new()
                .payload(payload.clone())
                .timeout(Some(patience));
            match self.client.send_request(subject.clone(), request).await {
                Ok(answer) => return answered(what, &answer.payload),
                Err(error) if moment.passes(&error).await => {}
                Err(error) if error.kind() == RequestErrorKind::NoResponders => {
                    let address = self.server_address();
                    return Err(StorageError::NoJetStream { address });
                }
                Err(_) => return Err(unavailable()),
            }
        }
    }
}

/// The broker's answer, or its error.
pub(super) fn answered<T: DeserializeOwned>(what: &str, payload: &[u8]) -> Result<T, StorageError> {
    let refused = |code, reason| StorageError::Refused {
        what: what.to_owned(),
        code,
        reason,
    };
    let unreadable = |error: serde_json::Error| refused(0, format!("unreadable answer: {error}"));
    let answer: Value = serde_json::from_slice(payload).map_err(unreadable)?;
    if let Some(error) = answer.get("error") {
        let code = error["err_code"].as_u64().unwrap_or_default();
        let reason = error["description"].as_str().unwrap_or_default();
        return Err(refused(code as u32, reason.to_owned()));
    }
    serde_json::from_value(answer).map_err(unreadable)
}

#[derive(Deserialize)]
struct Info {
    config: Config,
    state: State,
    cluster: Option<Cluster>,
}

#[derive(Deserialize)]
struct Config {
    name: String,
    #[serde(default)]
    max_age: i64,
    #[serde(default)]
    max_bytes: i64,
    #[serde(default)]
    num_replicas: usize,
}

#[derive(Deserialize)]
struct State {
    #[serde(default)]
    messages: u64,
    #[serde(default)]
    bytes: u64,
    #[serde(default)]
    first_seq: u64,
    #[serde(default)]
    last_seq: u64,
    first_ts: Option<Timestamp>,
    #[serde(default)]
    consumer_count: u64,
}

#[derive(Deserialize)]
struct Cluster {
    #[serde(default)]
    leader: Option<String>,
    #[serde(default)]
    replicas: Vec<Peer>,
}

#[derive(Deserialize)]
struct Peer {
    name: String,
    #[serde(default)]
    current: bool,
    #[serde(default)]
    offline: bool,
}

#[derive(Deserialize)]
struct AccountInfo {
    #[serde(default)]
    storage: u64,
    limits: AccountLimits,
}

#[derive(Deserialize)]
struct AccountLimits {
    #[serde(default)]
    max_storage: i64,
}

impl Info {
    fn facts(self) -> StreamFacts {
        let Self {
            config,
            state,
            cluster,
        } = self;
        let max_age = u64::try_from(config.max_age).ok().filter(|age| *age > 0);
        let max_bytes = u64::try_from(config.max_bytes).ok();
        StreamFacts {
            name: config.name,
            messages: state.messages,
            bytes: state.bytes,
            first_sequence: state.first_seq,
            last_sequence: state.last_seq,
            first_at: state.first_ts.filter(|_| state.messages > 0),
            max_age: max_age.map(Duration::from_nanos),
            max_bytes: max_bytes.filter(|max| *max > 0),
            replicas: config.num_replicas.max(1),
            consumers: state.consumer_count,
            kept_by: cluster
                .filter(|_| config.num_replicas > 1)
                .map(Cluster::keepers),
        }
    }
}

impl Cluster {
    fn keepers(self) -> Keepers {
        let (current, behind): (Vec<Peer>, Vec<Peer>) = self
            .replicas
            .into_iter()
            .partition(|peer| peer.current && !peer.offline);
        let names = |peers: Vec<Peer>| peers.into_iter().map(|peer| peer.name).collect();
        Keepers {
            leader: self.leader.filter(|leader| !leader.is_empty()),
            current: names(current),
            behind: names(behind),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_told_with_its_limits_and_its_keepers() {
        let answer = json!({
            "config": {"name": "RUNS", "max_age": 3_600_000_000_000_i64, "max_bytes": 1000, "num_replicas": 3},
            "state": {"messages": 2, "bytes": 900, "first_seq": 4, "last_seq": 5, "first_ts": "2026-01-01T00:00:00Z"},
            "cluster": {"leader": "a", "replicas": [{"name": "b", "current": true}, {"name": "c", "current": true, "offline": true}]}
        });
        let info: Info = answered("tell", answer.to_string().as_bytes()).unwrap();
        let facts = info.facts();
        assert_eq!(facts.fill(), Some(0.9));
        assert_eq!(facts.max_age, Some(Duration::from_secs(3600)));
        let keepers = facts.kept_by.unwrap();
        assert_eq!(
            (keepers.current, keepers.behind),
            (vec!["b".into()], vec!["c".into()])
        );
    }

    #[test]
    fn a_refusal_says_what_was_asked_and_why() {
        let answer = br#"{"error":{"err_code":10059,"description":"stream not found"}}"#;
        let error = answered::<Info>("tell of the stream RUNS", answer)
            .err()
            .unwrap();
        assert_eq!(
            error.to_string(),
            "the broker refuses to tell of the stream RUNS: stream not found"
        );
    }
}
