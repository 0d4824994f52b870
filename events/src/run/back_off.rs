//! How long a run that was lost rests before its script is begun again. It keeps no time itself.

use std::time::Duration;

/// The first attempt does not wait at all, the second for this long, each further one twice as long.
const SHORTEST: Duration = Duration::from_secs(1);
/// It holds a slot meanwhile, and whatever took the runners is over by then or never.
const LONGEST: Duration = Duration::from_secs(60);

/// The pause between the claim of an attempt and its start.
pub fn back_off(attempt: u32) -> Duration {
    let Some(repeated) = attempt.checked_sub(2) else {
        return Duration::ZERO;
    };
    let factor = 2_u32.saturating_pow(repeated);
    LONGEST.min(SHORTEST.saturating_mul(factor))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case(1, 0)]
    #[case(2, 1)]
    #[case(3, 2)]
    #[case(7, 32)]
    #[case(8, 60)]
    #[case(u32::MAX, 60)]
    fn each_attempt_waits_longer_up_to_a_limit(#[case] attempt: u32, #[case] seconds: u64) {
        assert_eq!(back_off(attempt), Duration::from_secs(seconds));
    }
}
