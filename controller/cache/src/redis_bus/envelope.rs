//! The bytes of a publication: who sends it, one byte of marks, then each payload after its length. Never trusts what it reads.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};

/// Bytes of a sender's name.
pub(super) const SENDER: usize = 16;
/// Bytes of a length.
pub(super) const LENGTH: usize = 2;
/// The mark that messages were lost before this one.
const MISSED: u8 = 1;

/// Messages of one topic that travel together.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Envelope {
    pub(super) missed: bool,
    pub(super) payloads: Vec<Bytes>,
}

impl Envelope {
    pub(super) fn write(&self, sender: &[u8; SENDER]) -> Vec<u8> {
        let length = self.payloads.iter().map(|payload| payload.len().saturating_add(LENGTH)).sum::<usize>();
        let mut out = BytesMut::with_capacity(length.saturating_add(SENDER + 1));
        out.put_slice(sender);
        out.put_u8(if self.missed { MISSED } else { 0 });
        for payload in &self.payloads {
            if let Ok(length) = u16::try_from(payload.len()) {
                out.put_u16(length);
                out.put_slice(payload);
            }
        }
        out.into()
    }

    /// Reads a publication; an empty one if `me` sent it. `None` if it is none.
    pub(super) fn read(bytes: &[u8], me: &[u8; SENDER]) -> Option<Self> {
        let (sender, rest) = bytes.split_at_checked(SENDER)?;
        let (marks, rest) = rest.split_first()?;
        if sender == me {
            return Some(Self::default());
        }
        let mut rest = Bytes::copy_from_slice(rest);
        let mut payloads = Vec::new();
        while !rest.is_empty() {
            let length = usize::from(rest.try_get_u16().ok()?);
            if length > rest.len() {
                return None;
            }
            payloads.push(rest.split_to(length));
        }
        Some(Self { missed: *marks & MISSED != 0, payloads })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn publications_come_back_as_they_were_and_broken_ones_not_at_all() {
        let (me, other) = ([1; SENDER], [2; SENDER]);
        let envelope = Envelope { missed: true, payloads: vec![Bytes::from("a"), Bytes::new(), Bytes::from("ccc")] };
        let bytes = envelope.write(&other);
        assert_eq!(Envelope::read(&bytes, &me), Some(envelope));
        assert_eq!(Envelope::read(&bytes, &other), Some(Envelope::default()));
        for end in [0, 5, SENDER, SENDER + 2, bytes.len() - 1] {
            assert_eq!(Envelope::read(&bytes[..end], &me), None, "{end}");
        }
    }
}
