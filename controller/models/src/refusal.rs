//! Reasons for which a call ends without an answer, and what the caller is told, in the protocol of its door.

use std::time::Duration;

use bytes::Bytes;
use cofferdam_dialects::{Dialect, Kind, Refused, error_body};
use cofferdam_upstreams::Service;
use cofferdam_usage::{Amounts, Ending, HoldError, Unit, Window, dollars};
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, StatusCode};

use crate::reply::{Reply, ReplyBody};

/// The protocol in which a door's errors are written.
pub(crate) fn voice(service: Service) -> Dialect {
    service.error_dialect()
}

fn period(window: Window) -> &'static str {
    match window {
        Window::Minute => "a minute",
        Window::Day => "a day",
        Window::Month => "a month",
        Window::Task => "for the whole task",
    }
}

/// A call that ends without an answer.
#[derive(Debug, Clone)]
pub(crate) struct Refusal {
    pub(crate) kind: Kind,
    pub(crate) message: String,
    pub(crate) field: Option<String>,
    pub(crate) retry_after: Option<Duration>,
    pub(crate) ending: Ending,
    /// An upstream's own error document, in the caller's protocol: passed on as it came.
    pub(crate) passed: Option<(StatusCode, Bytes)>,
}

impl Refusal {
    pub(crate) fn new(kind: Kind, ending: Ending, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), field: None, retry_after: None, ending, passed: None }
    }

    /// The caller's request is wrong.
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(Kind::Invalid, Ending::Refused, message)
    }

    pub(crate) fn at(mut self, field: &str) -> Self {
        self.field = Some(field.to_owned());
        self
    }

    pub(crate) fn after(mut self, wait: Option<Duration>) -> Self {
        self.retry_after = wait;
        self
    }

    pub(crate) fn reply(self, service: Service) -> Reply {
        let voice = voice(service);
        let (status, body) = self.passed.unwrap_or_else(|| {
            let status = StatusCode::from_u16(self.kind.status(voice)).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            (status, Bytes::from(error_body(voice, self.kind, &self.message, self.field.as_deref())))
        });
        let mut reply = Reply::new(ReplyBody::whole(body));
        *reply.status_mut() = status;
        reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(wait) = self.retry_after {
            // Rounded up: a caller that comes at that time finds room.
            let seconds = wait.as_millis().div_ceil(1_000).max(1);
            reply.headers_mut().insert(RETRY_AFTER, HeaderValue::from(u64::try_from(seconds).unwrap_or(u64::MAX)));
        }
        reply
    }
}

impl From<Refused> for Refusal {
    fn from(refused: Refused) -> Self {
        Self::invalid(refused.why).at(&refused.field)
    }
}

impl Refusal {
    /// A budget has no room for what a call may cost at most.
    pub(crate) fn of_budget(error: HoldError, most: Amounts) -> Self {
        match error {
            HoldError::Refused(refused) => {
                let (unit, needed) = match refused.unit {
                    Unit::Requests => ("requests", "one".to_owned()),
                    Unit::Tokens => ("tokens", format!("up to {} with its answer", most.tokens)),
                    Unit::Money => ("US dollars", format!("up to {} with its answer", dollars(most.money))),
                };
                let advice = match refused.unit {
                    Unit::Requests => "",
                    Unit::Tokens | Unit::Money => "; a lower limit of tokens in the request needs less",
                };
                let message = format!(
                    "The budget `{}` has no room for this call: its limit is {} {unit} {}, and the call needs {needed}{advice}.",
                    refused.budget,
                    refused.limit,
                    period(refused.window),
                );
                Self::new(Kind::Quota, Ending::Budget, message).after(refused.retry_after_s.map(Duration::from_secs))
            }
            HoldError::Unavailable(why) => {
                tracing::error!(why, "budgets and records are not available");
                let message = "Calls cannot be counted at the moment, and are not made uncounted; try again.";
                Self::new(Kind::Overloaded, Ending::Refused, message).after(Some(Duration::from_secs(2)))
            }
        }
    }
}
