//! The router as clients meet it, over an application whose log is in memory.

mod agents;
mod capabilities;
mod conditions;
mod conformance;
mod door;
mod fixtures;
mod lanes;
mod lists;
mod logs;
mod metrics;
mod runners;
mod runs;
mod scripts;
mod shapes;
mod tokens;
mod world;
