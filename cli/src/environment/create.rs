//! `cofferdam environment create`: puts settings together from a file and flags, and sends them. Secrets come from files
//! and standard input, never from the arguments, which every process of the machine can read.

use std::io::Read;
use std::path::Path;

use anyhow::{Context, bail};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::{Method, StatusCode};
use serde_json::{Map, Value, json};

use super::args::{Allow, Architecture, Create};
use super::path;
use crate::advice::WrongLine;
use crate::client::{Server, exchange, read, refusal};
use crate::deploy::spec::{fields, node};
use crate::secret::value;
use crate::stdin;
use crate::terminal::{json as print_json, note, say};

const UNCHECKED: &str = "warning: the kubeconfig has insecure-skip-tls-verify: whoever is between the server and the cluster \
    can read its credentials and the agents' variables. certificate-authority-data in its place is the cluster's certificate";
/// The server refuses larger settings.
const MAX_INPUT_BYTES: u64 = 1 << 20;

/// The body of the request.
pub(super) fn settings(args: &Create) -> anyhow::Result<Map<String, Value>> {
    let from_stdin = |file: &Option<std::path::PathBuf>| file.as_deref() == Some(Path::new("-"));
    let readers = [from_stdin(&args.settings), from_stdin(&args.kubeconfig), args.password_stdin];
    if readers.into_iter().filter(|reads| *reads).count() > 1 {
        let why = "only one of --settings, --kubeconfig and the password can come from standard input";
        return Err(WrongLine(why.to_owned()).into());
    }
    let mut all = match &args.settings {
        Some(file) => {
            let bytes = contents(file)?;
            let name = format!("--settings {}", file.display());
            let Ok(text) = std::str::from_utf8(&bytes) else { bail!("{name}: not text") };
            let tree = node::parse(text, &name)?;
            fields::checked(&tree, &name, fields::ENVIRONMENT).map_err(|found| anyhow::Error::msg(found.join("\n")))?
        }
        None => Map::new(),
    };
    let mut set = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            all.insert(name.to_owned(), value);
        }
    };
    let text = |text: &Option<String>| text.as_ref().map(|text| json!(text));
    let list = |list: &[String]| (!list.is_empty()).then(|| json!(list));
    set("context", text(&args.context));
    set("namespace", text(&args.namespace));
    set("runtime_class", text(&args.runtime_class));
    set("images", text(&args.images));
    set("images_pull", text(&args.images_pull));
    set("username", text(&args.username));
    set("compression", args.compression.map(|compression| json!(compression.name())));
    set("plain_http", args.plain_http.then_some(json!(true)));
    set("image_pull_secrets", list(&args.image_pull_secrets));
    set("allow_in_images", list(&args.allow_in_images));
    let architecture = args.architecture.map(|architecture| match architecture {
        Architecture::Amd64 => json!("amd64"),
        Architecture::Arm64 => json!("arm64"),
    });
    set("architecture", architecture);
    if let Some(file) = &args.ca {
        set("ca", Some(json!(String::from_utf8_lossy(&contents(file)?))));
    }
    if let Some(file) = &args.kubeconfig {
        let kubeconfig = contents(file)?;
        if trusts_anyone(&kubeconfig) {
            note!("{UNCHECKED}");
        }
        set("kubeconfig", Some(json!(BASE64_STANDARD.encode(kubeconfig))));
    }
    if args.password_stdin {
        set("password", Some(json!(value()?)));
    }
    merge(&mut all, "resources", args.amounts.fields())?;
    let variables = args.variables.read()?;
    merge(&mut all, "env", variables.iter().map(|(name, value)| (name.as_str(), Some(value.clone()))))?;
    let Allow { labels, annotations, tolerations, priority_classes, claims, max_replicas } = &args.pods;
    let pods = [
        ("labels", list(labels)),
        ("annotations", list(annotations)),
        ("tolerations", list(tolerations)),
        ("priority_classes", list(priority_classes)),
        ("claims", list(claims)),
        ("max_replicas", max_replicas.map(|most| json!(most))),
    ];
    merge(&mut all, "pods", pods)?;
    Ok(all)
}

/// The kubeconfig, in YAML or JSON, turns off the check of its cluster's certificate.
pub(super) fn trusts_anyone(kubeconfig: &[u8]) -> bool {
    let text: String =
        String::from_utf8_lossy(kubeconfig).chars().filter(|c| !c.is_whitespace() && *c != '"').collect();
    text.contains("insecure-skip-tls-verify:true")
}

/// Adds values to an object of the settings.
fn merge<'a>(
    all: &mut Map<String, Value>,
    name: &str,
    values: impl IntoIterator<Item = (&'a str, Option<Value>)>,
) -> anyhow::Result<()> {
    for (key, value) in values {
        let Some(value) = value else { continue };
        let object = all.entry(name).or_insert_with(|| json!({}));
        let Some(object) = object.as_object_mut() else { bail!("--settings: `{name}` must be an object") };
        object.insert(key.to_owned(), value);
    }
    Ok(())
}

/// A file, or standard input for `-`.
fn contents(file: &Path) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let input: Box<dyn Read> = if file == Path::new("-") {
        Box::new(std::io::stdin().lock())
    } else {
        Box::new(std::fs::File::open(file).with_context(|| file.display().to_string())?)
    };
    input.take(MAX_INPUT_BYTES + 1).read_to_end(&mut bytes).with_context(|| file.display().to_string())?;
    if bytes.len() as u64 > MAX_INPUT_BYTES {
        bail!("{}: longer than {MAX_INPUT_BYTES} bytes", file.display());
    }
    if bytes.is_empty() {
        match file == Path::new("-") {
            true => bail!(stdin::EMPTY),
            false => bail!("{}: the file is empty", file.display()),
        }
    }
    Ok(bytes)
}

pub(super) async fn create(server: &Server, args: &Create, settings: Map<String, Value>) -> anyhow::Result<()> {
    let name = &args.name;
    // `local` is refused whatever exists.
    if !args.replace && name != "local" {
        let response = exchange(server.request(Method::GET, &path(name))).await?;
        match response.status() {
            StatusCode::NOT_FOUND => {}
            status if status.is_success() => {
                bail!("the environment {name:?} exists; --replace replaces all its settings, also the secret ones")
            }
            _ => return Err(refusal(response).await.into()),
        }
    }
    let answer: Value = read(&server.send(Method::PUT, &path(name), serde_json::to_vec(&settings)?).await?)?;
    if args.output.json {
        return print_json(&answer);
    }
    say!("{name}")?;
    note!("next: cofferdam environment test {name}");
    Ok(())
}
