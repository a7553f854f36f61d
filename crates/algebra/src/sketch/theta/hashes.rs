//! A set of 63-bit hashes: an open-addressed table, a power of two long, with double hashing; 0 is a free place.

#[derive(Clone, Default)]
pub(super) struct Hashes {
    table: Vec<u64>,
    len: usize,
}

const PLACES_MIN: usize = 16;

impl Hashes {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.table.capacity() * size_of::<u64>()
    }

    /// Whether it is new. A table of up to `places_max` places is kept at most three quarters full, one of that many
    /// the caller keeps from filling.
    #[inline]
    pub(super) fn insert(&mut self, hash: u64, places_max: usize) -> bool {
        if (self.len + 1) * 4 > self.table.len() * 3 && self.table.len() < places_max {
            self.resize((self.table.len() * 2).max(PLACES_MIN));
        }
        let place = place(&self.table, hash);
        let new = self.table[place] == 0;
        if new {
            self.table[place] = hash;
            self.len += 1;
        }
        new
    }

    pub(super) fn contains(&self, hash: u64) -> bool {
        self.len > 0 && self.table[place(&self.table, hash)] != 0
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = u64> {
        self.table.iter().copied().filter(|hash| *hash != 0)
    }

    /// Room for so many without growing, within `places_max`.
    pub(super) fn reserve(&mut self, len: usize, places_max: usize) {
        let places = (len + len / 3).next_power_of_two().clamp(PLACES_MIN, places_max);
        if places > self.table.len() {
            self.resize(places);
        }
    }

    pub(super) fn keep_below(&mut self, theta: u64) {
        let places = self.table.len();
        let kept: Vec<u64> = self.iter().filter(|hash| *hash < theta).collect();
        *self = Self::default();
        for hash in kept {
            self.insert(hash, places);
        }
    }

    #[cold]
    fn resize(&mut self, places: usize) {
        let mut table = vec![0; places];
        for hash in self.iter() {
            let place = place(&table, hash);
            table[place] = hash;
        }
        self.table = table;
    }
}

/// Where it is, or would be. The table has a free place, and an odd stride comes to all.
#[inline]
fn place(table: &[u64], hash: u64) -> usize {
    let mask = table.len() - 1;
    let mut place = hash as usize & mask;
    if table[place] == 0 || table[place] == hash {
        return place;
    }
    let stride = (hash >> 32) as usize | 1;
    loop {
        place = place.wrapping_add(stride) & mask;
        if table[place] == 0 || table[place] == hash {
            return place;
        }
    }
}
