//! Rows to write, as plain values: what a fold returns and the store carries out.

use serde::Serialize;
use std::collections::BTreeMap;

/// The rows one batch of events changes; `None` deletes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Changes(BTreeMap<Vec<u8>, Option<Vec<u8>>>);

impl Changes {
    pub fn put(&mut self, key: Vec<u8>, value: &impl Serialize) {
        // Rows hold no map with non-string keys and no fallible serializer.
        let json = serde_json::to_vec(value).expect("rows serialize");
        self.0.insert(key, Some(json));
    }

    /// A row whose key says it all.
    pub fn mark(&mut self, key: Vec<u8>) {
        self.0.insert(key, Some(Vec::new()));
    }

    pub fn delete(&mut self, key: Vec<u8>) {
        self.0.insert(key, None);
    }

    pub fn into_rows(self) -> impl Iterator<Item = (Vec<u8>, Option<Vec<u8>>)> {
        self.0.into_iter()
    }
}
