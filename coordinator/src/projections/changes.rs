//! Rows to write, as plain values: what a fold returns and the store carries out.

use serde::Serialize;

/// The rows one batch of events changes, in the order of its words on them: the last one counts.
/// `None` deletes.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    rows: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    /// Room to write a row in whose length nobody knows yet.
    scratch: Vec<u8>,
}

impl Changes {
    pub fn put(&mut self, key: Vec<u8>, value: &impl Serialize) {
        self.scratch.clear();
        // Rows hold no map with non-string keys and no fallible serializer.
        serde_json::to_writer(&mut self.scratch, value).expect("rows serialize");
        self.rows.push((key, Some(self.scratch.clone())));
    }

    /// A row whose key says it all.
    pub fn mark(&mut self, key: Vec<u8>) {
        self.rows.push((key, Some(Vec::new())));
    }

    pub fn delete(&mut self, key: Vec<u8>) {
        self.rows.push((key, None));
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub fn into_rows(self) -> impl Iterator<Item = (Vec<u8>, Option<Vec<u8>>)> {
        self.rows.into_iter()
    }
}
