//! The paths and words that code names.

use super::Named;
use super::silent::is_word;

/// Every path of at least two segments, and every single word, keywords included.
pub(super) fn names(code: &str) -> Vec<Named> {
    let tokens = tokens(code);
    let mut names = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        at = path(&tokens, at, &[], &mut names).max(at + 1);
    }
    names
}

/// Words, `::` and single signs, with their lines.
fn tokens(code: &str) -> Vec<(usize, &str)> {
    let mut tokens = Vec::new();
    for (line, text) in (1..).zip(code.lines()) {
        let mut rest = text.trim_start();
        while let Some(first) = rest.chars().next() {
            let word = rest.bytes().take_while(|byte| is_word(*byte)).count();
            let len = match word {
                0 if rest.starts_with("::") => 2,
                0 => first.len_utf8(),
                word => word,
            };
            tokens.push((line, &rest[..len]));
            rest = rest[len..].trim_start();
        }
    }
    tokens
}

/// Reads one path, its list in braces included, and says where it ends.
fn path(tokens: &[(usize, &str)], at: usize, before: &[String], names: &mut Vec<Named>) -> usize {
    let word = |at: usize| tokens.get(at).filter(|(_, t)| is_word(t.as_bytes()[0]));
    let next = |at: usize| tokens.get(at).map(|(_, token)| *token);
    let mut segments = before.to_vec();
    let mut end = at;
    while let Some((line, segment)) = word(end) {
        segments.push((*segment).to_owned());
        let separator = next(end + 1) == Some("::");
        if separator && next(end + 2) == Some("{") {
            return list(tokens, end + 3, &segments, names);
        }
        if !(separator && word(end + 2).is_some()) {
            let line = *line;
            names.push(Named { line, segments });
            return end + 1;
        }
        end += 2;
    }
    end
}

fn list(tokens: &[(usize, &str)], at: usize, before: &[String], names: &mut Vec<Named>) -> usize {
    let mut at = at;
    while let Some((_, token)) = tokens.get(at) {
        at = match *token {
            "}" => return at + 1,
            // The name it gets here is not part of what it names.
            "as" => at + 2,
            _ => path(tokens, at, before, names).max(at + 1),
        };
    }
    at
}
