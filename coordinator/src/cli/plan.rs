//! What `apply` would change: each local script, capability or agent beside what the server has. Asks, but
//! changes nothing; which version a change makes is the server's to say.

use std::path::Path;

use schemas::bundle::Folder;
use schemas::{
    AGENT_JSON, AgentDocument, CAPABILITY_JSON, CapabilityDocument, SCRIPT_JSON, changed_fields,
};
use serde_json::Value;

use super::client::Client;
use super::diff;
use super::failure::Failure;
use super::folder::{self, Kind, Packed, STATUS, Source};
use super::prune::{self, Surplus};

/// A script, capability or agent as it is here, and what that means for the server.
pub struct Item {
    pub kind: Kind,
    pub name: String,
    pub content: Content,
    pub step: Step,
    /// The version that the server has.
    pub version: Option<u64>,
}

pub enum Content {
    Script(Packed),
    Capability(Value),
    Agent(Value),
}

#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    Create,
    Keep,
    Change {
        /// Field and file paths.
        what: Vec<String>,
        /// The same as text diffs.
        diff: String,
    },
}

impl Item {
    /// The agents that an agent's hooks run.
    fn hook_agents(&self) -> Vec<&str> {
        let Content::Agent(document) = &self.content else {
            return Vec::new();
        };
        let hooks = document["hooks"].as_object().into_iter().flatten();
        hooks
            .filter_map(|(_, hook)| hook["agent_name"].as_str())
            .collect()
    }

    pub fn label(&self) -> String {
        format!("{}/{}", self.kind.as_str(), self.name)
    }
}

/// A whole folder beside what the server has.
pub struct Plan {
    /// In an order in which the server takes them.
    pub items: Vec<Item>,
    /// What cannot be read or compared, by its label.
    pub failed: Vec<(String, Failure)>,
    /// What only the server has, where that was asked for.
    pub surplus: Vec<Surplus>,
}

/// Compares everything in the folder with the server. `prune` also looks for what is only there.
pub async fn folder(
    client: &Client,
    path: &Path,
    prune: bool,
    color: bool,
) -> Result<Plan, Failure> {
    let sources = folder::sources(path)?;
    let (mut items, mut failed) = (Vec::new(), Vec::new());
    for source in &sources {
        match item(client, source, color).await {
            Ok(item) => items.push(item),
            // Where no further one can fare better.
            Err(failure) if failure.is_final() => return Err(failure),
            Err(failure) => failed.push((source.label(), failure)),
        }
    }
    let surplus = match prune {
        true => prune::surplus(client, path, &sources).await?,
        false => Vec::new(),
    };
    Ok(Plan {
        items: hooks_first(items),
        failed,
        surplus,
    })
}

/// An agent comes after those that its hooks run: the server takes no hook that runs nobody.
fn hooks_first(items: Vec<Item>) -> Vec<Item> {
    let mut waiting = items;
    let mut ordered = Vec::with_capacity(waiting.len());
    while !waiting.is_empty() {
        let is_free = |item: &Item| {
            let hooks = item.hook_agents();
            let mut others = waiting.iter().filter(|other| other.name != item.name);
            !others.any(|other| other.kind == Kind::Agent && hooks.contains(&other.name.as_str()))
        };
        // In a circle none is free; then the server says what it lacks.
        let next = waiting.iter().position(is_free).unwrap_or_default();
        ordered.push(waiting.remove(next));
    }
    ordered
}

/// Reads one source and compares it with the server.
async fn item(client: &Client, source: &Source, color: bool) -> Result<Item, Failure> {
    let item = match source.kind {
        Kind::Script => script(client, folder::pack(&source.path)?, color).await?,
        Kind::Capability => capability(client, folder::capability(&source.path)?, color).await?,
        Kind::Agent => agent(client, folder::agent(&source.path)?, color).await?,
    };
    source.holds(&item.name)?;
    Ok(item)
}

async fn script(client: &Client, packed: Packed, color: bool) -> Result<Item, Failure> {
    let there = client.find(&["scripts", &packed.name], &[]).await?;
    let step = match &there {
        None => Step::Create,
        Some(there) if there["digest"] == packed.digest.as_str() => Step::Keep,
        Some(_) => {
            let query = [("format", "zst")];
            let bundle = client
                .download(&["scripts", &packed.name, "download"], &query)
                .await?;
            script_change(&folder::unpack(&bundle)?, &packed.folder, color)
        }
    };
    Ok(Item {
        kind: Kind::Script,
        name: packed.name.clone(),
        version: there.and_then(|there| there["version"].as_u64()),
        content: Content::Script(packed),
        step,
    })
}

