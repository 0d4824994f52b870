//! Which bytes of a source are not code: comments, the content of strings, items of tests.

use std::ops::Range;

/// The next item that stands under `#[cfg(test)]`, up to its `;` or its closing brace.
pub(super) fn next_test(code: &[u8]) -> Option<Range<usize>> {
    const MARK: &[u8] = b"#[cfg(test)]";
    let start = code.windows(MARK.len()).position(|window| window == MARK)?;
    let (mut depth, mut end) = (0_i32, start + MARK.len());
    for byte in &code[end..] {
        end += 1;
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' => depth -= 1,
            b'}' if depth == 1 => break,
            b'}' => depth -= 1,
            b';' if depth == 0 => break,
            _ => {}
        }
    }
    Some(start..end)
}

/// Where comments stand, and where the content of strings and characters does.
pub(super) fn silent(code: &[u8]) -> (Vec<Range<usize>>, Vec<Range<usize>>) {
    let (mut comments, mut literals) = (Vec::new(), Vec::new());
    let mut at = 0;
    while at < code.len() {
        let rest = &code[at..];
        let word_before = at > 0 && is_word(code[at - 1]) && !matches!(code[at - 1], b'b' | b'c');
        let end = match rest {
            [b'/', b'/', ..] => {
                let end = at + find(rest, b"\n");
                comments.push(at..end);
                end
            }
            [b'/', b'*', ..] => {
                let end = at + block_comment(rest);
                comments.push(at..end);
                end
            }
            [b'"', ..] => at + quoted(rest, b'"'),
            [b'\'', b'\\', ..] => at + quoted(rest, b'\''),
            [b'\'', first, ..] if rest.get(1 + width(*first)) == Some(&b'\'') => {
                at + 2 + width(*first)
            }
            [b'r', b'"' | b'#', ..] if !word_before => at + raw(rest),
            _ => at + 1,
        };
        if end > at + 1 && !rest.starts_with(b"/") {
            literals.push(at + 1..end - 1);
        }
        at = end;
    }
    (comments, literals)
}

pub(super) fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// How many bytes the character takes that begins with `first`.
fn width(first: u8) -> usize {
    match first {
        0..0xC0 => 1,
        0xC0..0xE0 => 2,
        0xE0..0xF0 => 3,
        0xF0.. => 4,
    }
}

/// Up to the end of the next `needle`, or everything; a newline itself stays outside.
fn find(code: &[u8], needle: &[u8]) -> usize {
    let found = code.windows(needle.len()).position(|w| w == needle);
    let past = if needle == b"\n" { 0 } else { needle.len() };
    found.map_or(code.len(), |at| at + past)
}

fn block_comment(code: &[u8]) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < code.len() {
        match &code[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] if depth == 1 => return at + 2,
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
    }
    at
}

fn quoted(code: &[u8], quote: u8) -> usize {
    let mut at = 1;
    while at < code.len() && code[at] != quote {
        at += if code[at] == b'\\' { 2 } else { 1 };
    }
    (at + 1).min(code.len())
}

/// A raw string; 1 where it is a raw identifier.
fn raw(code: &[u8]) -> usize {
    let hashes = code[1..].iter().take_while(|byte| **byte == b'#').count();
    if code.get(1 + hashes) != Some(&b'"') {
        return 1;
    }
    let end = [b"\"", &code[1..1 + hashes]].concat();
    2 + hashes + find(&code[2 + hashes..], &end)
}

pub(super) fn blank(bytes: &mut [u8], range: Range<usize>) {
    let all = bytes[range].iter_mut();
    all.filter(|byte| **byte != b'\n')
        .for_each(|byte| *byte = b' ');
}
