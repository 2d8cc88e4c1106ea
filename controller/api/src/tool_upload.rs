//! Reads the body of `PUT /v1/tools/{name}`: a component, a form, or a reference to a registry. Its size and time are
//! bounded, and so is the memory of all uploads together.

use std::sync::OnceLock;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use bytes::Bytes;
use cofferdam_contract::tool::MAX_COMPONENT_BYTES;
use cofferdam_contract::{Grants, LimitsRequest, Problem};
use http::HeaderMap;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use multer::{Constraints, Multipart, SizeLimit};
use serde::{Deserialize, Serialize};
use tokio::sync::{Semaphore, SemaphorePermit};
use utoipa::{IntoParams, ToSchema};

use cofferdam_core::Caller;
use cofferdam_http::ApiError;
use cofferdam_http::{parse, read_body, read_json, refuse_nul};
use cofferdam_policy::MAX_POLICY_BYTES;
use cofferdam_tools::{AskedTool, ToolDeployment, Tools};

/// The largest JSON body, and the room for a form's parts besides the component, in bytes.
const MAX_REST: usize = 1 << 20;
/// Memory of all concurrent uploads together, in KiB.
const MEMORY_KIB: u32 = 512 << 10;
const ROOM_TIMEOUT: Duration = Duration::from_secs(10);

/// The settings of a deployment whose body is the component itself.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Asked {
    /// Grants, as JSON.
    grants: Option<String>,
    /// A policy, as YAML.
    policy: Option<String>,
    /// Limits, as JSON.
    limits: Option<String>,
}

/// A deployment as a form.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it only describes the form")]
pub(crate) struct Form {
    #[schema(value_type = String, format = Binary)]
    component: Vec<u8>,
    /// In JSON.
    grants: Option<Grants>,
    /// In YAML, instead of `grants`.
    policy: Option<String>,
    /// In JSON.
    limits: Option<LimitsRequest>,
}

/// A deployment from a registry.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct FromRegistry {
    /// `registry/repository:tag` or `registry/repository@sha256:...`.
    oci: String,
    #[serde(default)]
    grants: Option<Grants>,
    #[serde(default)]
    policy: Option<String>,
    #[serde(default)]
    limits: LimitsRequest,
}

/// Memory for the bodies of uploads.
async fn room(headers: &HeaderMap) -> Result<SemaphorePermit<'static>, ApiError> {
    static ROOM: OnceLock<Semaphore> = OnceLock::new();
    let most = MAX_COMPONENT_BYTES + MAX_REST;
    let announced = headers.get(CONTENT_LENGTH).and_then(|v| v.to_str().ok()).and_then(|v| v.parse::<usize>().ok());
    // A form is in memory twice while it is parsed.
    let kib = u32::try_from(2 * announced.unwrap_or(most).min(most) / 1024 + 1).unwrap_or(MEMORY_KIB);
    let room = ROOM.get_or_init(|| Semaphore::new(MEMORY_KIB as usize));
    match tokio::time::timeout(ROOM_TIMEOUT, room.acquire_many(kib)).await {
        Ok(Ok(permit)) => Ok(permit),
        _ => Err(Problem::overloaded("Too many deployments at once.").into()),
    }
}

