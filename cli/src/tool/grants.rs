//! The grants that `cofferdam tool` asks for and shows. Nothing else in the command line knows their kinds.

use anyhow::Context;
use clap::Args;
use cofferdam_contract::grants::{FOLDER, FilesGrant, Grants, HttpGrant, KeyValueGrant, LlmGrant, SecretGrant};

/// The option that names a file with the grants instead.
const POLICY: &str = "policy";

/// The options that ask for grants.
#[derive(Args)]
pub(crate) struct GrantArgs {
    /// Ask for outbound HTTP to a host, such as api.example.com, *.example.com or localhost:8080
    #[arg(long, value_name = "HOST", conflicts_with = POLICY)]
    allow_http: Vec<String>,
    /// Ask for a secret; the tool gets a placeholder in a variable of that name, or of another: VARIABLE=NAME
    #[arg(long, value_name = "NAME", conflicts_with = POLICY)]
    secret: Vec<String>,
    /// A configuration value, which is also an environment variable of the tool
    #[arg(long = "env", value_name = "NAME=VALUE", conflicts_with = POLICY)]
    variables: Vec<String>,
    /// Ask for key-value storage
    #[arg(long, conflicts_with = POLICY)]
    keyvalue: bool,
    /// Ask for a folder that persists between calls, /data
    #[arg(long, conflicts_with = POLICY)]
    files: bool,
    /// Ask to call another tool
    #[arg(long = "tool", value_name = "NAME", conflicts_with = POLICY)]
    tools: Vec<String>,
    /// Ask for a model by its name; `*` for all that are allowed
    #[arg(long = "allow-model", value_name = "MODEL", conflicts_with = POLICY)]
    allow_models: Vec<String>,
}

impl GrantArgs {
    pub(super) fn grants(&self) -> anyhow::Result<Grants> {
        let pair = |text: &String| {
            let (name, value) = text.split_once('=').with_context(|| format!("--env {text} is not NAME=VALUE"))?;
            Ok((name.to_owned(), value.to_owned()))
        };
        let secret = |text: &String| match text.split_once('=') {
            Some((variable, name)) => SecretGrant { name: name.to_owned(), env: Some(variable.to_owned()) },
            None => SecretGrant { name: text.clone(), env: None },
        };
        Ok(Grants {
            http: self.allow_http.iter().map(|host| HttpGrant { host: host.clone(), ..HttpGrant::default() }).collect(),
            secrets: self.secret.iter().map(secret).collect(),
            tools: self.tools.clone(),
            keyvalue: self.keyvalue.then(KeyValueGrant::default),
            files: self.files.then(FilesGrant::default),
            llm: (!self.allow_models.is_empty()).then(|| LlmGrant::of(self.allow_models.clone())),
            config: self.variables.iter().map(pair).collect::<anyhow::Result<_>>()?,
        })
    }
}

/// Grants as lines of text.
pub(super) fn lines(grants: &Grants) -> Vec<String> {
    // Without `..`, so that a new kind of grant does not compile until it is shown.
    let Grants { http, secrets, tools, keyvalue, files, config, llm } = grants;
    let mut lines: Vec<String> = http.iter().map(host).collect();
    lines.extend(secrets.iter().map(|s| format!("secret {} in ${}", s.name, s.variable())));
    if let Some(kv) = keyvalue {
        lines.push(format!("key-value storage, {} keys, {} bytes", kv.max_keys, kv.max_bytes));
    }
    if let Some(files) = files {
        let mode = if files.read_only { "read only" } else { "read and write" };
        lines.push(format!(
            "a folder of its own ({FOLDER}), {mode}, {} files, {} bytes",
            files.max_files, files.max_bytes
        ));
    }
    lines.extend(tools.iter().map(|name| format!("call the tool {name}")));
    if let Some(llm) = llm {
        let models = llm.models.join(", ");
        lines.push(format!("models {models}, {} tokens, {} requests a call", llm.max_tokens, llm.max_requests));
    }
    if !config.is_empty() {
        lines.push(format!("configuration: {}", config.keys().cloned().collect::<Vec<_>>().join(", ")));
    }
    lines
}

fn host(grant: &HttpGrant) -> String {
    let methods = grant.methods.as_ref().map(|methods| format!("{} ", methods.join("|"))).unwrap_or_default();
    let mut text = format!("HTTP to {methods}{}{}", grant.host, grant.path_prefix.as_deref().unwrap_or_default());
    if !grant.body_methods.is_empty() {
        text.push_str(&format!(", {} with a body too", grant.body_methods.join("|")));
    }
    for (unit, size) in [
        ("request bytes", grant.max_request_bytes),
        ("response bytes", grant.max_response_bytes),
        ("ms", grant.timeout_ms),
    ] {
        if let Some(size) = size {
            text.push_str(&format!(", at most {size} {unit}"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use clap::{Args as _, Command};

    use super::*;
    use crate::tool::args::Deploy;

    #[test]
    fn options_and_a_policy_exclude_each_other() {
        let deploy = || Deploy::augment_args(Command::new("deploy"));
        let options = GrantArgs::augment_args(Command::new("grants"));
        for option in options.get_arguments() {
            let mut words =
                vec!["deploy".to_owned(), "t".to_owned(), "t.wasm".to_owned(), "--policy=p.yaml".to_owned()];
            words.push(format!("--{}", option.get_long().unwrap()));
            if option.get_action().takes_values() {
                words.push("a=b".to_owned());
            }
            let error = deploy().try_get_matches_from(&words).unwrap_err().to_string();
            let conflict = format!("'--policy <FILE>' cannot be used with '--{}", option.get_long().unwrap());
            assert!(error.contains(&conflict), "{error}");
            words.remove(3);
            deploy().try_get_matches_from(&words).unwrap();
        }
    }
}
