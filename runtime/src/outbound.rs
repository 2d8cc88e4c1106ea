//! Outbound requests of snippets through the kernel's door: HTTP and deployed tools.
//!
//! The gateway decides about them, by the run's token. Bodies are whole, in base64, and bounded. A wait ends at the
//! run's deadline or on cancellation.

use std::pin::pin;
use std::time::{Duration, Instant};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use cofferdam_contract::tool::{MAX_ARGUMENTS_BYTES, MAX_RESULT_BYTES};
use cofferdam_contract::uplink::{
    GrantedTool, MAX_HEADER_BYTES, MAX_HEADERS, MAX_URL_BYTES, METHOD_HEADER, REFUSED_HEADER, RESERVED_PREFIX,
    RefusedBy, URL_HEADER,
};
use cofferdam_contract::{Problem, ToolOutcome};
use cofferdam_host_api::gateway::{GatewayBody, GatewayError, GatewayHandle};
use cofferdam_host_api::interrupt::Timer;
use cofferdam_host_api::{Interrupt, Interrupted};
use futures_util::future::{Either, select};
use http::{HeaderName, HeaderValue, Request, Response};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// The longest body of a request and of an answer. Each is held whole, plus its base64.
pub(crate) const MAX_BODY_BYTES: usize = 8 << 20;
/// The most bytes of all granted tools' descriptions.
const MAX_TOOLS_BYTES: usize = 4 << 20;

const NO_HTTP: &str = "no network in this sandbox: sockets, HTTP and name resolution are not available; \
                       HTTP has to be granted to the run, host by host (grants.http)";
const NO_TOOLS: &str = "no tools are granted to this sandbox: they must be granted to the run by name (grants.tools)";

/// `{"op":"http", ...}`
#[derive(Deserialize)]
struct HttpAsk {
    method: String,
    url: String,
    #[serde(default)]
    headers: Vec<(String, String)>,
    #[serde(default)]
    body: Option<String>,
    #[serde(default)]
    timeout_ms: Option<u64>,
}

/// `{"op":"tool", ...}`
#[derive(Deserialize)]
struct ToolAsk<'a> {
    tool: String,
    function: String,
    #[serde(borrow)]
    arguments: &'a RawValue,
}

/// Kernels' preludes put the operation first.
const HTTP: &[u8] = br#"{"op":"http""#;
const TOOLS: &[u8] = br#"{"op":"tools""#;
const TOOL: &[u8] = br#"{"op":"tool""#;

/// The answer to a request that was carried out.
#[derive(Serialize)]
struct HttpAnswer {
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
}

/// The answer to a request that was not. The prelude raises an exception from it.
#[derive(Serialize)]
struct Refusal {
    refused: &'static str,
    message: String,
}

impl Refusal {
    fn new(by: RefusedBy, message: impl Into<String>) -> Self {
        Self { refused: by.as_str(), message: message.into() }
    }
}

impl From<GatewayError> for Refusal {
    fn from(error: GatewayError) -> Self {
        let by = match error {
            GatewayError::TooLong | GatewayError::LongHead => RefusedBy::TooLarge,
            _ => RefusedBy::Internal,
        };
        Self::new(by, error.to_string())
    }
}

/// True if a request belongs here rather than to the recorder.
pub(crate) fn is_meant(request: &[u8]) -> bool {
    [HTTP, TOOLS, TOOL].iter().any(|op| request.starts_with(op))
}

/// Carries out a request and returns the answer or refusal as JSON. The guest would not see the text of an `Err`.
pub(crate) fn answer(
    gateway: Option<&GatewayHandle>,
    interrupt: &Interrupt,
    request: &[u8],
) -> Result<Vec<u8>, String> {
    let json = if request.starts_with(HTTP) {
        to_json(granted(gateway, NO_HTTP).and_then(|gateway| {
            let ask: HttpAsk = parse(request)?;
            let request = http_request(&ask.method, &ask.url, &ask.headers, ask.body.as_deref())?;
            within(interrupt, ask.timeout_ms, http(gateway, request))
        }))
    } else if request.starts_with(TOOLS) {
        to_json(granted(gateway, NO_TOOLS).and_then(|gateway| within(interrupt, None, tools(gateway))))
    } else {
        to_json(granted(gateway, NO_TOOLS).and_then(|gateway| {
            let ask: ToolAsk<'_> = parse(request)?;
            within(interrupt, None, call(gateway, &ask.tool, &ask.function, ask.arguments))
        }))
    };
    json.map_err(|e| e.to_string())
}

fn granted<'a>(gateway: Option<&'a GatewayHandle>, otherwise: &str) -> Result<&'a GatewayHandle, Refusal> {
    gateway.ok_or_else(|| Refusal::new(RefusedBy::Policy, otherwise))
}

fn parse<'a, T: Deserialize<'a>>(request: &'a [u8]) -> Result<T, Refusal> {
    serde_json::from_slice(request).map_err(|e| malformed(format!("the sandbox does not support this request: {e}")))
}

