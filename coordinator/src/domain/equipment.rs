//! What an agent has from elsewhere: a procedural one its script's schemas, an autonomous one the
//! texts, scripts and MCP servers of its capabilities. Only for showing: what is stored stays as it
//! was written.

use super::{Rejection, demands};
use events::catalog::{Catalog, CatalogEvent};
use schemas::parameters::usage;
use schemas::{AgentDocument, AgentKind, CapabilityDocument};
use serde_json::{Map, Value};

/// Between the parts of a prompt.
const BETWEEN_PARTS: &str = "\n\n---\n\n";

/// The document as it is shown, with what the agent has from elsewhere.
pub fn resolved(catalog: &Catalog, document: &AgentDocument) -> AgentDocument {
    match document.kind {
        AgentKind::Procedural => with_schemas(catalog, document),
        AgentKind::Autonomous => AgentDocument {
            system_prompt: system_prompt(catalog, document),
            mcp_servers: mcp_servers(catalog, document),
            ..document.clone()
        },
    }
}

/// Refuses an event after which one name would mean two MCP servers to an agent.
///
/// # Errors
/// When there is such an agent.
pub fn check_after(catalog: &Catalog, event: &CatalogEvent) -> Result<(), Rejection> {
    let after = demands::after(catalog, event);
    let mut agents = demands::concerned(&after, event);
    agents.try_for_each(|agent| no_server_twice(&after, agent))
}

fn with_schemas(catalog: &Catalog, document: &AgentDocument) -> AgentDocument {
    let script = document.script.as_ref();
    let script = script.and_then(|name| catalog.scripts.get(name));
    match script.map(|entry| &entry.current.document) {
        None => document.clone(),
        Some(script) => AgentDocument {
            parameters_schema: script.parameters_schema.clone(),
            output_schema: script.output_schema.clone(),
            ..document.clone()
        },
    }
}

/// The agent's own prompt, then what each capability says, then how its script is called.
fn system_prompt(catalog: &Catalog, document: &AgentDocument) -> Option<String> {
    let of_capability = |capability: &CapabilityDocument| {
        let script = capability.script.as_ref();
        let script = script.and_then(|name| catalog.scripts.get(name));
        let script = script.map(|entry| usage(&entry.current.document));
        capability.text.clone().into_iter().chain(script)
    };
    let given = capabilities(catalog, document).flat_map(of_capability);
    let parts: Vec<String> = document
        .system_prompt
        .clone()
        .into_iter()
        .chain(given)
        .collect();
    (!parts.is_empty()).then(|| parts.join(BETWEEN_PARTS))
}

/// The agent's own servers and its capabilities'. Servers that are written as something else than an
/// object by name are the executor's to understand.
fn mcp_servers(catalog: &Catalog, document: &AgentDocument) -> Option<Value> {
    let mut servers = match &document.mcp_servers {
        None => Map::new(),
        Some(Value::Object(servers)) => servers.clone(),
        Some(other) => return Some(other.clone()),
    };
    for capability in capabilities(catalog, document) {
        servers.extend(capability.mcp_servers.clone());
    }
    (!servers.is_empty()).then_some(Value::Object(servers))
}

fn no_server_twice(catalog: &Catalog, agent: &AgentDocument) -> Result<(), Rejection> {
    let own = agent.mcp_servers.as_ref().and_then(Value::as_object);
    let mut servers = own.cloned().unwrap_or_default();
    for capability in capabilities(catalog, agent) {
        for (name, server) in &capability.mcp_servers {
            let before = servers.insert(name.clone(), server.clone());
            if before.is_some_and(|before| before != *server) {
                return Err(Rejection::TwoMcpServers {
                    agent: agent.name.clone(),
                    capability: capability.name.clone(),
                    server: schemas::shown(name),
                });
            }
        }
    }
    Ok(())
}

