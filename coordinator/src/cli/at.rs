//! `--at` and `--at-seq`: reads as of a moment, and the remark that says which one it was. What a moment
//! may look like is the server's to say.

use clap::Args;
use serde_json::Value;

use super::failure::Failure;
use super::global::Context;

#[derive(Args, Clone, Debug, Default)]
pub struct AtArgs {
    /// As it was then: 2026-11-20T09:00:00Z, 2026-11-20 (UTC), or how long ago: 30m, 2h, 1d
    #[arg(long, value_name = "TIME", conflicts_with = "at_seq")]
    at: Option<String>,

    /// As it was right after the event of this sequence
    #[arg(long, value_name = "N")]
    at_seq: Option<u64>,
}

impl AtArgs {
    /// A moment in one word: a sequence, or a time.
    pub fn of(word: &str) -> Self {
        match word.parse() {
            Ok(sequence) => Self {
                at: None,
                at_seq: Some(sequence),
            },
            Err(_) => Self {
                at: Some(word.to_owned()),
                at_seq: None,
            },
        }
    }

    /// Asks, and tells of which moment the answer is.
    pub async fn get(
        &self,
        context: &Context,
        path: &[&str],
        query: &[(&str, &str)],
    ) -> Result<Value, Failure> {
        let sequence = self.at_seq.map(|sequence| sequence.to_string());
        let mut query = query.to_vec();
        query.extend(self.at.as_deref().map(|at| ("at", at)));
        query.extend(sequence.as_deref().map(|sequence| ("at_seq", sequence)));
        let (body, as_of) = context.client.get_as_of(path, &query).await?;
        if let Some(as_of) = as_of {
            context.remark(&format!("as of {as_of}"));
        }
        Ok(body)
    }
}
