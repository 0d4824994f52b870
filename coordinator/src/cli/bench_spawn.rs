//! The floor of a benchmark: the no-op script spawned by this process, with nothing of ours around.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use futures::StreamExt;
use tempfile::TempDir;
use tokio::process::Command;

use super::bench_stats::Part;
use super::failure::Failure;

/// Bash itself does nothing but start and leave.
pub const NOOP_SCRIPT: &str = "#!/bin/bash\nexit 0\n";

pub struct Floor {
    bash: PathBuf,
    dir: TempDir,
}

impl Floor {
    pub fn new() -> Result<Self, Failure> {
        let refuse = || Failure::refused("cannot set up the bare spawn to compare with");
        let bash = find_bash().ok_or_else(|| refuse().hint("install bash"))?;
        let dir = tempfile::tempdir().map_err(|error| refuse().because(error))?;
        std::fs::write(dir.path().join("noop.sh"), NOOP_SCRIPT)
            .map_err(|error| refuse().because(error))?;
        Ok(Self { bash, dir })
    }

    /// So many spawns, so many at once, each until its end is known. Each is its own task, so that
    /// all cores fork.
    pub async fn spawn(&self, count: usize, concurrency: usize) -> Result<Part, Failure> {
        let refuse = || Failure::refused("cannot spawn bash");
        let start = Instant::now();
        let latencies: Vec<_> = futures::stream::iter(0..count)
            .map(|_| tokio::spawn(one(self.bash.clone(), self.dir.path().to_owned())))
            .buffer_unordered(concurrency)
            .collect()
            .await;
        let wall = start.elapsed();
        let latencies = latencies
            .into_iter()
            .map(|task| {
                task.map_err(|error| refuse().because(error))?
                    .map_err(|error| refuse().because(error))
            })
            .collect::<Result<_, _>>()?;
        Ok(Part {
            wall,
            count,
            latencies,
        })
    }
}

/// Its output is collected, as anybody must who wants the result.
async fn one(bash: PathBuf, dir: PathBuf) -> std::io::Result<Duration> {
    let start = Instant::now();
    let output = Command::new(bash)
        .arg("noop.sh")
        .current_dir(dir)
        .env_clear()
        .stdin(Stdio::null())
        .output()
        .await?;
    if output.status.success() {
        Ok(start.elapsed())
    } else {
        Err(std::io::Error::other(output.status.to_string()))
    }
}

/// The program itself, without the links that lead to it.
fn find_bash() -> Option<PathBuf> {
    ["/bin/bash", "/usr/bin/bash", "/usr/local/bin/bash"]
        .iter()
        .find_map(|path| Path::new(path).canonicalize().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_spawn_is_counted_and_timed() {
        let part = Floor::new().unwrap().spawn(5, 2).await.unwrap();
        assert_eq!((part.count, part.latencies.len()), (5, 5));
        assert!(
            part.latencies
                .iter()
                .all(|latency| !latency.is_zero() && *latency <= part.wall)
        );
    }
}