fn to_json<T: Serialize>(result: Result<T, Refusal>) -> serde_json::Result<Vec<u8>> {
    match result {
        Ok(answer) => serde_json::to_vec(&answer),
        Err(refusal) => serde_json::to_vec(&refusal),
    }
}

/// Waits no longer than the run's deadline and the guest's own timeout.
fn within<T>(
    interrupt: &Interrupt,
    timeout_ms: Option<u64>,
    work: impl Future<Output = Result<T, Refusal>>,
) -> Result<T, Refusal> {
    let patience = Timer(timeout_ms.and_then(|ms| Instant::now().checked_add(Duration::from_millis(ms))));
    let ended = interrupt.block_on(async {
        match select(pin!(work), patience).await {
            Either::Left((result, _)) => Some(result),
            Either::Right(((), _)) => None,
        }
    });
    match ended {
        Ok(Some(result)) => result,
        Ok(None) => Err(Refusal::new(RefusedBy::Timeout, "the answer did not arrive in time")),
        Err(Interrupted::Deadline) => Err(Refusal::new(RefusedBy::Timeout, "the run's deadline has passed")),
        Err(Interrupted::Cancelled) => Err(Refusal::new(RefusedBy::Timeout, "the run was cancelled")),
    }
}

fn malformed(what: impl std::fmt::Display) -> Refusal {
    Refusal::new(RefusedBy::Malformed, what.to_string())
}

fn http_request(
    method: &str,
    url: &str,
    headers: &[(String, String)],
    body: Option<&str>,
) -> Result<Request<GatewayBody>, Refusal> {
    if headers.len() > MAX_HEADERS {
        return Err(Refusal::new(RefusedBy::TooLarge, format!("a request may have at most {MAX_HEADERS} headers")));
    }
    if headers.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>() > MAX_HEADER_BYTES {
        let message = format!("a request's headers may have at most {MAX_HEADER_BYTES} bytes together");
        return Err(Refusal::new(RefusedBy::TooLarge, message));
    }
    if url.len() > MAX_URL_BYTES {
        return Err(Refusal::new(RefusedBy::TooLarge, format!("a URL may have at most {MAX_URL_BYTES} bytes")));
    }
    let bytes = match body {
        None => Vec::new(),
        Some(text) if text.len() / 4 * 3 > MAX_BODY_BYTES + 3 => {
            let message = format!("a request's body may have at most {MAX_BODY_BYTES} bytes");
            return Err(Refusal::new(RefusedBy::TooLarge, message));
        }
        Some(text) => BASE64_STANDARD.decode(text).map_err(malformed)?,
    };
    let mut request = Request::post("/http")
        .header(METHOD_HEADER, HeaderValue::from_str(method).map_err(malformed)?)
        .header(URL_HEADER, HeaderValue::from_str(url).map_err(|_| malformed("the URL has invalid characters"))?)
        .body(full(bytes))
        .map_err(malformed)?;
    for (name, value) in headers {
        let name =
            HeaderName::try_from(name.as_str()).map_err(|_| malformed(format!("invalid header name: {name:?}")))?;
        let value =
            HeaderValue::from_str(value).map_err(|_| malformed(format!("invalid value for the header {name}")))?;
        if !name.as_str().starts_with(RESERVED_PREFIX) {
            request.headers_mut().append(name, value);
        }
    }
    Ok(request)
}

