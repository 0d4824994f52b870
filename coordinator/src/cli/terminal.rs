//! What may reach the user's terminal. Scripts and other people's texts can hold control sequences
//! that retitle windows, answer questions or hide what happened: on a terminal only text, colours,
//! line feeds, tabs and carriage returns pass. It knows nothing about runs or tables.

use std::io::{IsTerminal, Write};

/// A colour sequence longer than this is not a colour sequence.
const SGR_MAX_BYTES: usize = 64;

/// Which of our own streams are terminals, and whether colours are welcome there.
#[derive(Clone, Copy, Debug)]
pub struct Terminal {
    pub stdin: bool,
    pub stdout: bool,
    pub stderr: bool,
    color: bool,
}

impl Terminal {
    pub fn detect(color: bool) -> Self {
        Self {
            stdin: std::io::stdin().is_terminal(),
            stdout: std::io::stdout().is_terminal(),
            stderr: std::io::stderr().is_terminal(),
            color,
        }
    }

    /// Whether somebody is there who reads a question and can answer it.
    pub fn can_ask(&self) -> bool {
        self.stdin && self.stderr
    }

    pub fn color_stdout(&self) -> bool {
        self.stdout && self.color
    }

    pub fn color_stderr(&self) -> bool {
        self.stderr && self.color
    }
}

