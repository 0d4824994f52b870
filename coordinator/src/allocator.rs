//! Where the coordinator's memory comes from: jemalloc. What one thread reads from the log others free, by
//! the ten thousand, and glibc has them wait for each other; and what it keeps it gives back less and less of.

#[global_allocator]
static JEMALLOC: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Read by jemalloc when it begins. Few threads are busy at a time, so two arenas do; and what is free goes
/// back to the system after a second.
#[allow(unsafe_code)] // The name is jemalloc's own, and nothing else has it.
#[unsafe(export_name = "_rjem_malloc_conf")]
pub static CONF: &[u8; 47] = b"narenas:2,dirty_decay_ms:1000,muzzy_decay_ms:0\0";
