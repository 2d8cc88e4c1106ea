//! Our credentials for one API server, and how they are taken out of all that it says: a server sees them with each request
//! and may echo them in any field and in any log line. Never shows them, in `Debug` neither.

use std::sync::{Arc, PoisonError, RwLock};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use cofferdam_core::Secret;
use cofferdam_redact::{Effort, MARK, Matcher, Replacement, Replacer};
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, stream};
use http::header::AUTHORIZATION;

use crate::words::redacted;

/// Shorter credentials would be found everywhere.
const MIN_BYTES: usize = 6;
/// Credentials that are remembered of those that a program or a file gave anew; each is valid for a while.
const MAX_RENEWED: usize = 8;

/// The credentials of one client.
pub(crate) struct Ours {
    known: RwLock<Known>,
}

#[derive(Default)]
struct Known {
    /// Those of the settings.
    fixed: Vec<Secret>,
    /// Others that were sent, the newest last.
    renewed: Vec<Secret>,
    /// `None` if there is nothing to look for.
    sought: Option<Sought>,
    /// Too many or too long to be looked for: then nothing is shown.
    hopeless: bool,
}

/// The values to look for, and a mark for each.
#[derive(Clone)]
struct Sought {
    matcher: Arc<Matcher>,
    marks: Arc<Vec<Replacement>>,
}

/// The pieces of a log, as they come and as they go on; an error has no more to tell than that it broke off.
pub(crate) type Pieces = BoxStream<'static, Result<Bytes, ()>>;

/// An answer resembles our credentials too much to be searched, or they cannot be looked for.
#[derive(Debug)]
pub(crate) struct NotScrubbed;

impl Known {
    fn find(&mut self) {
        let all = self.fixed.iter().chain(&self.renewed).map(|secret| secret.expose().as_bytes());
        let all: Vec<&[u8]> = all.filter(|value| value.len() >= MIN_BYTES).collect();
        let marks: Vec<Replacement> = all.iter().map(|_| Ok(MARK.as_bytes().to_vec().into())).collect();
        let made = (!all.is_empty()).then(|| Matcher::new(all)).transpose();
        self.hopeless = made.is_err();
        let sought = |matcher| Sought { matcher: Arc::new(matcher), marks: Arc::new(marks) };
        self.sought = made.ok().flatten().map(sought);
    }

    fn holds(&self, value: &str) -> bool {
        self.fixed.iter().chain(&self.renewed).any(|secret| secret.expose() == value)
    }
}

impl Ours {
    pub(crate) fn new(fixed: Vec<Secret>) -> Arc<Self> {
        let mut known = Known { fixed, ..Known::default() };
        known.find();
        Arc::new(Self { known: RwLock::new(known) })
    }

    /// Remembers the credentials of a request that is about to be sent.
    pub(crate) fn note<B>(&self, request: &http::Request<B>) {
        let sent = request.headers().get_all(AUTHORIZATION).iter().filter_map(|value| value.to_str().ok());
        for value in sent.filter_map(|value| value.split_once(' ')).map(|(_, value)| value.trim()) {
            // Of a user's name and password, the password alone is secret as well.
            let password = BASE64_STANDARD.decode(value).ok().and_then(|pair| String::from_utf8(pair).ok());
            let password = password.as_deref().and_then(|pair| pair.split_once(':')).map(|(_, password)| password);
            for value in [Some(value), password].into_iter().flatten() {
                if value.is_empty() || self.known.read().unwrap_or_else(PoisonError::into_inner).holds(value) {
                    continue;
                }
                let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
                if known.renewed.len() >= MAX_RENEWED {
                    known.renewed.remove(0);
                }
                known.renewed.push(Secret::new(value));
                known.find();
            }
        }
    }

    /// Takes our credentials, in every spelling, and what looks like a credential out of a text.
    pub(crate) fn text(&self, text: &str) -> String {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        redacted(text, known.fixed.iter().chain(&known.renewed))
    }

    /// Takes our credentials, in every spelling, out of the bytes of a whole answer.
    pub(crate) fn answer(&self, bytes: Vec<u8>) -> Result<Vec<u8>, NotScrubbed> {
        let Some(sought) = self.sought()? else { return Ok(bytes) };
        let changed = sought.matcher.replace_all(&sought.marks, &bytes, &mut Effort::new(bytes.len()));
        Ok(changed.map_err(|_| NotScrubbed)?.unwrap_or(bytes))
    }

    /// Takes our credentials, in every spelling, out of a log as it arrives.
    pub(crate) fn log(self: &Arc<Self>, pieces: Pieces) -> Pieces {
        let begun = Some((Arc::clone(self), pieces, None));
        let next = |state: Option<(Arc<Self>, Pieces, Option<Replacing>)>| async move {
            let (ours, mut pieces, mut replacing) = state?;
            match pieces.next().await {
                Some(Ok(piece)) => Some(match ours.piece(&mut replacing, piece) {
                    Ok(piece) => (Ok(piece), Some((ours, pieces, replacing))),
                    Err(NotScrubbed) => (Err(()), None),
                }),
                Some(Err(())) => Some((Err(()), None)),
                None => Some((end(&mut replacing).map_err(drop), None)),
            }
        };
        stream::unfold(begun, next).boxed()
    }

