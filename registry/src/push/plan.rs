//! Decides what is to be done with a layer, from what is known before it is read. Names and manifests only claim digests:
//! whatever is not sent because of a claim is read and compared, unless the very same bytes were read here before. Nothing is
//! mounted from another repository without a proof that the archive has the layer.

use super::cache::{Known, Read, Start, Stored, head_key, layer_key, lost_key, place_key};
use super::error::PushError;
use super::sink::{How, Now, PushSink, Work};
use crate::archive::{LayerEnd, LayerStart, Want};
use crate::client::{Mounted, Upload};
use crate::compress::{Compression, Encoding};
use crate::digest::Digest;

/// The digest that a layer must turn out to have, if it is not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Claim {
    /// The digest of the bytes as the archive stores them, which the registry has.
    Stored(Digest),
    /// The digest of the uncompressed layer, which the registry has in the form that we made.
    Layer(Digest),
}

impl Claim {
    /// The claimed digest and the true one, if they differ.
    pub(super) fn is_not(self, end: &LayerEnd) -> Option<(Digest, Digest)> {
        let (expected, found) = match self {
            Self::Stored(blob) => (blob, end.blob),
            Self::Layer(diff_id) => (diff_id, end.diff_id),
        };
        (expected != found).then_some((expected, found))
    }
}

/// A blob of the registry that may be the layer.
struct Guess {
    claim: Claim,
    blob: Digest,
    size: u64,
    /// Another repository that has it.
    sibling: Option<String>,
    /// It was pushed just before, for the same image.
    before: bool,
    /// It was scanned, and nothing was found.
    clean: bool,
}

impl PushSink {
    fn get(&self, key: &str) -> Result<Option<String>, PushError> {
        self.wait(self.cache.get(&self.scope, key))
    }

    fn read_before(&self, place: &str) -> Result<Option<Read>, PushError> {
        Ok(self.get(&place_key(place))?.and_then(|text| serde_json::from_str(&text).ok()))
    }

    pub(super) fn stored(&self, encoding: Encoding) -> Stored {
        if encoding == Encoding::Plain { Stored::Packed(self.compression) } else { Stored::AsIs(encoding) }
    }

    pub(super) fn plan(&self, layer: &LayerStart, number: usize) -> Result<(Want, Now), PushError> {
        let head = layer.diff_id.is_none().then(|| head_key(&layer.name, layer.size, &layer.head));
        let hinted = match &head {
            Some(key) => self.get(key)?.and_then(|text| text.parse::<Digest>().ok()),
            None => None,
        };
        let diff_id = layer.diff_id.or(hinted);
        let stored = self.stored(layer.encoding);
        let as_is = matches!(stored, Stored::AsIs(_) | Stored::Packed(Compression::None));
        let key = diff_id.map(|diff_id| layer_key(&diff_id, stored));
        let known = match &key {
            Some(key) => self.get(key)?.and_then(|text| serde_json::from_str::<Known>(&text).ok()),
            None => None,
        };
        let start = Start::of(layer.size, &layer.head);
        let known = known.as_ref();
        let mut upload = None;
        if let Some(guess) = self.guess(layer, diff_id, key.as_deref(), known, as_is) {
            let from = guess.sibling.as_deref().filter(|_| known.is_some_and(|known| known.start == Some(start)));
            let how =
                if guess.before { Some(How::Skipped) } else { self.there(&guess.blob, guess.size, from, &mut upload)? };
            if let Some(how) = how {
                let want = self.want(layer, &guess)?;
                let Guess { claim, blob, size, .. } = guess;
                let work = Work::Has { claim, blob, size, how, forget: hinted.is_some() };
                return Ok((want, Now { layer: number, key, head, start, work }));
            }
        }
        let work = self.ship(number, as_is.then_some(layer.size), upload)?;
        Ok((Want::Bytes, Now { layer: number, key, head, start, work }))
    }

    /// The blob that the layer is, if its claims are true. `as_is`: it is stored as the archive has it.
    fn guess(
        &self,
        layer: &LayerStart,
        diff_id: Option<Digest>,
        key: Option<&str>,
        known: Option<&Known>,
        as_is: bool,
    ) -> Option<Guess> {
        let same = |id: Digest| self.arrived.iter().find(|one| one.diff_id == id && Some(one.key.as_str()) == key);
        if let (Some(id), Some(one)) = (diff_id, diff_id.and_then(same)) {
            let claim = Claim::Layer(id);
            return Some(Guess { claim, blob: one.digest, size: one.size, sibling: None, before: true, clean: true });
        }
        let (claim, blob, size) = match (as_is, layer.blob, known, diff_id) {
            (true, Some(blob), ..) => (Claim::Stored(blob), blob, layer.size),
            (false, _, Some(known), Some(id)) => (Claim::Layer(id), known.digest, known.size),
            _ => return None,
        };
        let known = known.filter(|known| known.digest == blob);
        let sibling = known.map(|known| known.repository.clone());
        Some(Guess { claim, blob, size, sibling, before: false, clean: known.is_some_and(|known| known.clean) })
    }

    /// Nothing of a layer that was read at this place before and had the digests that it claims now; else all of it, to be
    /// compared.
    fn want(&self, layer: &LayerStart, guess: &Guess) -> Result<Want, PushError> {
        let (Some(diff_id), Some(place), true) = (layer.diff_id, &layer.place, guess.clean) else {
            return Ok(Want::HashOnly);
        };
        let right = |read: &Read| read.diff_id == diff_id && layer.blob.is_none_or(|blob| blob == read.blob);
        let read = self.read_before(place)?.filter(right);
        Ok(if read.is_some() { Want::Nothing { diff_id } } else { Want::HashOnly })
    }

    /// The way in which the registry has a blob of this size, mounted from a sibling if it is not there yet.
    fn there(
        &self,
        blob: &Digest,
        size: u64,
        sibling: Option<&str>,
        upload: &mut Option<Upload>,
    ) -> Result<Option<How>, PushError> {
        let repository = self.client.reference().repository();
        if self.get(&lost_key(repository, blob))?.is_some() {
            return Ok(None);
        }
        // A registry may not say how long it is (0).
        if self.wait(self.client.blob_size(blob))??.is_some_and(|there| there == 0 || there == size) {
            return Ok(Some(How::Skipped));
        }
        let Some(from) = sibling.filter(|from| *from != self.client.reference().repository()) else { return Ok(None) };
        match self.wait(self.client.mount(blob, from))?? {
            Mounted::Yes => Ok(Some(How::Mounted)),
            Mounted::Send(begun) => {
                *upload = Some(begun);
                Ok(None)
            }
            Mounted::No => Ok(None),
        }
    }
}
