//! What the server has and a folder has not: found and deleted. It asks nobody; `apply` does.

use std::collections::HashSet;
use std::path::Path;

use reqwest::Method;
use serde_json::Value;

use super::apply_report::{Outcome, Report};
use super::client::{Body, Client};
use super::failure::Failure;
use super::folder::{self, Kind, Source};

/// Something that only the server has.
pub struct Surplus {
    pub kind: Kind,
    pub name: String,
    pub version: Option<u64>,
}

impl Surplus {
    pub fn label(&self) -> String {
        format!("{}/{}", self.kind.as_str(), self.name)
    }
}

/// Of the kinds that the folder has a place for: a folder with scripts alone says nothing about
/// agents. What a runner brought leaves with its runner, and is none of this.
pub async fn surplus(
    client: &Client,
    path: &Path,
    sources: &[Source],
) -> Result<Vec<Surplus>, Failure> {
    let kinds = folder::kinds(path);
    if kinds.is_empty() {
        return Err(Failure::usage(format!(
            "{} is the folder of one item, so nothing can be missing in it",
            path.display()
        ))
        .hint("--prune with the folder that holds scripts/, capabilities/ and agents/"));
    }
    let mut surplus = Vec::new();
    // What refers to others goes before them.
    for kind in kinds.into_iter().rev() {
        let of_kind = sources.iter().filter(|source| source.kind == kind);
        let here: HashSet<_> = of_kind.map(Source::name).collect();
        let there = client.get(&[kind.plural()], &[]).await?;
        let there = there.as_array().into_iter().flatten();
        let only_there = there.filter(|item| {
            let name = item["name"].as_str().unwrap_or_default();
            item["runner_id"].is_null() && !here.contains(name)
        });
        surplus.extend(only_there.map(|item| one(kind, item)));
    }
    Ok(surplus)
}

/// Deletes one after the other. What others still refer to is tried again after them.
pub async fn delete(
    client: &Client,
    surplus: Vec<Surplus>,
    report: &mut Report<'_>,
) -> Result<(), Failure> {
    let mut waiting = surplus;
    loop {
        let before = waiting.len();
        let mut refused = Vec::new();
        for item in waiting {
            let path = [item.kind.plural(), &item.name];
            match client.send(Method::DELETE, &path, &[], Body::Empty).await {
                Ok(_) => report.add(Outcome::surplus(&item, "deleted", "deleted"))?,
                Err(failure) if failure.is_final() => return Err(failure),
                Err(failure) => refused.push((item, failure)),
            }
        }
        if refused.len() == before {
            let mut refused = refused.into_iter();
            return refused.try_for_each(|(item, failure)| {
                report.add(Outcome::failed(item.label(), failure))
            });
        }
        waiting = refused.into_iter().map(|(item, _)| item).collect();
    }
}

fn one(kind: Kind, item: &Value) -> Surplus {
    Surplus {
        kind,
        name: item["name"].as_str().unwrap_or_default().to_owned(),
        version: item["version"].as_u64(),
    }
}
