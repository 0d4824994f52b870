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

/// The least that anything is kept: work of an hour ago is still looked at.
const KEPT_MIN: Duration = Duration::from_secs(60 * 60);

/// For how long something is kept: `12h`, `30d`, `52w`.
pub fn parse_kept(text: &str) -> Result<Duration, String> {
    let days = |unit: char, days: u64| {
        let count = text.strip_suffix(unit)?.parse::<u64>().ok()?;
        count.checked_mul(days * 86_400).map(Duration::from_secs)
    };
    let kept = match days('d', 1).or_else(|| days('w', 7)) {
        Some(kept) => kept,
        None => parse_duration(text)
            .map_err(|_| format!("`{text}` is no time; write 12h, 30d or 52w"))?,
    };
    match kept >= KEPT_MIN {
        true => Ok(kept),
        false => Err(format!(
            "`{text}` is too short; nothing is kept for less than 1h"
        )),
    }
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
    #[case("1h", 3_600)]
    #[case("30d", 2_592_000)]
    #[case("2w", 1_209_600)]
    fn times_to_keep(#[case] text: &str, #[case] seconds: u64) {
        assert_eq!(parse_kept(text).unwrap().as_secs(), seconds);
    }

    #[rstest]
    #[case("59m", "too short")]
    #[case("0d", "too short")]
    #[case("d", "write 12h")]
    #[case("99999999999999999999d", "write 12h")]
    fn no_times_to_keep(#[case] text: &str, #[case] why: &str) {
        assert!(parse_kept(text).unwrap_err().contains(why));
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
