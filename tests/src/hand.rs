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
use schemas::bundle::{Bundle, File, Folder};
use schemas::{Digest, ScriptDocument, Tag};
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

    /// Says in the lane's name which version of a script it wants, as of that catalogue.
    pub async fn want(&self, script: &str, digest: Digest, version: u32, catalog_sequence: u64) {
        let script = script.parse().unwrap();
        let subject = subject::lane_script(&self.lane_tags.lane(), &script);
        let sync = LaneEvent::Sync {
            script,
            version,
            digest,
            size: 1,
            catalog_sequence,
        };
        let lane = subject::lane_all(&self.lane_tags.lane());
        let last = self.connection.last(Stream::Lanes, &lane).await.unwrap();
        let expect = Expect::Subjects {
            filter: lane,
            sequence: last.map_or(0, |message| message.sequence),
        };
        self.append(Stream::Lanes, subject, sync, expect).await;
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

/// A one-file Bash script's bundle.
pub fn bundle(name: &str, content: &str) -> Bundle {
    let file = format!("{name}.sh");
    let document = ScriptDocument::from_value(json!({
        "name": name, "description": "", "script_file": file
    }))
    .unwrap();
    let file = (file.parse().unwrap(), File::executable(content));
    Folder::script(&document, [file]).unwrap().pack().unwrap()
}

/// A runner that has a membership from earlier, and a coordinator that does not answer.
pub fn runner_alone(nats: &Nats) -> Runner {
    runner_named(nats, "alone", Settings::default())
}

/// The same with an id and settings of the story's choice.
pub fn runner_named(nats: &Nats, id: &str, settings: Settings) -> Runner {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    std::fs::create_dir_all(&state).unwrap();
    let membership = json!({
        "runner_id": id, "broker": {"urls": [nats.url()]}, "lease_seconds": 30
    });
    std::fs::write(state.join("membership.json"), membership.to_string()).unwrap();
    Runner::start_in(settings, folder)
}
