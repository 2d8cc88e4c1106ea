//! Addresses and keys of each kind, as the providers' references say. Pure: makes paths and headers, sends nothing.
//!
//! OpenAI <https://platform.openai.com/docs/api-reference>, Anthropic <https://docs.anthropic.com/en/api>, Azure
//! <https://learn.microsoft.com/azure/foundry/openai/api-version-lifecycle>, Bedrock
//! <https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_InvokeModel.html>, Vertex
//! <https://cloud.google.com/vertex-ai/generative-ai/docs/migrate/openai/overview>, Gemini
//! <https://ai.google.dev/gemini-api/docs/openai>.

use aws_credential_types::Credentials;
use http::header::AUTHORIZATION;
use http::{HeaderName, HeaderValue};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::credential::Credential;
use crate::google::Google;
use crate::keys::Use;
use crate::kind::{Kind, Service};
use crate::net::Net;
use crate::place::Place;
use crate::spec::UpstreamSpec;

/// The version of Anthropic's API where the caller names none.
pub(crate) const ANTHROPIC_VERSION: &str = "2023-06-01";
/// Characters of a model's name that stay as they are in a path.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The place of an upstream's API.
///
/// # Errors
/// The field that is wrong.
pub(crate) fn place(spec: &UpstreamSpec) -> Result<Place, String> {
    let region = spec.region.as_deref().unwrap_or_default();
    let usual = match spec.kind {
        Kind::Openai => "https://api.openai.com/v1".to_owned(),
        Kind::Anthropic => "https://api.anthropic.com".to_owned(),
        Kind::Gemini => "https://generativelanguage.googleapis.com/v1beta/openai".to_owned(),
        Kind::Bedrock => {
            let china = if region.starts_with("cn-") { ".cn" } else { "" };
            format!("https://bedrock-runtime.{region}.amazonaws.com{china}")
        }
        Kind::Vertex => match region {
            "global" => "https://aiplatform.googleapis.com".to_owned(),
            // Places of several regions have names of their own.
            "us" | "eu" => format!("https://aiplatform.{region}.rep.googleapis.com"),
            _ => format!("https://{region}-aiplatform.googleapis.com"),
        },
        Kind::Azure | Kind::Compatible => String::new(),
    };
    let place = Place::parse(spec.base_url.as_deref().unwrap_or(&usual)).map_err(|why| format!("base_url: {why}"))?;
    Ok(match spec.kind {
        // With or without what the paths begin with.
        Kind::Anthropic => place.without(&["/v1"]),
        Kind::Azure => place.without(&["/openai/v1", "/openai"]),
        Kind::Vertex => {
            let mut place = place;
            if !place.path.ends_with("/endpoints/openapi") {
                let project = spec.project.as_deref().unwrap_or_default();
                place.path.push_str(&format!("/v1/projects/{project}/locations/{region}/endpoints/openapi"));
            }
            place
        }
        _ => place,
    })
}

impl UpstreamSpec {
    /// The host that requests go to, as it is dialled, and its port.
    ///
    /// # Errors
    /// The field that is wrong or missing.
    pub fn server(&self) -> Result<(String, u16), String> {
        place(self).map(|place| (place.host, place.port))
    }
}

/// The path of a service, with its query.
pub(crate) fn path(spec: &UpstreamSpec, base: &str, service: Service, model: &str, stream: bool) -> String {
    let openai = match service {
        Service::Chat => "/chat/completions",
        Service::Responses => "/responses",
        Service::Embeddings => "/embeddings",
        Service::Messages => "/messages",
        Service::CountTokens => "/messages/count_tokens",
    };
    match spec.kind {
        Kind::Openai | Kind::Vertex | Kind::Gemini | Kind::Compatible => format!("{base}{openai}"),
        Kind::Anthropic => format!("{base}/v1{openai}"),
        Kind::Azure => match (&spec.api_version, service) {
            (None, _) => format!("{base}/openai/v1{openai}"),
            // Responses name the deployment in the body.
            (Some(version), Service::Responses) => format!("{base}/openai{openai}?api-version={version}"),
            (Some(version), _) => {
                let deployment = utf8_percent_encode(model, SEGMENT);
                format!("{base}/openai/deployments/{deployment}{openai}?api-version={version}")
            }
        },
        Kind::Bedrock => {
            let door = if stream { "invoke-with-response-stream" } else { "invoke" };
            format!("{base}/model/{}/{door}", utf8_percent_encode(model, SEGMENT))
        }
    }
}

/// The path of the list of models, if there is one.
pub(crate) fn models_path(spec: &UpstreamSpec, base: &str) -> Option<String> {
    match spec.kind {
        Kind::Openai | Kind::Gemini | Kind::Compatible => Some(format!("{base}/models")),
        Kind::Anthropic => Some(format!("{base}/v1/models?limit=1000")),
        Kind::Azure => Some(match &spec.api_version {
            None => format!("{base}/openai/v1/models"),
            Some(version) => format!("{base}/openai/models?api-version={version}"),
        }),
        Kind::Bedrock | Kind::Vertex => None,
    }
}