fn kind(headers: &HeaderMap) -> String {
    let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// Reads a deployment.
///
/// # Errors
/// An invalid body; a component that cannot be pulled from its registry.
pub(crate) async fn read(tools: &Tools, caller: &Caller, request: Request) -> Result<ToolDeployment, ApiError> {
    let (parts, body) = request.into_parts();
    let _room = room(&parts.headers).await?;
    let query = parts.uri.query().unwrap_or_default();
    let asked: Asked = axum::extract::Query::try_from_uri(&parts.uri).map(|query| query.0).map_err(|e| {
        Problem::malformed(format!("The query {:?}: {}", query.chars().take(80).collect::<String>(), e.body_text()))
    })?;
    match kind(&parts.headers).as_str() {
        "application/wasm" => {
            let component = read_body(&parts.headers, body, MAX_COMPONENT_BYTES).await?;
            deployment(tools, component, wanted(asked)?)
        }
        "multipart/form-data" => form(tools, &parts.headers, body).await,
        "application/json" => {
            let bytes = read_json(&parts.headers, body, MAX_REST).await?;
            let FromRegistry { oci, grants, policy, limits } = parse(&bytes)?;
            // Refused before the registry is contacted.
            let asked = AskedTool { grants, policy, limits }.read()?;
            let pulled = tools.pull(caller, &oci).await?;
            Ok(ToolDeployment { component: pulled.component, asked, source: pulled.source })
        }
        other => {
            let detail = format!(
                "Content-Type {:?}: send the component as application/wasm, a form as multipart/form-data, or JSON \
                 with `oci`.",
                other.chars().take(80).collect::<String>()
            );
            Err(Problem::unsupported_media(detail).into())
        }
    }
}

/// Refuses uploaded components if the policy demands signatures, because they have none.
fn deployment(tools: &Tools, component: Bytes, wanted: AskedTool) -> Result<ToolDeployment, ApiError> {
    if tools.requires_signatures() {
        let detail = "The operator's policy demands signatures (signatures.required), and an uploaded component has \
                      none: push it to a registry, sign it, and deploy it from there.";
        return Err(Problem::denied(detail).into());
    }
    Ok(ToolDeployment { component, asked: wanted.read()?, source: String::new() })
}

fn wanted(asked: Asked) -> Result<AskedTool, ApiError> {
    Ok(AskedTool {
        grants: asked.grants.map(|text| part("grants", text.as_bytes())).transpose()?,
        policy: asked.policy,
        limits: asked.limits.map(|text| part("limits", text.as_bytes())).transpose()?.unwrap_or_default(),
    })
}

fn part<T: serde::de::DeserializeOwned>(name: &str, bytes: &[u8]) -> Result<T, ApiError> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|e| {
        let path = match e.path().to_string() {
            path if path == "." => name.to_owned(),
            path if path.starts_with('[') => format!("{name}{path}"),
            path => format!("{name}.{path}"),
        };
        ApiError::from(Problem::malformed(format!("{path}: {}", e.inner())))
    })?;
    refuse_nul(std::str::from_utf8(bytes).unwrap_or_default(), &[])
        .map_err(|refused| Problem::malformed(format!("{name}: {}", refused.detail)))?;
    Ok(value)
}

async fn form(tools: &Tools, headers: &HeaderMap, body: Body) -> Result<ToolDeployment, ApiError> {
    let wrong = |e: multer::Error| ApiError::from(Problem::malformed(format!("The form cannot be read: {e}")));
    let text = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let boundary = multer::parse_boundary(text).map_err(wrong)?;
    let bytes = read_body(headers, body, MAX_COMPONENT_BYTES + MAX_REST).await?;
    let sizes = SizeLimit::new()
        .for_field("component", MAX_COMPONENT_BYTES as u64)
        .for_field("policy", MAX_POLICY_BYTES as u64)
        .for_field("grants", MAX_POLICY_BYTES as u64)
        .for_field("limits", MAX_POLICY_BYTES as u64);
    let allowed = Constraints::new().allowed_fields(vec!["component", "grants", "policy", "limits"]).size_limit(sizes);
    let whole = futures_util::stream::iter([Ok::<_, std::convert::Infallible>(bytes)]);
    let mut form = Multipart::with_constraints(whole, boundary, allowed);
    let mut component = None;
    let mut wanted = AskedTool::default();
    while let Some(field) = form.next_field().await.map_err(wrong)? {
        let name = field.name().unwrap_or_default().to_owned();
        let bytes = field.bytes().await.map_err(wrong)?;
        match name.as_str() {
            "component" => component = Some(bytes),
            "grants" => wanted.grants = Some(part("grants", &bytes)?),
            "limits" => wanted.limits = part("limits", &bytes)?,
            _ => {
                let text = String::from_utf8(bytes.to_vec());
                wanted.policy = Some(text.map_err(|_| Problem::malformed("policy is not UTF-8"))?);
            }
        }
    }
    let component = component.ok_or_else(|| Problem::malformed("The form has no part `component`."))?;
    deployment(tools, component, wanted)
}
