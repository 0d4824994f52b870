//! What surrounds one script process: which program runs it, with which environment, in which folder, and
//! what becomes of its output.
//!
//! Not here: starting and ending processes (`launcher`), turning parameters into arguments (`schemas`), and
//! what is written to the broker about any of it.

pub mod environment;
pub mod interpreter;
pub mod output;
pub mod paths;
pub mod result;
pub mod workspace;
