//! A small memory of values that cost something to make. Bounded by weight; the oldest go first.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};

pub struct Cache<K, V> {
    entries: Mutex<Entries<K, V>>,
    max_weight: usize,
}

struct Entries<K, V> {
    values: HashMap<K, (V, usize)>,
    oldest_first: VecDeque<K>,
    weight: usize,
}

impl<K: Clone + Eq + Hash, V: Clone> Cache<K, V> {
    pub fn new(max_weight: usize) -> Self {
        let entries = Entries {
            values: HashMap::new(),
            oldest_first: VecDeque::new(),
            weight: 0,
        };
        Self {
            entries: Mutex::new(entries),
            max_weight,
        }
    }

    pub fn get(&self, key: &K) -> Option<V> {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.values.get(key).map(|(value, _)| value.clone())
    }

    pub fn put(&self, key: K, value: V, weight: usize) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.values.contains_key(&key) {
            return;
        }
        entries.values.insert(key.clone(), (value, weight));
        entries.oldest_first.push_back(key);
        entries.weight += weight;
        while entries.weight > self.max_weight {
            let Some(oldest) = entries.oldest_first.pop_front() else {
                return;
            };
            if let Some((_, weight)) = entries.values.remove(&oldest) {
                entries.weight -= weight;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Cache;

    #[test]
    fn the_oldest_make_room() {
        let cache = Cache::new(10);
        cache.put("a", 1, 6);
        cache.put("b", 2, 4);
        cache.put("c", 3, 1);
        assert_eq!((cache.get(&"a"), cache.get(&"b")), (None, Some(2)));
        cache.put("huge", 4, 11);
        assert_eq!((cache.get(&"c"), cache.get(&"huge")), (None, None));
    }
}
