//! What a command that did not succeed tells its user, and the exit code that says the same to a
//! script. Every failure says what happened, why, and what to try. It decides nothing about HTTP:
//! `client` turns answers into these.

use std::error::Error;
use std::fmt;
use std::io::ErrorKind;

/// Exit codes, the same for every command. 2 (usage) is also what clap itself uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    Ok = 0,
    Refused = 1,
    Usage = 2,
    Unreachable = 3,
    NotAllowed = 4,
    RunFailed = 10,
    RunTimedOut = 11,
    RunStopped = 12,
    NoMatch = 13,
    Interrupted = 130,
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

#[derive(Debug)]
pub struct Failure {
    exit: Exit,
    what: String,
    details: Vec<String>,
    hint: Option<String>,
    code: Option<String>,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl Failure {
    pub fn new(exit: Exit, what: impl Into<String>) -> Self {
        Self {
            exit,
            what: what.into(),
            details: Vec::new(),
            hint: None,
            code: None,
            source: None,
        }
    }

    pub fn refused(what: impl Into<String>) -> Self {
        Self::new(Exit::Refused, what)
    }

    pub fn usage(what: impl Into<String>) -> Self {
        Self::new(Exit::Usage, what)
    }

    /// Has been told already (a line per item, a closed pipe): sets the exit code, prints nothing.
    pub fn silent(exit: Exit) -> Self {
        Self::new(exit, "")
    }

    /// Standard output could not be written. A reader that left (`| head`) is no failure.
    pub fn output(error: std::io::Error) -> Self {
        if error.kind() == ErrorKind::BrokenPipe {
            return Self::silent(Exit::Ok);
        }
        Self::refused("cannot write to standard output").because(error)
    }

    /// Whether what comes next would fail for the same reason.
    pub fn is_final(&self) -> bool {
        matches!(self.exit, Exit::Unreachable | Exit::NotAllowed)
    }

    pub fn because(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    pub fn details(mut self, details: impl IntoIterator<Item = String>) -> Self {
        self.details.extend(details);
        self
    }

    /// Puts the operation in front: `cannot delete script deploy: Script is referenced by …`.
    /// Not where the server was never reached or refused the caller altogether: then the
    /// operation does not matter.
    pub fn doing(mut self, operation: impl fmt::Display) -> Self {
        if !matches!(self.exit, Exit::Unreachable | Exit::NotAllowed) {
            self.what = format!("{operation}: {}", self.what);
        }
        self
    }

    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// A command to try where the server suggested none.
    pub fn or_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint.get_or_insert_with(|| hint.into());
        self
    }

    pub fn code(mut self, code: Option<String>) -> Self {
        self.code = code;
        self
    }

    /// The same, told to scripts by another code.
    pub fn with_exit(mut self, exit: Exit) -> Self {
        self.exit = exit;
        self
    }

    pub fn exit(&self) -> Exit {
        self.exit
    }

    /// The server's own code for it (`agent_not_found`), where it gave one.
    pub fn server_code(&self) -> Option<&str> {
        self.code.as_deref()
    }

    /// One line, for lists of failures: the message and its causes.
    pub fn line(&self) -> String {
        let mut parts = vec![self.what.clone()];
        parts.extend(self.causes());
        parts.extend(self.details.iter().cloned());
        parts.join(": ")
    }

    /// What goes to stderr, the chain of causes included; empty for a silent one.
    pub fn report(&self) -> String {
        if self.what.is_empty() {
            return String::new();
        }
        let mut text = format!("error: {}\n", self.what);
        for cause in self.causes() {
            text.push_str(&format!("  because: {cause}\n"));
        }
        for detail in &self.details {
            text.push_str(&format!("  - {detail}\n"));
        }
        if let Some(hint) = &self.hint {
            text.push_str(&format!("  try: {hint}\n"));
        }
        text
    }

    /// Causes without those whose text the level above has said already, as HTTP clients like to.
    fn causes(&self) -> Vec<String> {
        let mut said = self.what.clone();
        let mut causes = Vec::new();
        let mut next: Option<&dyn Error> =
            self.source.as_deref().map(|source| source as &dyn Error);
        while let Some(error) = next {
            let text = error.to_string();
            if !said.contains(&text) {
                said.clone_from(&text);
                causes.push(text);
            }
            next = error.source();
        }
        causes
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl Error for Failure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_says_what_why_and_what_to_try() {
        let failure = Failure::refused("script is referenced by agents: notifier")
            .doing("cannot delete script deploy")
            .because(std::io::Error::other("in use"))
            .details(["$.env: is required".to_owned()])
            .or_hint("coordinator agent list")
            .or_hint("never shown");
        assert_eq!(
            failure.report(),
            "error: cannot delete script deploy: script is referenced by agents: notifier\n  \
             because: in use\n  - $.env: is required\n  try: coordinator agent list\n"
        );
    }

    #[test]
    fn a_reader_that_left_is_no_failure() {
        let failure = Failure::output(ErrorKind::BrokenPipe.into());
        assert_eq!((failure.exit(), failure.report().as_str()), (Exit::Ok, ""));
    }
}