fn capabilities<'a>(
    catalog: &'a Catalog,
    agent: &'a AgentDocument,
) -> impl Iterator<Item = &'a CapabilityDocument> {
    let found = agent.capabilities.iter();
    let found = found.filter_map(|name| catalog.capabilities.get(name));
    found.map(|entry| &entry.current.document)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::capabilities::put;
    use crate::domain::testing::{
        agent, capability, capability_created, given, helper, helper_created, script_created,
        script_with,
    };
    use rstest::rstest;
    use schemas::{Demands, ScriptDocument};
    use serde_json::json;

    /// The seeds' script, written for one interpreter.
    fn json_checker(file: &str, tag: &str) -> impl FnOnce(&mut ScriptDocument) {
        move |script| {
            script.description = "Checks a given file for proper JSON format".to_owned();
            script.script_file = file.parse().unwrap();
            script.demands = Demands::of_tags([tag.parse().unwrap()]);
            script.parameters_schema = Some(json!({
                "type": "object",
                "required": ["file"],
                "properties": {
                    "file": { "type": "string", "description": "Path to the file" },
                    "mode": { "enum": ["fast", "slow"], "default": "fast", "description": "How" },
                    "limit": { "type": "integer" },
                    "strict": { "type": "boolean" },
                    "keys": { "type": "array", "items": { "type": "string" } },
                },
            }));
        }
    }

    /// One golden file per way to start a script.
    #[rstest]
    #[case::uv("json_check.py", "uv")]
    #[case::python3("json_check.py", "python3")]
    #[case::bash("json_check.sh", "bash")]
    #[case::node("json_check.js", "node")]
    fn the_prompt_says_how_to_start_the_script(#[case] file: &str, #[case] tag: &str) {
        let catalog = given([
            script_with("json_checker", json_checker(file, tag)),
            capability_created("checking", json!({"script": "json_checker"})),
        ]);
        let helper = helper("helper", &["checking"]);
        let prompt = resolved(&catalog, &helper).system_prompt.unwrap();
        insta::assert_snapshot!(format!("prompt_with_{tag}"), prompt);
    }

    #[test]
    fn the_prompt_is_the_agents_own_then_its_capabilities_in_their_order() {
        let catalog = given([
            script_created("checker", "1"),
            capability_created(
                "checking",
                json!({"script": "checker", "text": "Check first."}),
            ),
            capability_created("brevity", json!({"text": "Be brief."})),
        ]);
        let mut helper = helper("helper", &["brevity", "checking"]);
        let without = resolved(&catalog, &helper).system_prompt.unwrap();
        assert!(without.starts_with("Be brief.\n\n---\n\nCheck first."));
        helper.system_prompt = Some("You help.".to_owned());
        let prompt = resolved(&catalog, &helper).system_prompt.unwrap();
        insta::assert_snapshot!(prompt);
    }

    #[test]
    fn who_has_nothing_is_told_nothing() {
        let lonely = helper("lonely", &[]);
        assert_eq!(resolved(&Catalog::default(), &lonely), lonely);
        let orphan = agent("orphan", "gone");
        assert_eq!(resolved(&Catalog::default(), &orphan), orphan);
    }

    #[test]
    fn servers_come_together_and_no_name_means_two() {
        let catalog = given([
            capability_created(
                "notes",
                json!({"mcp_servers": {"notes": {"url": "http://a"}}}),
            ),
            capability_created(
                "mail",
                json!({"mcp_servers": {"mail": {"url": "http://b"}}}),
            ),
            helper_created("helper", &["notes", "mail"]),
        ]);
        let helper = helper("helper", &["notes", "mail"]);
        assert_eq!(
            resolved(&catalog, &helper).mcp_servers,
            Some(json!({"notes": {"url": "http://a"}, "mail": {"url": "http://b"}}))
        );
        let same = capability(
            "mail",
            json!({"mcp_servers": {"notes": {"url": "http://a"}}}),
        );
        assert!(put(&catalog, &same).is_ok());
        let other = capability(
            "mail",
            json!({"mcp_servers": {"notes": {"url": "http://c"}}}),
        );
        let refusal = put(&catalog, &other).unwrap_err().to_string();
        assert!(
            refusal.starts_with("Agent helper would have two"),
            "{refusal}"
        );
    }
}