fn full(bytes: impl Into<Bytes>) -> GatewayBody {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// Reads an answer. A refusal by the gateway becomes a [`Refusal`].
async fn read(response: Response<GatewayBody>, max: usize) -> Result<Response<Bytes>, Refusal> {
    let (head, body) = response.into_parts();
    let by = head.headers.get(REFUSED_HEADER).map(|by| by.to_str().ok().and_then(RefusedBy::parse));
    let bytes = Limited::new(body, max).collect().await.map_err(|error| {
        if error.is::<LengthLimitError>() {
            Refusal::new(RefusedBy::TooLarge, format!("an answer may have at most {max} bytes here"))
        } else {
            Refusal::new(RefusedBy::Internal, "the answer broke off")
        }
    })?;
    // The body is incomplete.
    if let Some(cut) = bytes.trailers().and_then(|trailers| trailers.get(REFUSED_HEADER)) {
        let by = cut.to_str().ok().and_then(RefusedBy::parse).unwrap_or(RefusedBy::Internal);
        return Err(Refusal::new(by, "the gateway cut the answer off: it was too long or took too long"));
    }
    let bytes = bytes.to_bytes();
    match by {
        None => Ok(Response::from_parts(head, bytes)),
        Some(by) => {
            let problem: Option<Problem> = serde_json::from_slice(&bytes).ok();
            let message = problem.map_or_else(|| "the gateway refused the request".to_owned(), |p| p.detail);
            Err(Refusal::new(by.unwrap_or(RefusedBy::Internal), message))
        }
    }
}

async fn http(gateway: &GatewayHandle, request: Request<GatewayBody>) -> Result<HttpAnswer, Refusal> {
    let response = read(gateway.send(request).await?, MAX_BODY_BYTES).await?;
    let text = |value: &HeaderValue| value.as_bytes().iter().map(|byte| char::from(*byte)).collect::<String>();
    Ok(HttpAnswer {
        status: response.status().as_u16(),
        headers: response.headers().iter().map(|(name, value)| (name.as_str().to_owned(), text(value))).collect(),
        body: BASE64_STANDARD.encode(response.body()),
    })
}

async fn tools(gateway: &GatewayHandle) -> Result<Vec<GrantedTool>, Refusal> {
    let response = ask(gateway, "/tools", Bytes::new(), MAX_TOOLS_BYTES).await?;
    serde_json::from_slice(response.body()).map_err(|e| Refusal::new(RefusedBy::Internal, e.to_string()))
}

async fn call(
    gateway: &GatewayHandle,
    tool: &str,
    function: &str,
    arguments: &RawValue,
) -> Result<ToolOutcome, Refusal> {
    let is_name = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    if !is_name(tool) || !is_name(function) {
        return Err(malformed("a tool's name may contain only letters, digits and `-`"));
    }
    if arguments.get().len() > MAX_ARGUMENTS_BYTES {
        let message = format!("arguments may have at most {MAX_ARGUMENTS_BYTES} bytes");
        return Err(Refusal::new(RefusedBy::TooLarge, message));
    }
    let path = format!("/tools/{tool}/functions/{function}");
    let arguments = Bytes::copy_from_slice(arguments.get().as_bytes());
    let response = ask(gateway, &path, arguments, 2 * MAX_RESULT_BYTES).await?;
    serde_json::from_slice(response.body()).map_err(|e| Refusal::new(RefusedBy::Internal, e.to_string()))
}

/// A JSON call. A problem document becomes a refusal.
async fn ask(gateway: &GatewayHandle, path: &str, json: Bytes, max: usize) -> Result<Response<Bytes>, Refusal> {
    let request = Request::post(path).header(http::header::CONTENT_TYPE, "application/json").body(full(json));
    let response = read(gateway.send(request.map_err(malformed)?).await?, max).await?;
    if response.status().is_success() {
        return Ok(response);
    }
    let problem: Option<Problem> = serde_json::from_slice(response.body()).ok();
    let message = problem.map_or_else(|| format!("status {}", response.status()), |p| p.detail);
    Err(Refusal::new(
        if response.status().is_server_error() { RefusedBy::Internal } else { RefusedBy::Policy },
        message,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_grant_there_is_no_way_out() {
        for request in [&br#"{"op":"http","method":"GET","url":"http://a/"}"#[..], br#"{"op":"tools"}"#] {
            assert!(is_meant(request));
            let answer = answer(None, &Interrupt::default(), request).unwrap();
            let answer: serde_json::Value = serde_json::from_slice(&answer).unwrap();
            assert_eq!(answer["refused"], "policy", "{answer}");
        }
        assert!(!is_meant(br#"{"op":"result","main":true,"data":{}}"#));
        let ask: ToolAsk<'_> =
            parse(br#"{"op":"tool","tool":"a","function":"b","arguments":{"c":[1e400]}}"#).ok().unwrap();
        assert_eq!(ask.arguments.get(), r#"{"c":[1e400]}"#);
        assert_eq!(parse::<HttpAsk>(br#"{"op":"http"}"#).err().map(|refusal| refusal.refused), Some("malformed"));
    }

    #[test]
    fn what_cannot_be_a_request_is_refused_here() {
        let bad = |method: &str, url: &str, headers: &[(String, String)], body: Option<&str>| {
            http_request(method, url, headers, body).err().map(|refusal| refusal.refused)
        };
        assert_eq!(bad("G\nT", "http://a/", &[], None), Some("malformed"));
        assert_eq!(bad("GET", "http://a/\r\nx: y", &[], None), Some("malformed"));
        assert_eq!(bad("GET", "http://a/", &[("a b".to_owned(), "c".to_owned())], None), Some("malformed"));
        assert_eq!(bad("GET", "http://a/", &[("a".to_owned(), "b\r\nc: d".to_owned())], None), Some("malformed"));
        assert_eq!(bad("PUT", "http://a/", &[], Some("*")), Some("malformed"));
        assert_eq!(bad("PUT", "http://a/", &[], Some(&"A".repeat(MAX_BODY_BYTES / 3 * 4 + 16))), Some("too-large"));
        let many = vec![("a".to_owned(), "b".to_owned()); MAX_HEADERS + 1];
        assert_eq!(bad("GET", "http://a/", &many, None), Some("too-large"));
        let long = [("a".to_owned(), "b".repeat(MAX_HEADER_BYTES))];
        assert_eq!(bad("GET", "http://a/", &long, None), Some("too-large"));
        let url = format!("http://a/{}", "b".repeat(MAX_URL_BYTES));
        assert_eq!(bad("GET", &url, &[], None), Some("too-large"));
        let own = [("Cofferdam-Token".to_owned(), "x".to_owned()), ("accept".to_owned(), "y".to_owned())];
        let request = http_request("GET", "http://a/", &own, Some("aGk=")).ok().unwrap();
        assert!(!request.headers().contains_key("cofferdam-token") && request.headers().contains_key("accept"));
    }
}
