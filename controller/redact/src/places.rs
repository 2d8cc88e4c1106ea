//! The symbols near the beginnings of spellings, by the byte that stands for them. Pure.

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
