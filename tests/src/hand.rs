//! The coordinator's part on the broker, played by hand: streams, one lane, its messages, bundles.
//! For stories in which no coordinator runs, or in which what it would never publish is published.

use crate::nats::Nats;
use crate::runner::{Runner, Settings};
use bytes::Bytes;
use events::distribution::LaneEvent;
use events::log::jetstream::{Access, Connection, StreamSettings, ensure_consumer, ensure_streams};
use events::log::{Append, Bundles as _, Expect, Log};
use events::subject::{self, Stream};
use events::{Actor, Cadence, Envelope, EventId, LaneTags, Timestamp};
use schemas::{Digest, Tag};
use serde::Serialize;
use serde_json::json;

/// A broker with our streams and the lane that Bash scripts without other demands are in.
pub struct Hand {
    pub connection: Connection,
    pub lane_tags: LaneTags,
}

impl Hand {
    pub async fn on(nats: &Nats) -> Self {
        let access = Access {
            url: nats.url(),
            nkey_seed: None,
            name: "story".to_owned(),
            inbox_prefix: subject::inbox_prefix("story"),
            owns_streams: true,
        };
        let connection = Connection::open(access).await.unwrap();
        ensure_streams(&connection, StreamSettings::default())
            .await
            .unwrap();
        let lane_tags: LaneTags = ["bash", "type:procedural"]
            .iter()
            .map(|tag| tag.parse::<Tag>().unwrap())
            .collect();
        ensure_consumer(
            &connection,
            &lane_tags.lane(),
            Cadence::default().lease(),
            1,
        )
        .await
        .unwrap();
        let hand = Self {
            connection,
            lane_tags,
        };
        let tags = LaneEvent::Tags {
            tags: hand.lane_tags.clone(),
        };
        let subject = subject::lane_tags(&hand.lane_tags.lane());
        hand.append(Stream::Lanes, subject, tags, Expect::Nothing)
            .await;
        hand
    }

    pub async fn append<E: Serialize>(
        &self,
        stream: Stream,
        subject: String,
        event: E,
        expect: Expect,
    ) {
        let envelope = Envelope {
            id: EventId::fresh(),
            at: Timestamp::now(),
            actor: Actor::policy("story"),
            previous: None,
            event,
        };
        let append = Append {
            stream,
            subject,
            id: envelope.id,
            payload: envelope.to_bytes(),
            expect,
        };
        Log::append(&self.connection, append).await.unwrap();
    }

    /// Stores the bytes as they are and tells the lane's runners to hold them as that script.
    pub async fn sync(&self, script: &str, bytes: impl Into<Bytes>) -> Digest {
        let digest = self.connection.put(bytes.into()).await.unwrap();
        let script = script.parse().unwrap();
        let subject = subject::lane_script(&self.lane_tags.lane(), &script);
        let sync = LaneEvent::Sync {
            script,
            version: 1,
            digest,
            size: 1,
            catalog_sequence: 1,
        };
        self.append(Stream::Lanes, subject, sync, Expect::Nothing)
            .await;
        digest
    }
}

/// A runner that has a membership from earlier, and a coordinator that does not answer.
pub fn runner_alone(nats: &Nats) -> Runner {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    std::fs::create_dir_all(&state).unwrap();
    let membership = json!({
        "runner_id": "alone", "broker": {"urls": [nats.url()]}, "lease_seconds": 30
    });
    std::fs::write(state.join("membership.json"), membership.to_string()).unwrap();
    Runner::start_in(Settings::default(), folder)
}
