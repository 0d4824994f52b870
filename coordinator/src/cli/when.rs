//! Times as people write and read them: `5m`, `3m ago`. It reads no clock by itself.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

/// `90` (seconds), `30s`, `5m`, `1h30m`.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let refuse = || format!("`{text}` is not a duration; write 30s, 5m or 1h30m");
    if let Ok(seconds) = text.parse::<u64>() {
        return Ok(Duration::from_secs(seconds));
    }
    let signed: SignedDuration = text.parse().map_err(|_| refuse())?;
    Duration::try_from(signed).map_err(|_| refuse())
}

/// `12s ago`, `3m ago`, `5h ago`, `9d ago`; what is no time is shown as it is.
pub fn relative(text: &str, now: Timestamp) -> String {
    let Ok(then) = text.parse::<Timestamp>() else {
        return text.to_owned();
    };
    let seconds = now.as_second() - then.as_second();
    if seconds < 0 {
        format!("in {}", compact(-seconds))
    } else {
        format!("{} ago", compact(seconds))
    }
}

/// The largest unit that fits, cut off: 119 s is `1m`.
pub fn compact(seconds: i64) -> String {
    match seconds {
        ..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m", seconds / 60),
        3_600..86_400 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("90", 90)]
    #[case("30s", 30)]
    #[case("5m", 300)]
    #[case("1h30m", 5_400)]
    fn durations(#[case] text: &str, #[case] seconds: u64) {
        assert_eq!(parse_duration(text).unwrap().as_secs(), seconds);
    }

    #[rstest]
    #[case("-5m")]
    #[case("soon")]
    #[case("")]
    fn no_durations(#[case] text: &str) {
        assert!(parse_duration(text).unwrap_err().contains("30s, 5m"));
    }

    #[rstest]
    #[case("2026-11-20T10:00:00Z", "0s ago")]
    #[case("2026-11-20T09:58:01Z", "1m ago")]
    #[case("2026-11-18T10:00:00+02:00", "2d ago")]
    #[case("2026-11-20T10:01:00.5Z", "in 1m")]
    #[case("yesterday", "yesterday")]
    fn relative_times(#[case] then: &str, #[case] expected: &str) {
        assert_eq!(
            relative(then, "2026-11-20T10:00:00Z".parse().unwrap()),
            expected
        );
    }
}
