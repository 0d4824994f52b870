//! What a run is given: bounded, completed with the schema's defaults, and turned into the script's
//! arguments or the text that explains them. Whether parameters fit their schema is `check`'s.

mod argv;
mod bounds;
mod defaults;
mod paths;
mod properties;
mod usage;

pub use argv::{ArgumentFault, ArgumentRefused, MAX_ARGUMENT_BYTES, argv};
pub use bounds::{MAX_PARAMETERS_BYTES, MAX_PARAMETERS_DEPTH, ParametersRefused, bound};
pub use defaults::with_defaults;
pub use paths::{PathParameter, paths};
pub use usage::usage;
