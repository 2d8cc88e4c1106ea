use std::io::Write;

use super::*;
use crate::memory::Delta;

fn image(pages: usize) -> Arc<Image> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let bytes: Vec<u8> = (0..pages * WASM_PAGE).map(|i| (i / PAGE % 251) as u8).collect();
    file.write_all(&bytes).unwrap();
    Arc::new(Image::open(file.path(), "test".into()).unwrap())
}

fn poke(slot: &mut Slot, at: usize, value: u8) {
    slot.write(at, &[value]).unwrap();
}

#[test]
fn reset_puts_back_everything() {
    let image = image(8);
    let mut slot = Slot::new(Arc::clone(&image), 64 << 20, 1 << 20).unwrap();
    assert!(slot.is_pristine());
    // A small generator, to try many different patterns of modified pages.
    let mut state = 12_345_u64;
    let mut next = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 33) as usize
    };
    for round in 0..200 {
        let grown = image.len() + next() % (1 << 20);
        if round % 3 == 0 {
            slot.grow_to(grown).unwrap();
        }
        for _ in 0..next() % 300 {
            let at = next() % slot.size();
            poke(&mut slot, at, next() as u8);
        }
        if round % 2 == 0 {
            assert!(!slot.is_pristine() || slot.private_bytes().unwrap() == 0);
        }
        slot.reset().unwrap();
        assert!(slot.is_pristine(), "round {round}");
    }
}

#[test]
fn a_slot_with_much_dirt_is_dropped_to_the_image() {
    let image = image(320);
    let mut slot = Slot::new(image, 64 << 20, 1 << 20).unwrap();
    for page in 0..KEEP_PAGES + 1 {
        poke(&mut slot, page * PAGE, 255);
    }
    assert!(slot.reset().unwrap().dropped);
    assert!(slot.is_pristine());
    assert_eq!(slot.private_bytes().unwrap(), 0);
}

#[test]
fn a_delta_carries_a_memory_to_another_slot() {
    let image = image(16);
    let mut first = Slot::new(Arc::clone(&image), 64 << 20, 1 << 20).unwrap();
    first.grow_to(image.len() + 3 * WASM_PAGE).unwrap();
    for at in (0..40 * PAGE).step_by(97) {
        poke(&mut first, at, 200); // a long run: mapped
    }
    poke(&mut first, 100 * PAGE + 5, 9); // a short one: copied
    poke(&mut first, image.len() + WASM_PAGE, 77); // beyond the image
    poke(&mut first, 120 * PAGE, 120); // touched, and equal to the image: left out
    let mut copies: Vec<Slot> = Vec::new();
    for generation in 0..3 {
        let source = copies.last().unwrap_or(&first);
        let runs = source.changed_pages(&mut ()).unwrap();
        assert!(!runs.contains(&(120 * PAGE, 121 * PAGE)));
        let mut file = tempfile::tempfile().unwrap();
        source.with_bytes(&mut (), |bytes| Delta::write(&mut file, bytes, &runs)).unwrap();
        let delta = Delta::open(file).unwrap();
        let mut copy = Slot::new(Arc::clone(&image), 64 << 20, 1 << 20).unwrap();
        copy.apply(&delta).unwrap();
        let expected = first.with_bytes(&mut (), <[u8]>::to_vec);
        assert!(copy.with_bytes(&mut (), |bytes| bytes == expected), "generation {generation}");
        copies.push(copy);
    }
    for mut copy in copies {
        copy.reset().unwrap();
        assert!(copy.is_pristine());
    }
}

#[test]
fn growth_stops_at_the_capacity() {
    let slot = Slot::zeroed(WASM_PAGE, 4 * WASM_PAGE, PAGE).unwrap();
    assert!(slot.grow_to(4 * WASM_PAGE).is_ok());
    assert!(slot.grow_to(5 * WASM_PAGE).is_err());
    assert_eq!(slot.size(), 4 * WASM_PAGE);
}

