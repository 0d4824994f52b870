//! Settings: what a flag says goes before the environment, that before a layer of values (a context, a file),
//! and that before the default. A layer's values are added to the command line as the flags they stand for,
//! so one parser reads and refuses them all. What a setting means is not known here.

mod command_line;
mod file;
mod keys;
mod told;

pub use command_line::CommandLine;
pub use file::{File, SettingsError, first};
pub use keys::Keys;
pub use told::{Origin, Setting};

/// Values that go before the defaults, and after what is said at the start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// For people: a file's path, or a context's name.
    pub name: String,
    /// Whether it was asked for in so many words, and so goes before the environment, too.
    pub over_environment: bool,
    pub values: Vec<(String, Given)>,
}

/// What a setting is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Given {
    /// A flag without a value.
    Switch(bool),
    Values(Vec<String>),
}

impl Given {
    fn text(&self) -> String {
        match self {
            Self::Switch(on) => on.to_string(),
            Self::Values(values) => values.join(","),
        }
    }
}

impl Layer {
    pub fn given(&self, key: &str) -> Option<&Given> {
        let found = self.values.iter().find(|(name, _)| name == key);
        found.map(|(_, given)| given)
    }

    /// Leaves out what is not to be taken.
    pub fn without(mut self, keys: &[&str]) -> Self {
        self.values
            .retain(|(name, _)| !keys.contains(&name.as_str()));
        self
    }
}
