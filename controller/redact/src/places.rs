//! The symbols near the beginnings of spellings, by the byte that stands for them. Pure.

use crate::spelling::Spelling;

/// A spelling by its number, and the symbol that is met.
pub(crate) type Place = (u32, u8);

/// Places by a byte of the text.
pub(crate) struct Places(Vec<Vec<Place>>);

impl Places {
    pub(crate) fn new() -> Self {
        Self(vec![Vec::new(); 256])
    }

    pub(crate) fn add(&mut self, byte: u8, place: Place) {
        if let Some(places) = self.0.get_mut(usize::from(byte))
            && !places.contains(&place)
        {
            places.push(place);
        }
    }

    pub(crate) fn of(&self, byte: u8) -> &[Place] {
        self.0.get(usize::from(byte)).map_or(&[], Vec::as_slice)
    }
}

/// Pairs of bytes, one bit each.
pub(crate) struct Pairs(Vec<u64>);

/// Bytes of escapes and of the ends of lines.
const SIGNS: [u8; 6] = [b'%', b'\\', b'&', b'=', b'\r', b'\n'];

impl Pairs {
    /// The pairs that spellings can begin with.
    pub(crate) fn new(spellings: &[Spelling]) -> Self {
        let mut pairs = Self(vec![0; 1 << 10]);
        for spelling in spellings {
            let bytes = |index: usize| spelling.symbols().get(index).map(|symbol| spelling.bytes_of(*symbol));
            for first in bytes(0).unwrap_or_default() {
                match bytes(1) {
                    Some(second) => second.iter().chain(&SIGNS).for_each(|second| pairs.add(first, *second)),
                    None => (0..=255).for_each(|second| pairs.add(first, second)),
                }
            }
        }
        for first in [b'%', b'\\', b'&', b'='] {
            (0..=255).for_each(|second| pairs.add(first, second));
        }
        pairs
    }

    fn add(&mut self, first: u8, second: u8) {
        let number = usize::from(first) << 8 | usize::from(second);
        if let Some(bits) = self.0.get_mut(number >> 6) {
            *bits |= 1 << (number & 63);
        }
    }

    pub(crate) fn has(&self, first: u8, second: u8) -> bool {
        let number = usize::from(first) << 8 | usize::from(second);
        self.0.get(number >> 6).is_some_and(|bits| bits >> (number & 63) & 1 == 1)
    }
}
