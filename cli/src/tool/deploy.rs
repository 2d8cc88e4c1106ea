//! `cofferdam tool deploy`: sends a component and its grants as a form, or a registry's reference as JSON.

use anyhow::{Context, bail};
use cofferdam_contract::Grants;
use cofferdam_contract::tool::MAX_COMPONENT_BYTES;
use http::Method;
use reqwest::multipart::{Form, Part};
use serde_json::json;

use super::args::Deploy;
use super::{path, print};
use crate::client::{Server, call, json as with_json};

pub(super) async fn deploy(server: &Server, args: &Deploy) -> anyhow::Result<()> {
    let policy = match &args.policy {
        Some(path) => Some(std::fs::read_to_string(path).with_context(|| path.display().to_string())?),
        None => None,
    };
    let grants = args.grants.grants()?;
    let request = server.request(Method::PUT, &path(&args.name));
    let request = if args.component.starts_with("oci://") {
        let body = match policy {
            Some(policy) => json!({ "oci": args.component, "policy": policy }),
            None => json!({ "oci": args.component, "grants": grants }),
        };
        with_json(request, serde_json::to_vec(&body)?)
    } else {
        request.multipart(form(component(&args.component)?, policy, &grants)?)
    };
    print(&call(request).await?, args.output.json)
}

fn component(file: &str) -> anyhow::Result<Vec<u8>> {
    let size = std::fs::metadata(file).with_context(|| file.to_owned())?.len();
    if size > MAX_COMPONENT_BYTES as u64 {
        bail!("{file} has {size} bytes; a component may have at most {MAX_COMPONENT_BYTES}");
    }
    std::fs::read(file).with_context(|| file.to_owned())
}

fn form(component: Vec<u8>, policy: Option<String>, grants: &Grants) -> anyhow::Result<Form> {
    let form = match policy {
        Some(policy) => Form::new().part("policy", Part::text(policy).mime_str("application/yaml")?),
        None => {
            let grants = Part::bytes(serde_json::to_vec(grants)?).mime_str("application/json")?;
            Form::new().part("grants", grants)
        }
    };
    Ok(form.part("component", Part::bytes(component).mime_str("application/wasm")?))
}
