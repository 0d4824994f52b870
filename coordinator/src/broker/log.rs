//! The server's log lines: read, and passed on to `tracing` at their own level.
//!
//! Lines look like `[4711] 2026/11/20 12:00:00.000000 [INF] text`, the time being optional;
//! what the server says before its log is set up (a mistake in the configuration) is plain text.

/// For filters: `nats_server=warn`.
const TARGET: &str = "nats_server";

/// Level and text of one line, without process id and time.
pub(super) fn parse(line: &str) -> (tracing::Level, &str) {
    let tagged = line
        .split_once("] ")
        .filter(|(start, _)| is_process_id(start));
    let rest = tagged.map_or(line, |(_, rest)| rest);
    for (tag, level) in [
        ("[INF] ", tracing::Level::INFO),
        ("[WRN] ", tracing::Level::WARN),
        ("[ERR] ", tracing::Level::ERROR),
        ("[FTL] ", tracing::Level::ERROR),
        ("[DBG] ", tracing::Level::DEBUG),
        ("[TRC] ", tracing::Level::TRACE),
    ] {
        // Only the time can stand before the tag: a client's own text comes after it.
        if let Some((_, text)) = rest.split_once(tag).filter(|(time, _)| is_time(time)) {
            return (level, text);
        }
    }
    (tracing::Level::WARN, line)
}

/// Passes one line on.
pub(super) fn forward(line: &str) {
    let (level, text) = parse(line);
    match level {
        tracing::Level::ERROR => tracing::error!(target: TARGET, "{text}"),
        tracing::Level::WARN => tracing::warn!(target: TARGET, "{text}"),
        tracing::Level::INFO => tracing::info!(target: TARGET, "{text}"),
        tracing::Level::DEBUG => tracing::debug!(target: TARGET, "{text}"),
        tracing::Level::TRACE => tracing::trace!(target: TARGET, "{text}"),
    }
}

/// Whether the server says that its disk did not take what it had to write.
pub(super) fn tells_failed_write(text: &str) -> bool {
    text.contains("critical write error") || text.contains("Critical write error")
}

fn is_process_id(start: &str) -> bool {
    start
        .strip_prefix('[')
        .is_some_and(|id| !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit()))
}

fn is_time(text: &str) -> bool {
    text.bytes()
        .all(|byte| byte.is_ascii_digit() || b"/:. ".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use tracing::Level;

    #[rstest]
    #[case(
        "[17] 2026/11/20 12:00:00.000001 [INF] Server is ready",
        Level::INFO,
        "Server is ready"
    )]
    #[case("[17] [WRN] slow", Level::WARN, "slow")]
    #[case("[17] [ERR] broken", Level::ERROR, "broken")]
    #[case("[17] [FTL] gone", Level::ERROR, "gone")]
    #[case("[17] [DBG] detail", Level::DEBUG, "detail")]
    #[case("[17] [TRC] <<- [PING]", Level::TRACE, "<<- [PING]")]
    #[case(
        "[17] [INF] somebody wrote [ERR] here",
        Level::INFO,
        "somebody wrote [ERR] here"
    )]
    #[case(
        "nats-server: nats.conf:3:1: unknown field",
        Level::WARN,
        "nats-server: nats.conf:3:1: unknown field"
    )]
    #[case("[x] [INF] not ours", Level::WARN, "[x] [INF] not ours")]
    #[case("", Level::WARN, "")]
    fn a_line_has_a_level(#[case] line: &str, #[case] level: Level, #[case] text: &str) {
        assert_eq!(parse(line), (level, text));
    }
}
