//! What can be asked of this program, and nothing about how it is done.

use std::fmt;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    Demo,
    /// The second half of `demo` on a terminal, started by the first half.
    DemoShielded,
    Verify,
    Soak,
    Tools,
}

impl Task {
    /// Takes the arguments after the program's name.
    pub fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Task, Usage> {
        let mut arguments = arguments.into_iter();
        let (Some(word), None) = (arguments.next(), arguments.next()) else {
            return Err(Usage {
                problem: "expected exactly one task".to_owned(),
            });
        };
        match word.as_str() {
            "demo" => Ok(Task::Demo),
            Self::DEMO_SHIELDED => Ok(Task::DemoShielded),
            "verify" => Ok(Task::Verify),
            "soak" => Ok(Task::Soak),
            "tools" => Ok(Task::Tools),
            _ => Err(Usage {
                problem: format!("there is no task {word:?}"),
            }),
        }
    }

    /// How `demo` calls its second half; not for people.
    pub const DEMO_SHIELDED: &str = "demo-shielded";
}

/// What was wrong with the arguments; shows the tasks there are.
#[derive(Debug, PartialEq, Eq)]
pub struct Usage {
    problem: String,
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}; try one of", self.problem)?;
        writeln!(
            f,
            "  cargo demo     build, start everything on this machine and run two agents"
        )?;
        writeln!(f, "  cargo verify   format, lints, build and every test")?;
        writeln!(
            f,
            "  cargo soak     the fault stories with full counts and real times; takes hours"
        )?;
        write!(
            f,
            "  cargo run -p xtask -- tools   only fetch what the tests need into .tools/"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Result<Task, Usage> {
        Task::parse(words.iter().map(ToString::to_string))
    }

    #[test]
    fn each_task_has_its_word() {
        assert_eq!(parse(&["demo"]), Ok(Task::Demo));
        assert_eq!(parse(&[Task::DEMO_SHIELDED]), Ok(Task::DemoShielded));
        assert_eq!(parse(&["verify"]), Ok(Task::Verify));
        assert_eq!(parse(&["soak"]), Ok(Task::Soak));
        assert_eq!(parse(&["tools"]), Ok(Task::Tools));
    }

    #[test]
    fn anything_else_is_answered_with_the_tasks_there_are() {
        for words in [&[][..], &["verfy"], &["verify", "demo"], &["--help"]] {
            let usage = parse(words).unwrap_err().to_string();
            assert!(usage.contains("cargo verify"), "{words:?}: {usage}");
        }
    }
}
