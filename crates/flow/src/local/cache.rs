//! Answers of a service that are used again, for a number of elements.

use std::collections::{HashMap, VecDeque};
use std::sync::Mutex;

use foldhash::fast::RandomState;

use crate::{Element, Key, NodeOptions};

/// The answers to keys that the last `elements_max` elements of a look-up were the first to ask for.
pub(super) struct Cache<K, V> {
    elements_max: u64,
    /// Elements looked up so far.
    seen: u64,
    answers: HashMap<K, Option<V>, RandomState>,
    /// The same keys by the element that asked.
    asked: VecDeque<(u64, K)>,
}

impl<K: Key, V: Element> Cache<K, V> {
    /// None if there is to be none.
    pub(super) fn of(options: &NodeOptions) -> Option<Mutex<Self>> {
        let elements_max = options.cache_elements.filter(|n| *n > 0)?;
        Some(Mutex::new(Self {
            elements_max: elements_max as u64,
            seen: 0,
            answers: HashMap::default(),
            asked: VecDeque::new(),
        }))
    }

    /// What is known of a key.
    pub(super) fn get(&self, key: &K) -> Option<&Option<V>> {
        self.answers.get(key)
    }

    /// After an epoch of so many elements: keeps what has been asked, by the place of its first element, in their order.
    pub(super) fn keep(&mut self, elements: usize, asked: impl IntoIterator<Item = (usize, K, Option<V>)>) {
        for (place, key, value) in asked {
            self.answers.insert(key.clone(), value);
            self.asked.push_back((self.seen + place as u64, key));
        }
        self.seen += elements as u64;
        while let Some((_, key)) = self
            .asked
            .pop_front_if(|(at, _)| self.seen - *at > self.elements_max)
        {
            self.answers.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Epoch by epoch, a plain list of what was asked says what must be known.
        #[test]
        fn knows_what_was_asked_within_so_many_elements(
            epochs in prop::collection::vec(prop::collection::vec(0u8..9, 0..12), 0..12),
            elements_max in 1usize..20,
        ) {
            let options = NodeOptions { cache_elements: Some(elements_max), ..NodeOptions::default() };
            let mut cache = Cache::<u8, usize>::of(&options).unwrap().into_inner().unwrap();
            let (mut asked, mut seen) = (Vec::<(usize, u8)>::new(), 0);
            for epoch in epochs {
                let mut new = Vec::new();
                for (place, key) in epoch.iter().enumerate() {
                    let twin = asked.iter().find(|(at, known)| known == key && seen - at <= elements_max);
                    prop_assert_eq!(cache.get(key).copied().flatten(), twin.map(|(at, _)| *at));
                    if twin.is_none() && !new.iter().any(|(_, known, _)| known == key) {
                        new.push((place, *key, Some(seen + place)));
                    }
                }
                asked.retain(|(at, _)| seen - at <= elements_max);
                asked.extend(new.iter().map(|(place, key, _)| (seen + place, *key)));
                cache.keep(epoch.len(), new);
                seen += epoch.len();
                prop_assert!(cache.answers.len() <= elements_max);
                prop_assert_eq!(cache.answers.len(), cache.asked.len());
            }
        }
    }
}