/// A key as its kind uses it.
///
/// # Errors
/// A sentence without the key.
pub(crate) fn key(spec: &UpstreamSpec, credential: &Credential, bounded: bool, net: &Net) -> Result<Use, String> {
    match credential {
        Credential::Key(key) | Credential::Bearer(key) => {
            let (name, text) = match spec.kind {
                _ if matches!(credential, Credential::Bearer(_)) => (AUTHORIZATION, format!("Bearer {}", key.expose())),
                Kind::Anthropic => (HeaderName::from_static("x-api-key"), key.expose().to_owned()),
                Kind::Azure => (HeaderName::from_static("api-key"), key.expose().to_owned()),
                _ => (AUTHORIZATION, format!("Bearer {}", key.expose())),
            };
            let value = HeaderValue::from_str(&text).map_err(|_| "has characters that no header can carry")?;
            let mut value = value;
            value.set_sensitive(true);
            Ok(Use::Header(name, value))
        }
        Credential::Aws { access_key_id, secret_access_key, session_token } => {
            let token = session_token.as_ref().map(|token| token.expose().to_owned());
            let (id, secret) = (access_key_id.expose(), secret_access_key.expose());
            Ok(Use::Aws(Credentials::new(id, secret, token, None, "cofferdam")))
        }
        Credential::GoogleServiceAccount(account) => {
            let anywhere = spec.base_url.is_some() && !bounded;
            Google::new(account, anywhere, bounded, net).map(|google| Use::Google(Box::new(google)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(kind: Kind, base: Option<&str>) -> UpstreamSpec {
        UpstreamSpec {
            base_url: base.map(str::to_owned),
            region: Some("eu-central-1".to_owned()),
            project: Some("p-1".to_owned()),
            ..UpstreamSpec::new(kind)
        }
    }

    fn url(spec: &UpstreamSpec, service: Service, model: &str, stream: bool) -> String {
        let place = place(spec).unwrap();
        format!("{}://{}{}", place.scheme(), place.authority(), path(spec, &place.path, service, model, stream))
    }

    #[test]
    fn every_kind_has_its_own_addresses() {
        use Kind::*;
        use Service::*;
        for (kind, base, service, expected) in [
            (Openai, None, Chat, "https://api.openai.com/v1/chat/completions"),
            (Openai, Some("https://eu.api.openai.com/v1/"), Responses, "https://eu.api.openai.com/v1/responses"),
            (Openai, None, Embeddings, "https://api.openai.com/v1/embeddings"),
            (Anthropic, None, Messages, "https://api.anthropic.com/v1/messages"),
            (Anthropic, Some("https://a.example/v1"), CountTokens, "https://a.example/v1/messages/count_tokens"),
            (Anthropic, Some("https://a.example/anthropic/"), Messages, "https://a.example/anthropic/v1/messages"),
            (Azure, Some("https://r.openai.azure.com"), Chat, "https://r.openai.azure.com/openai/v1/chat/completions"),
            (
                Azure,
                Some("https://r.openai.azure.com/openai/v1/"),
                Responses,
                "https://r.openai.azure.com/openai/v1/responses",
            ),
            (
                Vertex,
                None,
                Chat,
                "https://eu-central-1-aiplatform.googleapis.com/v1/projects/p-1/locations/eu-central-1/endpoints/openapi/chat/completions",
            ),
            (Gemini, None, Chat, "https://generativelanguage.googleapis.com/v1beta/openai/chat/completions"),
            (Compatible, Some("http://127.0.0.1:11434/v1"), Chat, "http://127.0.0.1:11434/v1/chat/completions"),
            (Compatible, Some("http://127.0.0.1:8000/v1"), Messages, "http://127.0.0.1:8000/v1/messages"),
        ] {
            assert_eq!(url(&spec(kind, base), service, "m", false), expected);
        }
        let bedrock = spec(Bedrock, None);
        assert_eq!(
            url(&bedrock, Messages, "anthropic.claude-3-5-v1:0", false),
            "https://bedrock-runtime.eu-central-1.amazonaws.com/model/anthropic.claude-3-5-v1%3A0/invoke"
        );
        let arn = url(&bedrock, Messages, "arn:aws:bedrock:x:1:inference-profile/a", true);
        assert!(
            arn.ends_with("/model/arn%3Aaws%3Abedrock%3Ax%3A1%3Ainference-profile%2Fa/invoke-with-response-stream")
        );
        let dated =
            UpstreamSpec { api_version: Some("2024-10-21".to_owned()), ..spec(Azure, Some("https://r.example")) };
        assert_eq!(
            url(&dated, Chat, "../x?y", false),
            "https://r.example/openai/deployments/..%2Fx%3Fy/chat/completions?api-version=2024-10-21"
        );
        assert_eq!(url(&dated, Responses, "m", false), "https://r.example/openai/responses?api-version=2024-10-21");
        let global = UpstreamSpec { region: Some("global".to_owned()), ..spec(Vertex, None) };
        assert!(
            url(&global, Chat, "m", false)
                .starts_with("https://aiplatform.googleapis.com/v1/projects/p-1/locations/global/")
        );
        let eu = UpstreamSpec { region: Some("eu".to_owned()), ..spec(Vertex, None) };
        assert!(url(&eu, Chat, "m", false).starts_with("https://aiplatform.eu.rep.googleapis.com/"));
    }

    #[test]
    fn lists_of_models_are_where_there_are_some() {
        let path = |spec: &UpstreamSpec| models_path(spec, &place(spec).unwrap().path);
        assert_eq!(path(&spec(Kind::Openai, None)).unwrap(), "/v1/models");
        assert_eq!(path(&spec(Kind::Anthropic, None)).unwrap(), "/v1/models?limit=1000");
        assert_eq!(path(&spec(Kind::Gemini, None)).unwrap(), "/v1beta/openai/models");
        assert_eq!(path(&spec(Kind::Azure, Some("https://r.example"))).unwrap(), "/openai/v1/models");
        assert!(path(&spec(Kind::Bedrock, None)).is_none() && path(&spec(Kind::Vertex, None)).is_none());
    }
}
