//! Three real nats-servers as one cluster, on free ports in temporary folders.

use crate::eventually::eventually;
use crate::nats::free_port;
use crate::process::{Process, tool};
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// The least number of servers of which one may be lost.
const NODES: usize = 3;

/// A cluster of one story's own. The stores survive [`Cluster::kill`] and [`Cluster::start_again`].
pub struct Cluster {
    nodes: Vec<Node>,
    _folder: TempDir,
}

struct Node {
    process: Process,
    port: u16,
    config: PathBuf,
}

impl Cluster {
    /// Its servers listen; who needs JetStream repeats until there is a leader.
    pub async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let ports: Vec<(u16, u16)> = (0..NODES).map(|_| (free_port(), free_port())).collect();
        let mut routes = String::new();
        for (_, route) in &ports {
            writeln!(routes, "    \"nats://127.0.0.1:{route}\"").unwrap();
        }
        let nodes = ports.iter().enumerate().map(|(index, (port, route))| {
            let config = folder.path().join(format!("node-{index}.conf"));
            let store = folder.path().join(format!("store-{index}"));
            let text = format!(
                "listen: \"127.0.0.1:{port}\"\nserver_name: \"node-{index}\"\n\
                 jetstream {{\n  store_dir: {store:?}\n}}\n\
                 cluster {{\n  name: \"story\"\n  listen: \"127.0.0.1:{route}\"\n  routes: [\n{routes}  ]\n}}\n"
            );
            std::fs::write(&config, text).unwrap();
            let process = spawn(&config);
            Node {
                process,
                port: *port,
                config,
            }
        });
        let cluster = Self {
            nodes: nodes.collect(),
            _folder: folder,
        };
        for node in &cluster.nodes {
            node.listens().await;
        }
        cluster
    }

    /// Of all servers.
    pub fn url(&self) -> String {
        let urls = self.nodes.iter().map(Node::url);
        urls.collect::<Vec<_>>().join(",")
    }

    /// Of one server, as the broker names it.
    pub fn url_of(&self, name: &str) -> String {
        self.nodes[index(name)].url()
    }

    /// The servers' names, but for that one.
    pub fn others(name: &str) -> Vec<String> {
        let others = (0..NODES).filter(|other| *other != index(name));
        others.map(|other| format!("node-{other}")).collect()
    }

    pub fn kill(&mut self, name: &str) {
        self.nodes[index(name)].process.kill();
    }

    /// On the same ports, with the same store.
    pub async fn start_again(&mut self, name: &str) {
        let node = &mut self.nodes[index(name)];
        node.process = spawn(&node.config);
        node.listens().await;
    }
}

impl Node {
    fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    async fn listens(&self) {
        let address = ("127.0.0.1", self.port);
        eventually("a server of the cluster listens", async || {
            tokio::net::TcpStream::connect(address).await.ok()
        })
        .await;
    }
}

fn index(name: &str) -> usize {
    name.strip_prefix("node-").unwrap().parse().unwrap()
}

fn spawn(config: &std::path::Path) -> Process {
    let mut command = Command::new(tool("nats-server"));
    command
        .arg("--config")
        .arg(config)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    Process::start("nats-server", &mut command)
}