/// Notes the memory of `slot`, and checks that both the note and a suspended file restore it.
fn noted(slot: &Slot, image: &Arc<Image>) -> (Delta, usize) {
    let expected = slot.with_bytes(&mut (), <[u8]>::to_vec);
    let changes = slot.changes(&mut ()).unwrap();
    let written = usize::try_from(changes.bytes()).unwrap();
    let note = slot.note(&mut (), changes, tempfile::tempfile().unwrap()).unwrap();
    slot.settle(&mut (), &note).unwrap();
    assert!(slot.with_bytes(&mut (), |bytes| bytes == expected), "noting changed the memory");
    let mut file = tempfile::tempfile().unwrap();
    note.copy_to(&mut file).unwrap();
    let mut whole = tempfile::tempfile().unwrap();
    let runs = slot.changed_pages(&mut ()).unwrap();
    slot.with_bytes(&mut (), |bytes| Delta::write(&mut whole, bytes, &runs)).unwrap();
    for stored in [None, Some(file), Some(whole)] {
        let mut copy = Slot::new(Arc::clone(image), 64 << 20, 1 << 20).unwrap();
        match stored {
            None => copy.apply(&note).unwrap(),
            Some(file) => copy.apply(&Delta::open(file).unwrap()).unwrap(),
        }
        assert!(copy.with_bytes(&mut (), |bytes| bytes == expected));
        copy.reset().unwrap();
        assert!(copy.is_pristine());
    }
    (note, written)
}

#[test]
fn notes_write_what_has_changed_since_the_last_one() {
    let image = image(64);
    let mut slot = Slot::new(Arc::clone(&image), 64 << 20, 1 << 20).unwrap();
    slot.grow_to(image.len() + (6 << 20)).unwrap();
    for at in (image.len()..slot.size()).step_by(PAGE) {
        poke(&mut slot, at, 7);
    }
    poke(&mut slot, 5 * PAGE, 99);
    assert_eq!(noted(&slot, &image).1, (6 << 20) + PAGE);
    // The long run now belongs to the file, the page does not. One page in the middle of the run changes.
    poke(&mut slot, image.len() + (3 << 20), 8);
    let (first, written) = noted(&slot, &image);
    assert_eq!(written, 2 * PAGE);
    // Back to zero: then it is neither in the new file nor read from the old one.
    poke(&mut slot, image.len() + (3 << 20), 0);
    assert_eq!(noted(&slot, &image).1, PAGE);
    // Most of the old file is outdated: it is released, and the rest is written again.
    for at in (image.len()..image.len() + (5 << 20)).step_by(PAGE) {
        poke(&mut slot, at, 9);
    }
    assert_eq!(noted(&slot, &image).1, (6 << 20) + PAGE);
    assert_eq!(slot.overlay().len(), 1);
    // Earlier notes are unchanged.
    let mut copy = Slot::new(Arc::clone(&image), 64 << 20, 1 << 20).unwrap();
    copy.apply(&first).unwrap();
    let byte = |slot: &Slot, at: usize| slot.with_bytes(&mut (), |bytes| bytes[image.len() + at]);
    assert_eq!([0, 3 << 20, 5 << 20].map(|at| byte(&copy, at)), [7, 8, 7]);
    slot.reset().unwrap();
    assert!(slot.is_pristine());
}

#[test]
fn notes_of_any_shape_carry_the_memory() {
    let image = image(40);
    let mut slot = Slot::new(Arc::clone(&image), 64 << 20, 1 << 20).unwrap();
    let mut state = 99_u64;
    let mut next = move |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 33) as usize % below
    };
    for round in 0..40 {
        if round % 7 == 3 {
            slot.grow_to((slot.size() + next(16) * WASM_PAGE).min(16 << 20)).unwrap();
        }
        let from = next(slot.size());
        for at in (from..slot.size().min(from + next(3 << 20))).step_by(PAGE) {
            poke(&mut slot, at, next(256) as u8);
        }
        for _ in 0..next(40) {
            let at = next(slot.size());
            poke(&mut slot, at, next(256) as u8);
        }
        noted(&slot, &image);
        assert!(slot.overlay().windows(2).all(|pair| pair[0].end() <= pair[1].offset));
        if round % 11 == 10 {
            slot.reset().unwrap();
            assert!(slot.is_pristine(), "round {round}");
        }
    }
}
