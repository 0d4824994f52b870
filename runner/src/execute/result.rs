//! What a script's output means: its result. Pure.
//!
//! Not here: whether the result fits the script's `output_schema`, and whether the run counts as failed.

use schemas::{MAX_JSON_DEPTH, depth};
use serde::de::IgnoredAny;
use serde_json::{Value, json};
use thiserror::Error;

use super::output::{KEPT_STDOUT, Record};

/// How large a result may be, in bytes of its JSON text.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// JSON that the script wrote: it goes to the log in chunks, as much as is kept of stdout.
    pub json: usize,
    /// Anything else: as much as fits into one event. All of it stands in `OUTPUT`.
    pub texts: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            json: KEPT_STDOUT,
            texts: INLINE_LIMIT,
        }
    }
}

/// What fits into one event.
pub const INLINE_LIMIT: usize = 512 * 1024;

/// Room, within the limit, for everything in a text result that is not text of the script: keys, the return
/// code, and the marks for what was left out.
const FRAME: usize = 1024;

#[derive(Debug, PartialEq, Eq, Error)]
#[error(
    "the script's result takes {size} bytes, more than the {limit} allowed; print less, or write it to a file \
     and print where that is"
)]
pub struct TooLarge {
    pub size: u64,
    pub limit: usize,
}

/// The result of a script that has ended: stdout where it is one JSON value, of whatever type; else the
/// return code and what is left of both texts within the limit.
///
/// # Errors
/// When stdout is JSON that serialises to more than the limit, or was JSON as far as it was kept: cut JSON
/// would be another value.
pub fn from_output(return_code: i32, record: &Record, limits: Limits) -> Result<Value, TooLarge> {
    let limit = limits.json;
    let Some(value) = json_value(record) else {
        if is_cut_json(record) {
            let size = record.stdout.len() as u64 + record.stdout_missing;
            return Err(TooLarge { size, limit });
        }
        return Ok(texts(return_code, record, limits.texts));
    };
    let size = value.to_string().len();
    if size > limit {
        let size = size as u64;
        return Err(TooLarge { size, limit });
    }
    Ok(value)
}

/// Whether what is kept of stdout is the beginning of JSON whose rest was not kept. Numbers and words do not
/// count: none is that long.
fn is_cut_json(record: &Record) -> bool {
    let first = record
        .stdout
        .iter()
        .find(|byte| !byte.is_ascii_whitespace());
    record.stdout_missing > 0
        && matches!(first, Some(b'{' | b'[' | b'"'))
        && serde_json::from_slice::<IgnoredAny>(&record.stdout).is_err_and(|error| error.is_eof())
}

fn json_value(record: &Record) -> Option<Value> {
    if record.stdout_missing > 0 {
        return None;
    }
    let value: Value = serde_json::from_slice(&record.stdout).ok()?;
    // Deeper JSON could be stored and not be read again; as text it stays whole.
    (depth(&value) <= MAX_JSON_DEPTH).then_some(value)
}

fn texts(return_code: i32, record: &Record, limit: usize) -> Value {
    let stdout = String::from_utf8_lossy(&record.stdout);
    let stderr = String::from_utf8_lossy(&record.stderr);
    let budget = limit.saturating_sub(FRAME);
    let (for_stdout, for_stderr) = share(budget, cost(&stdout), cost(&stderr));
    let stdout = shorten(&stdout, for_stdout) + &mark(record.stdout_missing, "later");
    let stderr = mark(record.stderr_missing, "earlier") + &shorten(&stderr, for_stderr);
    json!({"return_code": return_code, "stdout": stdout, "stderr": stderr})
}

/// Half for each; what one does not need goes to the other.
fn share(budget: usize, first: usize, second: usize) -> (usize, usize) {
    let half = budget / 2;
    let for_first = first.min(half.max(budget.saturating_sub(second)));
    (for_first, second.min(budget - for_first))
}

/// The text, with its middle replaced by a mark where it takes more than `budget` bytes as JSON.
fn shorten(text: &str, budget: usize) -> String {
    if cost(text) <= budget {
        return text.to_owned();
    }
    let head = within(text.chars(), budget / 2);
    let tail = within(text.chars().rev(), budget - budget / 2);
    let (head, rest) = text.split_at(head);
    let (left_out, tail) = rest.split_at(rest.len() - tail);
    format!("{head}{}{tail}", mark(left_out.len() as u64, "more"))
}

/// How many bytes of text, from its beginning, fit into `budget` bytes of JSON.
fn within(chars: impl Iterator<Item = char>, budget: usize) -> usize {
    let mut spent = 0;
    chars
        .take_while(|c| {
            spent += char_cost(*c);
            spent <= budget
        })
        .map(char::len_utf8)
        .sum()
}

fn mark(missing: u64, which: &str) -> String {
    match missing {
        0 => String::new(),
        missing => format!("\n[… {missing} {which} bytes left out …]\n"),
    }
}

