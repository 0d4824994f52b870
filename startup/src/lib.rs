//! What both programs, coordinator and runner, do before their own work begins: put their settings together,
//! start their log, and say whom their HTTP clients believe. It knows nothing of what they are for.

pub mod log;
pub mod reference;
pub mod settings;
pub mod traces;
pub mod trust;
