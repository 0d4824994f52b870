//! The coordinator as a library: what its binary and its tests share.

pub mod access;
pub mod app;
pub mod archive;
pub mod bench_api;
pub mod bench_log;
pub mod broker;
pub mod cli;
pub mod config;
pub mod data_dir;
pub mod dev;
pub mod diagnosis;
pub mod domain;
pub mod http;
pub mod policy;
pub mod projections;
pub mod reactors;
pub mod serve;
pub mod tether;

#[cfg(test)]
mod testing;