    /// The bytes that can go on after this piece.
    fn piece(&self, replacing: &mut Option<Replacing>, piece: Bytes) -> Result<Bytes, NotScrubbed> {
        let sought = self.sought()?;
        let is_current = match (&*replacing, &sought) {
            (Some(now), Some(sought)) => Arc::ptr_eq(&now.matcher, &sought.matcher),
            (now, sought) => now.is_none() && sought.is_none(),
        };
        // What was held back goes first when there are other credentials to look for.
        let before = if is_current { Bytes::new() } else { end(replacing)? };
        if !is_current {
            *replacing = sought.map(|Sought { matcher, marks }| Replacing {
                replacer: Replacer::new(Arc::clone(&matcher), marks, usize::MAX),
                matcher,
            });
        }
        let Some(now) = replacing else { return Ok(join(before, piece)) };
        Ok(join(before, now.replacer.push(piece).map_err(|_| NotScrubbed)?))
    }

    fn sought(&self) -> Result<Option<Sought>, NotScrubbed> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        if known.hopeless { Err(NotScrubbed) } else { Ok(known.sought.clone()) }
    }
}

/// A log that is being looked through.
struct Replacing {
    matcher: Arc<Matcher>,
    replacer: Replacer,
}

/// The bytes that were held back.
fn end(replacing: &mut Option<Replacing>) -> Result<Bytes, NotScrubbed> {
    replacing.as_mut().map_or(Ok(Bytes::new()), |now| now.replacer.finish()).map_err(|_| NotScrubbed)
}

fn join(before: Bytes, after: Bytes) -> Bytes {
    if before.is_empty() { after } else { [before, after].concat().into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "a-token-of-the-tests-0123456789";

    fn ours() -> Arc<Ours> {
        Ours::new(vec![Secret::new(TOKEN)])
    }

    fn shown(ours: &Ours, text: &str) -> String {
        String::from_utf8(ours.answer(text.as_bytes().to_vec()).unwrap()).unwrap()
    }

    #[test]
    fn an_echoed_credential_is_taken_out_in_every_spelling_and_the_rest_stays() {
        let ours = ours();
        let escaped: String = TOKEN.chars().map(|c| format!("\\u{:04x}", u32::from(c))).collect();
        // The last digits of base64 hold bits of what follows, and stay.
        let base64 = BASE64_STANDARD.encode(TOKEN).trim_end_matches('=').to_owned();
        let base64 = base64.split_at(base64.len() - 1).0.to_owned();
        for form in [TOKEN.to_owned(), escaped, base64, hex::encode(TOKEN)] {
            let text = format!(r#"{{"message":"<{form}>","name":"hello"}}"#);
            assert_eq!(shown(&ours, &text), r#"{"message":"<[redacted]>","name":"hello"}"#, "{form}");
        }
        assert_eq!(ours.text(&format!("x {TOKEN}")), "x [redacted]");
        // Nothing to look for.
        assert_eq!(shown(&Ours::new(vec![Secret::new("abc")]), "abc"), "abc");
    }

    #[test]
    fn credentials_that_were_sent_are_taken_out_too_and_few_are_remembered() {
        let ours = ours();
        let sent = |value: &str| ours.note(&http::Request::builder().header(AUTHORIZATION, value).body(()).unwrap());
        sent("Bearer of-a-program-1");
        sent(&format!("Basic {}", BASE64_STANDARD.encode("user:the-password")));
        sent("Bearer of-a-program-1");
        assert_eq!(shown(&ours, "of-a-program-1 the-password user"), "[redacted] [redacted] user");
        for number in 0..20 {
            sent(&format!("Bearer renewed-number-{number}."));
        }
        assert_eq!(ours.known.read().unwrap().renewed.len(), MAX_RENEWED);
        assert_eq!(shown(&ours, &format!("renewed-number-19. {TOKEN}")), "[redacted] [redacted]");
    }

    #[tokio::test]
    async fn a_log_has_no_credential_wherever_its_pieces_end() {
        let ours = ours();
        let text = format!("2026-11-22T01:00:00Z {TOKEN}\n2026-11-22T01:00:01Z next\n2026-11-22T01:00:02Z a-tok");
        for length in [1, 7, 1_000] {
            let pieces: Vec<Result<Bytes, ()>> =
                text.as_bytes().chunks(length).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
            let shown: Vec<u8> =
                ours.log(stream::iter(pieces).boxed()).map(Result::unwrap).collect::<Vec<_>>().await.concat();
            assert_eq!(String::from_utf8(shown).unwrap(), text.replace(TOKEN, MARK), "{length}");
        }
    }
}
