//! Pins: a script is sent to a place by hand, and taken back. Which runners there are is not known
//! here.

use super::{Decision, Rejection, scripts};
use events::catalog::{Catalog, CatalogEvent, Place};
use schemas::Name;

/// The runners of a place hold a script from now on.
///
/// # Errors
/// When there is no such script, or the place is none that may be named by hand.
pub fn pin(catalog: &Catalog, script: &Name, place: &Place) -> Result<Decision, Rejection> {
    scripts::find(catalog, script)?;
    if let Place::Tags { tags } = place {
        if tags.is_empty() {
            return Err(Rejection::PinnedNowhere);
        }
        tags.iter().try_for_each(schemas::Tag::refuse_reserved)?;
    }
    let pins = catalog.pins.get(script).map_or(&[][..], Vec::as_slice);
    if pins.iter().any(|pin| pin.place == *place) {
        return Ok(Decision::Unchanged);
    }
    Ok(Decision::append(CatalogEvent::ScriptPinned {
        script: script.clone(),
        place: place.clone(),
    }))
}

/// A place, or every one, does not hold a script for its pin's sake any more.
///
/// # Errors
/// When there is no such script, or no such pin.
pub fn unpin(
    catalog: &Catalog,
    script: &Name,
    place: Option<&Place>,
) -> Result<Decision, Rejection> {
    scripts::find(catalog, script)?;
    let pins = catalog.pins.get(script).into_iter().flatten();
    let meant = pins.filter(|pin| place.is_none_or(|place| pin.place == *place));
    let places: std::collections::BTreeSet<Place> = meant.map(|pin| pin.place.clone()).collect();
    if places.is_empty() {
        return Err(Rejection::NotPinned {
            script: script.clone(),
        });
    }
    Ok(Decision::append(CatalogEvent::ScriptUnpinned {
        script: script.clone(),
        places,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::testing::{evolved, given, name, script_created};

    fn tags(tags: &[&str]) -> Place {
        Place::Tags {
            tags: tags.iter().map(|tag| tag.parse().unwrap()).collect(),
        }
    }

    fn runner(id: &str) -> Place {
        Place::Runner {
            runner_id: id.parse().unwrap(),
        }
    }

    fn pinned(places: &[Place]) -> Catalog {
        let catalog = given([script_created("tool", "1")]);
        places.iter().fold(catalog, |catalog, place| {
            let decision = pin(&catalog, &name("tool"), place).unwrap();
            evolved(catalog, decision)
        })
    }

    #[test]
    fn pinned_twice_is_pinned_once() {
        let catalog = pinned(&[tags(&["gpu"])]);
        let again = pin(&catalog, &name("tool"), &tags(&["gpu"])).unwrap();
        assert_eq!(again, Decision::Unchanged);
        assert_eq!(catalog.pins[&name("tool")].len(), 1);
    }

    #[test]
    fn one_pin_goes_or_all_do() {
        let catalog = pinned(&[tags(&["gpu"]), runner("web-1"), runner("web-2")]);
        let one = unpin(&catalog, &name("tool"), Some(&runner("web-1"))).unwrap();
        let two_left = evolved(catalog, one);
        assert_eq!(two_left.pins[&name("tool")].len(), 2);
        let again = unpin(&two_left, &name("tool"), Some(&runner("web-1")));
        assert!(matches!(again, Err(Rejection::NotPinned { .. })));
        let all = unpin(&two_left, &name("tool"), None).unwrap();
        let none_left = evolved(two_left, all);
        assert!(none_left.pins.is_empty());
        assert!(unpin(&none_left, &name("tool"), None).is_err());
    }

    #[test]
    fn a_place_is_named_and_no_tag_is_the_systems_own() {
        let catalog = given([script_created("tool", "1")]);
        for place in [tags(&[]), tags(&["host:web"])] {
            assert!(pin(&catalog, &name("tool"), &place).is_err(), "{place:?}");
        }
        assert!(pin(&catalog, &name("other"), &tags(&["gpu"])).is_err());
    }

    #[test]
    fn a_script_that_goes_takes_its_pins_along() {
        let catalog = pinned(&[runner("web-1")]);
        let gone = scripts::delete(&catalog, &name("tool")).unwrap();
        assert!(evolved(catalog, gone).pins.is_empty());
    }
}