/// What is different between two folders of a script.
pub fn script_change(old: &Folder, new: &Folder, color: bool) -> Step {
    let document = |folder: &Folder| -> Value {
        let json = folder.get(SCRIPT_JSON).map(|file| file.bytes.as_slice());
        serde_json::from_slice(json.unwrap_or_default()).unwrap_or_default()
    };
    let mut what = changed_fields(&document(old), &document(new));
    // The document's fields were named one by one.
    what.extend(
        diff::files(old, new)
            .into_iter()
            .filter(|path| path != SCRIPT_JSON),
    );
    Step::Change {
        what,
        diff: diff::folders(old, new, color),
    }
}

async fn capability(client: &Client, document: Value, color: bool) -> Result<Item, Failure> {
    let name = document["name"].as_str().unwrap_or_default().to_owned();
    let there = client.find(&["capabilities", &name], &[]).await?;
    let step = match &there {
        None => Step::Create,
        Some(there) => {
            let there = canonical_capability(there);
            document_change(CAPABILITY_JSON, &there, &document, color)
        }
    };
    Ok(Item {
        kind: Kind::Capability,
        name,
        version: there.and_then(|there| there["version"].as_u64()),
        content: Content::Capability(document),
        step,
    })
}

async fn agent(client: &Client, mut document: Value, color: bool) -> Result<Item, Failure> {
    let name = document["name"].as_str().unwrap_or_default().to_owned();
    let there = client.find(&["agents", &name], &[("raw", "true")]).await?;
    let step = match &there {
        None => Step::Create,
        Some(there) => {
            let there = canonical(there);
            keep_status(&there, &mut document);
            document_change(AGENT_JSON, &there, &document, color)
        }
    };
    Ok(Item {
        kind: Kind::Agent,
        name,
        version: there.and_then(|there| there["version"].as_u64()),
        content: Content::Agent(document),
        step,
    })
}

/// What is different between two documents of one kind; `file` is what such a document is called.
pub fn document_change(file: &str, old: &Value, new: &Value, color: bool) -> Step {
    let what = changed_fields(old, new);
    if what.is_empty() {
        return Step::Keep;
    }
    let text = |value: &Value| format!("{value:#}\n");
    let diff = diff::unified(file, text(old).as_bytes(), text(new).as_bytes(), color);
    Step::Change { what, diff }
}

/// An agent that was switched off stays off unless its file says otherwise.
fn keep_status(there: &Value, document: &mut Value) {
    if document.get(STATUS).is_none() && !there[STATUS].is_null() {
        document[STATUS] = there[STATUS].clone();
    }
}

/// What the server has, without what it alone knows (times, version), spelled as we spell it.
pub fn canonical(there: &Value) -> Value {
    AgentDocument::from_value(there.clone())
        .ok()
        .and_then(|document| serde_json::to_value(document).ok())
        .unwrap_or_else(|| there.clone())
}

/// The same of a capability.
pub fn canonical_capability(there: &Value) -> Value {
    CapabilityDocument::from_value(there.clone())
        .ok()
        .and_then(|document| serde_json::to_value(document).ok())
        .unwrap_or_else(|| there.clone())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn local() -> Value {
        json!({"name": "notifier", "description": "d", "type": "procedural", "script": "send"})
    }

    #[test]
    fn what_only_the_server_knows_is_no_change() {
        let mut there = local();
        there["created_at"] = json!("2026-11-20T10:00:00Z");
        there["version"] = json!(4);
        there["tags"] = json!([]);
        assert_eq!(
            document_change(AGENT_JSON, &canonical(&there), &canonical(&local()), false),
            Step::Keep
        );
    }

    #[test]
    fn an_agent_that_was_switched_off_stays_off() {
        let mut there = local();
        there["status"] = json!("inactive");
        let mut document = local();
        keep_status(&canonical(&there), &mut document);
        assert_eq!(
            document_change(AGENT_JSON, &canonical(&there), &document, false),
            Step::Keep
        );
    }

    #[test]
    fn a_field_taken_out_here_is_a_change() {
        let mut there = local();
        there["demands"] = json!({"tags": ["gpu"]});
        let Step::Change { what, diff } =
            document_change(AGENT_JSON, &canonical(&there), &canonical(&local()), false)
        else {
            panic!("a change was missed");
        };
        assert_eq!(what, ["demands"]);
        assert!(diff.contains("-  \"demands\""), "{diff}");
    }
}
