//! What the broker's streams take up, and copies of them, as a port: the broker's connection
//! implements it, and tests do without a broker.

use async_trait::async_trait;
use events::log::jetstream::{AccountFacts, Connection, Snapshot, StorageError, StreamFacts};
use events::subject::Stream;

/// The streams as an operator sees them.
#[async_trait]
pub trait Storage: Send + Sync {
    /// Those of ours that are there.
    async fn streams(&self) -> Result<Vec<StreamFacts>, StorageError>;

    /// One of them, or none where it is not there.
    async fn stream(&self, stream: Stream) -> Result<Option<StreamFacts>, StorageError>;

    /// What our account takes up.
    async fn account(&self) -> Result<AccountFacts, StorageError>;

    /// A copy of a stream at this moment.
    async fn snapshot(&self, stream: &str) -> Result<Snapshot, StorageError>;

    fn server_version(&self) -> String;

    /// The cluster that the broker is; none where it is one server.
    fn cluster(&self) -> Option<String>;
}

#[async_trait]
impl Storage for Connection {
    async fn streams(&self) -> Result<Vec<StreamFacts>, StorageError> {
        self.all_stream_facts().await
    }

    async fn stream(&self, stream: Stream) -> Result<Option<StreamFacts>, StorageError> {
        self.stream_facts(stream.name()).await
    }

    async fn account(&self) -> Result<AccountFacts, StorageError> {
        self.account_facts().await
    }

    async fn snapshot(&self, stream: &str) -> Result<Snapshot, StorageError> {
        Connection::snapshot(self, stream).await
    }

    fn server_version(&self) -> String {
        Connection::server_version(self)
    }

    fn cluster(&self) -> Option<String> {
        Connection::cluster(self)
    }
}
