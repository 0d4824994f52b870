//! Follows a schema's references and bounds how often its subschemas are tried on one value. An
//! estimate from above that needs no value; how long a given value takes is `deadline`'s to bound.

use std::collections::HashMap;

use super::rejected::{SchemaRejected, SchemaRule};
use super::shape::{Applies, Shape};
use crate::text::shown;

/// Tries of a subschema per value. A form with 500 fields takes 500; what takes more doubles with each
/// further level and is a mistake or an attack.
pub const MAX_BRANCHES: u64 = 10_000;

/// A branch that fails is tried a second time to say why.
const TRIES_PER_BRANCH: u64 = 2;

/// Refuses references that leave the schema, lead nowhere or lead back to themselves, and schemas whose
/// branches multiply.
pub(super) fn bound(shape: &Shape<'_>) -> Result<(), SchemaRejected> {
    let costs = Costs {
        edges: edges(shape)?,
        shape,
    };
    let mut ends = vec![Visit::Unseen; shape.subschemas.len()];
    let mut known = vec![Visit::Unseen; shape.subschemas.len()];
    for index in 0..shape.subschemas.len() {
        costs.comes_to_an_end(index, &mut ends)?;
        costs.tries(index, &mut known)?;
    }
    Ok(())
}

/// For each subschema the ones it tries, references followed.
fn edges(shape: &Shape<'_>) -> Result<Vec<Vec<(usize, Applies)>>, SchemaRejected> {
    let by_pointer = shape.by_pointer();
    let anchors = shape
        .subschemas
        .iter()
        .map(|subschema| subschema.text("$anchor"))
        .zip(0..);
    let anchors: HashMap<&str, usize> = anchors
        .filter_map(|(anchor, index)| Some((anchor?, index)))
        .collect();
    let with_reference = |subschema: &super::shape::Subschema<'_>| {
        let mut edges = subschema.children.clone();
        if let Some(reference) = subschema.text("$ref") {
            let refused = |why| {
                let message = format!("$ref {} {why}", shown(reference));
                SchemaRejected::new(&subschema.pointer, SchemaRule::Reference, message)
            };
            let fragment = reference.strip_prefix('#').ok_or_else(|| {
                refused("leads outside the schema; copy what it names into $defs")
            })?;
            let fragment = percent_decoded(fragment).ok_or_else(|| refused("is no fragment"))?;
            let target = by_pointer
                .get(&*fragment)
                .or_else(|| anchors.get(&*fragment));
            let target = target.ok_or_else(|| refused("leads to no schema in here"))?;
            edges.push((*target, Applies::Here));
        }
        Ok(edges)
    };
    shape.subschemas.iter().map(with_reference).collect()
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = match (first, tail) {
            (b'%', [high, low, tail @ ..]) => {
                bytes.extend(hex::decode([*high, *low]).ok()?);
                tail
            }
            (b'%', _) => return None,
            _ => {
                bytes.push(*first);
                tail
            }
        };
    }
    String::from_utf8(bytes).ok()
}

#[derive(Clone, Copy)]
enum Visit {
    Unseen,
    /// On the way here: to meet it again is a circle.
    Open,
    /// With its cost.
    Done(u64),
}

struct Costs<'a> {
    edges: Vec<Vec<(usize, Applies)>>,
    shape: &'a Shape<'a>,
}

impl Costs<'_> {
    /// Refuses a circle that never goes into the value, as `{"$ref": "#"}`.
    fn comes_to_an_end(&self, index: usize, seen: &mut [Visit]) -> Result<(), SchemaRejected> {
        match seen[index] {
            Visit::Done(_) => return Ok(()),
            Visit::Open => {
                let message = "a $ref leads back here without going into the value, so checking \
                               would never end";
                return Err(self.refused(index, SchemaRule::Reference, message));
            }
            Visit::Unseen => seen[index] = Visit::Open,
        }
        for (child, applies) in &self.edges[index] {
            if matches!(applies, Applies::Here | Applies::Branch) {
                self.comes_to_an_end(*child, seen)?;
            }
        }
        seen[index] = Visit::Done(0);
        Ok(())
    }

    /// How often subschemas are tried on one value and its parts, a part counting once. A circle through
    /// the value's parts, as in a tree, counts once too: its length is the value's depth.
    fn tries(&self, index: usize, known: &mut [Visit]) -> Result<u64, SchemaRejected> {
        match known[index] {
            Visit::Done(tries) => return Ok(tries),
            Visit::Open => return Ok(1),
            Visit::Unseen => known[index] = Visit::Open,
        }
        let mut tries: u64 = 1;
        for (child, applies) in &self.edges[index] {
            let factor = match applies {
                Applies::Here | Applies::Inside => 1,
                Applies::Branch => TRIES_PER_BRANCH,
                Applies::Nowhere => 0,
            };
            tries = tries.saturating_add(factor.saturating_mul(self.tries(*child, known)?));
        }
        if tries > MAX_BRANCHES {
            let message = format!(
                "its branches multiply to more than {MAX_BRANCHES} checks of one value; \
                 nest fewer anyOf, oneOf, not, if and $ref"
            );
            return Err(self.refused(index, SchemaRule::Branches, message));
        }
        known[index] = Visit::Done(tries);
        Ok(tries)
    }

    fn refused(
        &self,
        index: usize,
        rule: SchemaRule,
        message: impl Into<String>,
    ) -> SchemaRejected {
        SchemaRejected::new(&self.shape.subschemas[index].pointer, rule, message)
    }
}