/// Bytes that a text takes within the quotes of a JSON string.
fn cost(text: &str) -> usize {
    text.chars().map(char_cost).sum()
}

fn char_cost(c: char) -> usize {
    match c {
        '"' | '\\' | '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 2,
        '\0'..='\u{1f}' => 6,
        c => c.len_utf8(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    fn record(stdout: &[u8], stderr: &[u8]) -> Record {
        Record {
            stdout: stdout.to_vec(),
            stderr: stderr.to_vec(),
            ..Record::default()
        }
    }

    fn limits(limit: usize) -> Limits {
        Limits {
            json: limit,
            texts: limit,
        }
    }

    #[rstest]
    #[case("{\"b\":1,\"a\":[]}\n", json!({"b": 1, "a": []}))]
    #[case("  42 \n", json!(42))]
    #[case("null", json!(null))]
    #[case("\"text\"", json!("text"))]
    #[case("false\n", json!(false))]
    fn json_of_any_type_is_the_result(#[case] stdout: &str, #[case] expected: Value) {
        let record = record(stdout.as_bytes(), b"ignored");
        assert_eq!(from_output(1, &record, Limits::default()), Ok(expected));
    }

    #[rstest]
    #[case(b"".as_slice(), "")]
    #[case(b"1\n2\n", "1\n2\n")]
    #[case(b"{\"a\":1} done", "{\"a\":1} done")]
    #[case(b"\xffok", "\u{fffd}ok")]
    fn anything_else_is_text(#[case] stdout: &[u8], #[case] text: &str) {
        let result = from_output(143, &record(stdout, b"e\n"), Limits::default());
        let expected = json!({"return_code": 143, "stdout": text, "stderr": "e\n"});
        assert_eq!(result, Ok(expected));
    }

    #[test]
    fn json_over_the_limit_is_refused_with_its_size() {
        let text = format!("\"{}\"", "x".repeat(98));
        let exact = record(text.as_bytes(), b"");
        assert!(from_output(0, &exact, limits(100)).is_ok());
        let refused = from_output(0, &exact, limits(99));
        let (size, limit) = (100, 99);
        assert_eq!(refused, Err(TooLarge { size, limit }));
    }

    #[test]
    fn json_that_was_not_read_to_its_end_is_text() {
        let mut record = record(b"12", b"");
        record.stdout_missing = 3;
        record.stderr_missing = 4;
        let result = from_output(0, &record, Limits::default()).unwrap();
        assert_eq!(result["stdout"], "12\n[… 3 later bytes left out …]\n");
        assert_eq!(result["stderr"], "\n[… 4 earlier bytes left out …]\n");
    }

    #[rstest]
    #[case("{\"a\": [1, 2", true)]
    #[case(" [\"half a te", true)]
    #[case("\"text", true)]
    #[case("{\"a\": 1} and", false)]
    #[case("[INFO] begun", false)]
    #[case("12", false)]
    #[case("", false)]
    fn json_whose_end_was_not_kept_is_too_large(#[case] kept: &str, #[case] refused: bool) {
        let mut record = record(kept.as_bytes(), b"");
        assert!(from_output(0, &record, Limits::default()).is_ok());
        record.stdout_missing = 3;
        let result = from_output(0, &record, Limits::default());
        assert_eq!(result.is_err(), refused, "{result:?}");
    }

    #[test]
    fn a_short_text_leaves_its_room_to_the_long_one() {
        assert_eq!(share(100, 10, 500), (10, 90));
        assert_eq!(share(100, 500, 10), (90, 10));
        assert_eq!(share(100, 500, 500), (50, 50));
        assert_eq!(share(100, 30, 40), (30, 40));
    }

    #[test]
    fn the_middle_goes_and_says_how_much_it_was() {
        let shortened = shorten("aaaa\u{1}bbbbéééé", 12);
        assert_eq!(shortened, "aaaa\n[… 7 more bytes left out …]\nééé");
    }

    proptest! {
        #[test]
        fn texts_stay_below_the_limit(
            stdout in "(?s).{0,3000}", stderr in "(?s).{0,3000}", controls in 0_usize..3_000,
            limit in 1_500_usize..10_000,
        ) {
            let stdout = format!("no json {stdout}{}", "\u{1}".repeat(controls));
            let mut record = record(stdout.as_bytes(), stderr.as_bytes());
            record.stdout_missing = u64::MAX;
            record.stderr_missing = u64::MAX;
            let result = from_output(i32::MIN, &record, limits(limit)).unwrap();
            prop_assert!(result.to_string().len() <= limit);
        }

        #[test]
        fn the_cost_is_what_serde_writes(text in any::<String>()) {
            prop_assert_eq!(cost(&text) + 2, serde_json::to_string(&text).unwrap().len());
        }
    }
}
