//! The ways in which an upstream misbehaves, and their names as a model's name says them.

use std::time::Duration;

/// A way in which an upstream misbehaves. [`Trouble::named`] has the names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// `too-many`, `too-many.SECONDS`: 429, with `Retry-After` if it says so.
    TooMany(Option<u64>),
    /// `overloaded`: Anthropic's 529, a 503 elsewhere.
    Overloaded,
    /// `no-money`: the provider's own quota is used up.
    NoMoney,
    /// `bad-request`: 400.
    BadRequest,
    /// `key-refused`: 401.
    KeyRefused,
    /// `page`: 500 with a proxy's page.
    Page,
    /// `fail.TIMES.TAG`: 500 that often for that name, then good.
    Fail(u64, String),
    /// `closed`: the connection is closed before the head.
    Closed,
    /// `redirect`: 307 to an address inside the machine.
    Redirect,
    /// `wrong-type`: 200 with a page and its type.
    WrongType,
    /// `garbage`: 200 with the right type and no JSON.
    Garbage,
    /// `empty`: 200 without a body.
    Empty,
    /// `slow.MS`: the head comes after this time.
    Slow(Duration),
    /// `drip.MS`: each event, or each 16 bytes of a whole answer, comes after this time.
    Drip(Duration),
    /// `half`: the connection breaks in the middle.
    Half,
    /// `cut`: the stream ends regularly in the middle.
    Cut,
    /// `stall`: nothing comes any more in the middle.
    Stall,
    /// `endless`: words for ever; a whole answer is white space for ever.
    Endless,
    /// `long-line`: an event of 50 MB; a whole answer has a text of 8 MB.
    LongLine,
    /// `invalid-utf8`: bytes in a text that are no characters.
    InvalidUtf8,
    /// `broken-arguments`: pieces of a call's arguments that are no JSON.
    BrokenArguments,
    /// `two-zero`: two calls with the index 0.
    TwoZero,
    /// `usage-null`, and none anywhere.
    UsageNull,
    /// `usage-twice`: the second time it is more.
    UsageTwice,
    /// `error-event`: an error in the middle of a stream, a 200 with an error in place of a whole answer.
    ErrorEvent,
    /// `key-in-error`: 400 whose text has the key that was sent.
    KeyInError,
    /// `key-in-stream`: a text of the answer has the key that was sent.
    KeyInStream,
    /// `key-in-page`: 502 with a page that has the key that was sent.
    KeyInPage,
    /// `long-error`: 400 with a text of 50 MB.
    LongError,
    /// `endless-error`: 500 whose text never ends.
    EndlessError,
}

impl Trouble {
    /// The one that a model's name asks for.
    pub fn named(model: &str) -> Option<Self> {
        let mut words = model.strip_prefix("trouble.")?.split('.');
        let name = words.next()?;
        let argument = words.next();
        let number = argument.and_then(|word| word.parse::<u64>().ok());
        let time = || Duration::from_millis(number.unwrap_or(1_000));
        Some(match name {
            "too-many" => Self::TooMany(number),
            "overloaded" => Self::Overloaded,
            "no-money" => Self::NoMoney,
            "bad-request" => Self::BadRequest,
            "key-refused" => Self::KeyRefused,
            "page" => Self::Page,
            "fail" => Self::Fail(number.unwrap_or(1), model.to_owned()),
            "closed" => Self::Closed,
            "redirect" => Self::Redirect,
            "wrong-type" => Self::WrongType,
            "garbage" => Self::Garbage,
            "empty" => Self::Empty,
            "slow" => Self::Slow(time()),
            "drip" => Self::Drip(time()),
            "half" => Self::Half,
            "cut" => Self::Cut,
            "stall" => Self::Stall,
            "endless" => Self::Endless,
            "long-line" => Self::LongLine,
            "invalid-utf8" => Self::InvalidUtf8,
            "broken-arguments" => Self::BrokenArguments,
            "two-zero" => Self::TwoZero,
            "usage-null" => Self::UsageNull,
            "usage-twice" => Self::UsageTwice,
            "error-event" => Self::ErrorEvent,
            "key-in-error" => Self::KeyInError,
            "key-in-stream" => Self::KeyInStream,
            "key-in-page" => Self::KeyInPage,
            "long-error" => Self::LongError,
            "endless-error" => Self::EndlessError,
            other => panic!("there is no trouble {other:?}"),
        })
    }
}
