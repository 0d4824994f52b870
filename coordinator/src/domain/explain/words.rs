//! Times and lists as sentences have them.

use events::Timestamp;
use schemas::Tag;

/// How long something has lasted, in the largest unit that says enough. A clock that is ahead of
/// ours makes no time negative.
pub fn lasted(since: Timestamp, now: Timestamp) -> String {
    let seconds = now.duration_since(since).as_secs().max(0);
    match seconds {
        ..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// `gpu, uv or x`
pub fn either<'a>(tags: impl IntoIterator<Item = &'a Tag>) -> String {
    listed(tags.into_iter().map(Tag::as_str), "or")
}

/// `gpu, uv and x`
pub fn all<'a>(tags: impl IntoIterator<Item = &'a Tag>) -> String {
    listed(tags.into_iter().map(Tag::as_str), "and")
}

fn listed<'a>(names: impl Iterator<Item = &'a str>, word: &str) -> String {
    let names: Vec<&str> = names.collect();
    match names.split_last() {
        None => String::new(),
        Some((one, [])) => (*one).to_owned(),
        Some((last, more)) => format!("{} {word} {last}", more.join(", ")),
    }
}

/// An error's sentence, with one full stop at its end.
pub fn sentence(text: &str) -> String {
    format!("{}.", text.trim_end_matches(['.', ' ']))
}
