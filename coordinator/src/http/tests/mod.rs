//! The router as clients meet it, over an application whose log is in memory.

mod agents;
mod door;
mod fixtures;
mod logs;
mod runners;
mod runs;
mod scripts;
mod shapes;
mod world;