/// Says something that is not data. A closed stderr is nobody's problem.
pub fn note(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Asks before something that cannot be taken back lightly. Only a person can be asked: see
/// [`Terminal::can_ask`].
pub fn agreed(question: &str) -> bool {
    note(&format!("{question} Go on? [y/N]"));
    let mut answer = String::new();
    let read = std::io::stdin().read_line(&mut answer);
    read.is_ok() && matches!(answer.trim().to_lowercase().as_str(), "y" | "yes")
}

/// One line of somebody else's text, as it may stand in a table or a message.
pub fn plain(text: &str) -> String {
    text.chars()
        .map(|c| {
            if is_control(c) || c == '\n' || c == '\t' {
                ' '
            } else {
                c
            }
        })
        .collect()
}

/// Passes a stream of bytes on as harmless text. Sequences and characters may be split anywhere
/// between two pushes.
#[derive(Debug)]
pub struct ControlFilter {
    colors: bool,
    state: State,
    incomplete: Vec<u8>,
}

#[derive(Debug)]
enum State {
    Text,
    Escape,
    /// Inside `ESC [`; what it has said so far.
    Sequence(String),
    /// Inside an operating-system command or similar, up to BEL or ST.
    String,
    /// The ESC of an ST inside such a string.
    StringEscape,
}

impl ControlFilter {
    pub fn new(colors: bool) -> Self {
        Self {
            colors,
            state: State::Text,
            incomplete: Vec::new(),
        }
    }

    pub fn push(&mut self, bytes: &[u8]) -> String {
        let mut input = std::mem::take(&mut self.incomplete);
        input.extend_from_slice(bytes);
        let whole = input.len() - incomplete_tail(&input);
        self.incomplete = input.split_off(whole);
        let mut out = String::with_capacity(input.len());
        for c in String::from_utf8_lossy(&input).chars() {
            self.step(c, &mut out);
        }
        out
    }

    fn step(&mut self, c: char, out: &mut String) {
        self.state = match (std::mem::replace(&mut self.state, State::Text), c) {
            (State::Text, '\u{1b}') => State::Escape,
            // The one-character forms of `ESC [` and of the string openers.
            (State::Text, '\u{9b}') => State::Sequence(String::new()),
            (State::Text, '\u{90}' | '\u{98}' | '\u{9d}' | '\u{9e}' | '\u{9f}') => State::String,
            (State::Text, c) => {
                if !is_control(c) {
                    out.push(c);
                }
                State::Text
            }
            (State::Escape, '[') => State::Sequence(String::new()),
            (State::Escape, ']' | 'P' | 'X' | '^' | '_') => State::String,
            (State::Escape, '\u{1b}') => State::Escape,
            // Intermediate bytes (`ESC ( 0`) lead on to the final one.
            (State::Escape, ' '..='/') => State::Escape,
            (State::Escape, _) => State::Text,
            (State::Sequence(body), c) => self.sequence(body, c, out),
            (State::String, '\u{7}' | '\u{9c}') | (State::StringEscape, '\\') => State::Text,
            (State::String | State::StringEscape, '\u{1b}') => State::StringEscape,
            // A string that is never closed must not swallow the rest of the output.
            (State::String | State::StringEscape, '\n') => {
                out.push('\n');
                State::Text
            }
            (State::String | State::StringEscape, _) => State::String,
        };
    }

    fn sequence(&self, mut body: String, c: char, out: &mut String) -> State {
        match c {
            '\u{1b}' => return State::Escape,
            ' '..='?' => {
                if body.len() <= SGR_MAX_BYTES {
                    body.push(c);
                }
                return State::Sequence(body);
            }
            'm' if self.colors && is_sgr(&body) => {
                out.push_str("\u{1b}[");
                out.push_str(&body);
                out.push('m');
            }
            '\n' => out.push('\n'),
            _ => {}
        }
        State::Text
    }
}

fn is_sgr(body: &str) -> bool {
    body.len() <= SGR_MAX_BYTES
        && body
            .chars()
            .all(|c| c.is_ascii_digit() || c == ';' || c == ':')
}

fn is_control(c: char) -> bool {
    c.is_control() && !matches!(c, '\n' | '\t' | '\r')
}

/// How many bytes at the end may be the beginning of a character still to come.
fn incomplete_tail(bytes: &[u8]) -> usize {
    let mut start = 0;
    loop {
        match std::str::from_utf8(&bytes[start..]) {
            Ok(_) => return 0,
            Err(error) => match error.error_len() {
                Some(bad) => start += error.valid_up_to() + bad,
                None => return bytes.len() - start - error.valid_up_to(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::text("a\tb\r\nc", "a\tb\r\nc")]
    #[case::colour("\u{1b}[1;31mred\u{1b}[0m", "\u{1b}[1;31mred\u{1b}[0m")]
    #[case::cursor("a\u{1b}[2Jb\u{1b}[10;10Hc", "abc")]
    #[case::private_mode("\u{1b}[?1049hx", "x")]
    #[case::not_a_colour("\u{1b}[>4;2mx", "x")]
    #[case::title_bel("\u{1b}]0;owned\u{7}x", "x")]
    #[case::title_st("\u{1b}]8;;http://x\u{1b}\\link", "link")]
    #[case::device_control("\u{1b}P1$q\u{1b}\\x", "x")]
    #[case::charset("\u{1b}(0x", "x")]
    #[case::reset("\u{1b}cx", "x")]
    #[case::c1("\u{9b}2Jx\u{85}y", "xy")]
    #[case::bell_and_backspace("a\u{7}\u{8}b\0", "ab")]
    #[case::open_string_ends_with_its_line("\u{1b}]0;never\nnext", "\nnext")]
    fn only_text_and_colours_pass(#[case] input: &str, #[case] expected: &str) {
        assert_eq!(ControlFilter::new(true).push(input.as_bytes()), expected);
    }

    #[test]
    fn colours_go_where_none_are_wanted() {
        assert_eq!(ControlFilter::new(false).push(b"\x1b[31mred\x1b[0m"), "red");
    }

    #[test]
    fn plain_text_stays_on_its_line() {
        assert_eq!(plain("a\u{1b}[2J\nb"), "a [2J b");
    }

    proptest! {
        #[test]
        fn where_the_stream_is_cut_does_not_matter(
            bytes in proptest::collection::vec(prop_oneof![
                Just(0x1bu8), Just(b'['), Just(b']'), Just(b'm'), Just(0xc2u8), Just(0x9bu8), any::<u8>()
            ], 0..60),
            cut in 0usize..60,
        ) {
            let cut = cut.min(bytes.len());
            let mut whole = ControlFilter::new(true);
            let mut parts = ControlFilter::new(true);
            let joined = parts.push(&bytes[..cut]) + &parts.push(&bytes[cut..]);
            prop_assert_eq!(whole.push(&bytes), joined);
        }

        #[test]
        fn what_comes_out_is_harmless(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let out = ControlFilter::new(false).push(&bytes);
            prop_assert!(!out.chars().any(is_control), "{out:?}");
        }
    }
}
