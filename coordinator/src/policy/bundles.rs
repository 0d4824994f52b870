//! Which bundles nobody needs: no event refers to them, and it is long ago that they were put. An
//! upload puts its bundle before its event, so young ones may still be waited for.

use events::Timestamp;
use events::log::StoredBundle;
use jiff::SignedDuration;
use schemas::Digest;
use std::collections::BTreeMap;

/// How a digest begins wherever it stands.
const PREFIX: &[u8] = b"sha256:";
/// With its hex digits.
const DIGEST_BYTES: usize = PREFIX.len() + 64;

/// Bundles that may go, unless something refers to them.
#[derive(Debug, Default)]
pub struct Orphans(BTreeMap<Digest, StoredBundle>);

impl Orphans {
    /// Those that were put longer ago than `grace`.
    pub fn among(bundles: Vec<StoredBundle>, now: Timestamp, grace: SignedDuration) -> Self {
        let old = bundles
            .into_iter()
            .filter(|bundle| now.duration_since(bundle.at) > grace);
        Self(old.map(|bundle| (bundle.digest, bundle)).collect())
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Keeps what an event refers to, also one that only newer coordinators can read: every digest in
    /// its bytes counts.
    pub fn keep_referred(&mut self, event: &[u8]) {
        let mut rest = event;
        while let Some(at) = rest
            .windows(PREFIX.len())
            .position(|window| window == PREFIX)
        {
            rest = &rest[at..];
            let text = rest
                .get(..DIGEST_BYTES)
                .and_then(|bytes| std::str::from_utf8(bytes).ok());
            if let Some(digest) = text.and_then(|text| text.parse().ok()) {
                self.0.remove(&digest);
            }
            rest = &rest[PREFIX.len()..];
        }
    }

    pub fn into_bundles(self) -> impl Iterator<Item = StoredBundle> {
        self.0.into_values()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn bundle(text: &str, second: i64) -> StoredBundle {
        StoredBundle {
            digest: Digest::of(text.as_bytes()),
            bytes: 1,
            at: Timestamp::from_second(second).unwrap(),
            record: 1,
        }
    }

    #[test]
    fn what_is_old_and_referred_to_by_nothing_goes() {
        let (referred, unread, orphan) = (bundle("a", 0), bundle("b", 0), bundle("c", 0));
        let young = bundle("d", 90);
        let now = Timestamp::from_second(100).unwrap();
        let all = vec![referred, unread, orphan, young];
        let mut orphans = Orphans::among(all, now, SignedDuration::from_secs(50));
        let known = json!({"event": {"type": "script_created", "digest": referred.digest}});
        orphans.keep_referred(known.to_string().as_bytes());
        let newer = format!(
            "{{\"event\":{{\"type\":\"sent\",\"of\":[\"x {}\"]}}",
            unread.digest
        );
        orphans.keep_referred(newer.as_bytes());
        orphans.keep_referred(b"sha256:sha256:short \xff sha256:");
        let left: Vec<_> = orphans.into_bundles().map(|bundle| bundle.digest).collect();
        assert_eq!(left, [orphan.digest]);
    }
}
