//! The text that tells an AI agent how to call a script it has as a capability. The form is the one that
//! existing agents' prompts have; where scripts stand on the host is the caller's to make true.

use serde_json::Value;

use super::properties::Part;
use crate::interpreter::Interpreter;
use crate::script::ScriptDocument;

/// How to call this script: what it does, the command line, and each argument. Starts with a heading and
/// ends without a newline; several are joined by a line `---` between blank lines.
pub fn usage(script: &ScriptDocument) -> String {
    let arguments: Vec<Argument<'_>> = script
        .parameters_schema
        .iter()
        .flat_map(arguments)
        .collect();
    let command = [command(script)]
        .into_iter()
        .chain(arguments.iter().map(Argument::synopsis));
    let mut text = format!(
        "## Local Script: {}\n**Description:** {}\n\n**Usage:**\n```bash\n{}\n```",
        script.name,
        script.description,
        command.collect::<Vec<_>>().join(" "),
    );
    if !arguments.is_empty() {
        let lines: Vec<String> = arguments.iter().map(Argument::explained).collect();
        text.push_str(&format!("\n\n**Arguments:**\n{}", lines.join("\n")));
    }
    text
}

fn command(script: &ScriptDocument) -> String {
    let path = format!("scripts/{}/{}", script.name, script.script_file);
    match Interpreter::of(script) {
        Some(interpreter) => format!("{} {path}", interpreter.command().join(" ")),
        None => path,
    }
}

fn arguments(schema: &Value) -> impl Iterator<Item = Argument<'_>> {
    let schema = Part::whole(schema);
    schema.properties().map(move |(name, property)| Argument {
        name,
        property,
        required: schema.requires(name),
    })
}

struct Argument<'a> {
    name: &'a str,
    property: Part<'a>,
    required: bool,
}

impl Argument<'_> {
    /// `--file <file>`, in brackets if it may be left out.
    fn synopsis(&self) -> String {
        let flag = match self.placeholder() {
            Some(placeholder) => format!("--{} <{placeholder}>", self.name),
            None => format!("--{}", self.name),
        };
        if self.required {
            flag
        } else {
            format!("[{flag}]")
        }
    }

    /// One line of the list of arguments.
    fn explained(&self) -> String {
        let need = if self.required {
            "required"
        } else {
            "optional"
        };
        let mut line = format!("- `--{}` ({need})", self.name);
        if let Some(choices) = self.choices() {
            line.push_str(&format!(" One of: {}", choices.join(", ")));
        }
        if let Some(default) = self.property.keyword("default") {
            line.push_str(&format!(" [default: {}]", plain(default)));
        }
        if let Some(Value::String(description)) = self.property.keyword("description") {
            let words: Vec<&str> = description.split_whitespace().collect();
            line.push_str(&format!(" - {}", words.join(" ")));
        }
        line
    }

    /// What stands for the value; nothing for a flag that takes none.
    fn placeholder(&self) -> Option<String> {
        if let Some(choices) = self.choices() {
            return Some(choices.join("|"));
        }
        match self.kind() {
            Some("boolean") => None,
            Some("integer" | "number") => Some("N".to_owned()),
            Some("array") => Some("value1,value2,...".to_owned()),
            Some("object") => Some("json".to_owned()),
            _ => Some(self.name.to_owned()),
        }
    }

    fn choices(&self) -> Option<Vec<String>> {
        let choices = self.property.keyword("enum")?.as_array()?;
        Some(choices.iter().map(plain).collect())
    }

    /// Its type; of several the first that is not `null`.
    fn kind(&self) -> Option<&str> {
        match self.property.keyword("type")? {
            Value::Array(kinds) => kinds
                .iter()
                .filter_map(Value::as_str)
                .find(|it| *it != "null"),
            kind => kind.as_str(),
        }
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn usage_of(file: &str, tags: &[&str], schema: &Value) -> String {
        let script = ScriptDocument::from_value(json!({
            "name": "json_checker",
            "description": "Checks a given file for proper JSON format",
            "script_file": file,
            "parameters_schema": schema,
            "demands": { "tags": tags },
        }));
        usage(&script.unwrap())
    }

    /// The feature document's own example.
    #[test]
    fn explains_the_seeds_example() {
        let file =
            json!({ "type": "string", "description": "Path to the file to validate as JSON" });
        let schema = json!({ "required": ["file"], "properties": { "file": file } });
        insta::assert_snapshot!(usage_of("json_check.py", &["uv"], &schema), @r"
        ## Local Script: json_checker
        **Description:** Checks a given file for proper JSON format

        **Usage:**
        ```bash
        uv run --script scripts/json_checker/json_check.py --file <file>
        ```

        **Arguments:**
        - `--file` (required) - Path to the file to validate as JSON
        ");
    }

    #[test]
    fn every_type_has_its_placeholder() {
        let schema = json!({
            "required": ["file", "count"],
            "properties": {
                "file": { "type": "string", "description": "Path to\n  the file" },
                "mode": { "enum": ["fast", "slow"], "default": "fast", "description": "How" },
                "count": { "type": ["null", "integer"] },
                "ratio": { "type": "number", "default": 0.5 },
                "force": { "type": "boolean", "default": false },
                "tags": { "type": "array", "items": { "type": "string" } },
                "options": { "type": "object" },
                "level": { "$ref": "#/$defs/level" },
                "any": {},
            },
            "$defs": { "level": { "enum": [1, 2] } },
        });
        insta::assert_snapshot!(usage_of("run.sh", &[], &schema));
    }

    #[test]
    fn a_script_without_parameters_has_no_list_of_arguments() {
        insta::assert_snapshot!(usage_of("run", &[], &json!(null)));
    }
}
