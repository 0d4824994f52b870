//! What is wrong with a system, what that means, and the command that repairs it: the rules (`system`,
//! pure) and the look at a data folder (`folder`). Who is asked, and how it is shown, is not known here.

pub mod folder;
mod system;
#[cfg(test)]
mod tests;

pub use system::{Broker, Skipped, System, Unserved, findings};

use schemars::JsonSchema;
use serde::Serialize;

/// How much it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// As it should be.
    Ok,
    /// Good to know; nothing has to be done.
    Note,
    /// It works, and will not for ever.
    Warning,
    /// Something does not work.
    Failure,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Finding {
    /// What was looked at, in one word.
    pub check: &'static str,
    pub severity: Severity,
    pub text: String,
    /// The command that repairs it, or shows more.
    #[serde(rename = "try", skip_serializing_if = "Option::is_none")]
    pub attempt: Option<String>,
}

impl Finding {
    pub fn new(check: &'static str, severity: Severity, text: impl Into<String>) -> Self {
        Self {
            check,
            severity,
            text: text.into(),
            attempt: None,
        }
    }

    pub fn attempt(mut self, command: impl Into<String>) -> Self {
        self.attempt = Some(command.into());
        self
    }
}

/// The worst of them; what was not looked at is not wrong.
pub fn worst<'a>(findings: impl IntoIterator<Item = &'a Finding>) -> Severity {
    let severities = findings.into_iter().map(|finding| finding.severity);
    severities.max().unwrap_or(Severity::Ok)
}
