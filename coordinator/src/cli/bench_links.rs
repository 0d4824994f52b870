//! When a script's name on a host points to what: the link in the scripts folder, watched from outside,
//! so that the time is that of the version being ready to run and not of somebody saying so.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use notify::{EventHandler, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc;

use super::failure::Failure;

/// A change of a link that the kernel did not tell of is found by looking.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The same script's link in the scripts folders of many runners.
pub struct Links {
    links: Vec<PathBuf>,
    by_folder: HashMap<PathBuf, usize>,
    touched: mpsc::UnboundedReceiver<(PathBuf, Instant)>,
    #[allow(dead_code, reason = "it watches while it lives")]
    watcher: RecommendedWatcher,
}

impl Links {
    /// Waits until every folder has the link.
    pub async fn watch(
        folders: &[PathBuf],
        script: &str,
        patience: Duration,
    ) -> Result<Self, Failure> {
        let links: Vec<PathBuf> = folders.iter().map(|folder| folder.join(script)).collect();
        let began = Instant::now();
        for link in &links {
            while !link.exists() {
                if began.elapsed() > patience {
                    let there = links.iter().filter(|link| link.exists()).count();
                    let what = format!("only {there} of {} runners have the script", links.len());
                    return Err(Failure::refused(what));
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        let (sender, touched) = mpsc::unbounded_channel();
        let failed =
            |error| Failure::refused("the scripts folders cannot be watched").because(error);
        let mut watcher =
            notify::recommended_watcher(tell(sender, script.to_owned())).map_err(failed)?;
        let mut by_folder = HashMap::new();
        for (number, folder) in folders.iter().enumerate() {
            watcher
                .watch(folder, RecursiveMode::NonRecursive)
                .map_err(failed)?;
            by_folder.insert(folder.clone(), number);
        }
        Ok(Self {
            links,
            by_folder,
            touched,
            watcher,
        })
    }

    /// When each of them first led to this digest, in their order; what was seen before the call
    /// counts. Ends without those that take longer than `patience`.
    pub async fn reach(&mut self, digest: &str, patience: Duration) -> Vec<Option<Instant>> {
        let target = format!(".bundles/{}", digest.trim_start_matches("sha256:"));
        let mut reached: Vec<Option<Instant>> = vec![None; self.links.len()];
        let mut left = self.links.len();
        let began = Instant::now();
        while left > 0 && began.elapsed() < patience {
            let touched = tokio::time::timeout(LOOK_EVERY, self.touched.recv()).await;
            let at = Instant::now();
            let seen = match touched {
                Ok(Some((folder, at))) => vec![(self.by_folder.get(&folder).copied(), at)],
                Ok(None) => return reached,
                Err(_) => (0..reached.len())
                    .map(|number| (Some(number), at))
                    .collect(),
            };
            for (number, at) in seen {
                if let Some(number) = number
                    && reached[number].is_none()
                    && leads_to(&self.links[number], &target)
                {
                    reached[number] = Some(at);
                    left -= 1;
                }
            }
        }
        reached
    }
}

/// Whether the link leads there now.
pub fn leads_to(link: &Path, target: &str) -> bool {
    std::fs::read_link(link).is_ok_and(|found| found.as_os_str() == target)
}

/// Notes the moment at which something happened under the script's name.
fn tell(sender: mpsc::UnboundedSender<(PathBuf, Instant)>, script: String) -> impl EventHandler {
    move |event: notify::Result<notify::Event>| {
        let at = Instant::now();
        for path in event.into_iter().flat_map(|event| event.paths) {
            let folder = path.parent().filter(|_| path.ends_with(&script));
            if let Some(folder) = folder {
                // Nobody listens once the benchmark is over.
                let _ = sender.send((folder.to_owned(), at));
            }
        }
    }
}
