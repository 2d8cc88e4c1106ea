//! The operator's documents: the section `[models]` of the configuration file, and the variables by which the providers' own
//! tools are pointed at a server. Every organization sees them; a document of its own with the same name hides them.
//!
//! One invalid setting refuses the start. Errors never show a key.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cofferdam_core::{ConfigError, Secret, Source};
use cofferdam_policy::Cidr;
use cofferdam_upstreams::{Kind, UpstreamSpec};
use serde::Deserialize;
use zeroize::Zeroizing;

use super::alias::AliasSpec;
use super::pattern::check_name;
use super::price::{PriceSpec, PriceTable, check_price_name};
use super::upstreams::plainly;

/// The largest file of keys or prices.
const MAX_FILE_BYTES: u64 = 1 << 20;
/// The most entries of a list in the file.
const MAX_ENTRIES: usize = 1_000;

/// The section `[models]` of the configuration file.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelsFile {
    #[serde(default)]
    upstreams: Vec<toml::Table>,
    #[serde(default)]
    aliases: Vec<toml::Table>,
    #[serde(default)]
    prices: Vec<toml::Table>,
    /// A table of prices in place of the one that the program brings.
    prices_file: Option<PathBuf>,
    /// Networks that are not public and that upstreams of organizations may reach all the same.
    #[serde(default)]
    private: Vec<String>,
}

/// An upstream of the operator's.
#[derive(Clone)]
pub struct OperatorUpstream {
    pub name: String,
    pub spec: UpstreamSpec,
    pub keys: Vec<Secret>,
}

/// The operator's documents.
#[derive(Clone, Default)]
pub struct OperatorModels {
    pub upstreams: Vec<OperatorUpstream>,
    pub aliases: BTreeMap<String, AliasSpec>,
    pub(super) prices: Arc<PriceTable>,
    /// In place of the program's own table.
    pub(super) table: Option<Arc<PriceTable>>,
    pub private: Vec<Cidr>,
}

impl std::fmt::Debug for OperatorModels {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<&str> = self.upstreams.iter().map(|upstream| upstream.name.as_str()).collect();
        f.debug_struct("OperatorModels").field("upstreams", &names).finish_non_exhaustive()
    }
}

impl OperatorModels {
    /// Reads the section and the variables `OPENAI_*` and `ANTHROPIC_*`, and the files that they name.
    ///
    /// # Errors
    /// The first invalid setting, by its place.
    pub fn parse(file: &ModelsFile, source: &Source<'_>) -> Result<Self, ConfigError> {
        for (name, length) in
            [("upstreams", file.upstreams.len()), ("aliases", file.aliases.len()), ("prices", file.prices.len())]
        {
            if length > MAX_ENTRIES {
                return Err(ConfigError::value(format!("models.{name}"), format!("at most {MAX_ENTRIES}")));
            }
        }
        let mut upstreams: Vec<OperatorUpstream> = Vec::new();
        for (at, table) in file.upstreams.iter().enumerate() {
            let upstream = upstream(&format!("models.upstreams[{at}]"), table, source)?;
            if upstreams.iter().any(|other| other.name == upstream.name) {
                let place = format!("models.upstreams[{at}].name");
                return Err(ConfigError::value(place, format!("{:?} is there twice", upstream.name)));
            }
            upstreams.push(upstream);
        }
        for made in [openai(source)?, anthropic(source)?].into_iter().flatten() {
            // The file says more than a variable.
            if !upstreams.iter().any(|other| other.name == made.name) {
                upstreams.push(made);
            }
        }
        let mut aliases = BTreeMap::new();
        for (at, table) in file.aliases.iter().enumerate() {
            let place = format!("models.aliases[{at}]");
            let (name, alias): (String, AliasSpec) = named(&place, table, check_name)?;
            alias.check().map_err(|why| ConfigError::value(&place, why))?;
            if aliases.insert(name.clone(), alias).is_some() {
                return Err(ConfigError::value(place, format!("{name:?} is there twice")));
            }
        }
        for (name, alias) in &aliases {
            if let Some((_, other)) = alias.models().find(|(_, model)| aliases.contains_key(*model)) {
                let why = format!("{name:?} names the alias {other:?}; name its models instead");
                return Err(ConfigError::value("models.aliases", why));
            }
        }
        let table = match &file.prices_file {
            Some(path) => Some(Arc::new(price_file(path)?)),
            None => None,
        };
        let private = file.private.iter().enumerate().map(|(at, text)| {
            Cidr::parse(text).map_err(|why| ConfigError::value(format!("models.private[{at}]"), why))
        });
        Ok(Self {
            upstreams,
            aliases,
            prices: Arc::new(prices("models.prices", &file.prices)?),
            table,
            private: private.collect::<Result<_, _>>()?,
        })
    }
}

/// A table of prices: `[[prices]]` with `name` or `names`, `input`, `output` and the rest of a price.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PriceFile {
    #[serde(default)]
    prices: Vec<toml::Table>,
}

/// The text of a table of prices.
pub(super) fn price_table(place: &str, text: &str) -> Result<PriceTable, ConfigError> {
    let file: PriceFile = toml::from_str(text).map_err(|why| ConfigError::value(place, why.message()))?;
    prices(place, &file.prices)
}

fn price_file(path: &Path) -> Result<PriceTable, ConfigError> {
    price_table("models.prices_file", &read("models.prices_file", path)?)
}

/// Prices with a `name` each, or with several `names`.
fn prices(place: &str, tables: &[toml::Table]) -> Result<PriceTable, ConfigError> {
    let mut found = BTreeMap::new();
    for (at, table) in tables.iter().enumerate() {
        let place = format!("{place}[{at}]");
        let mut table = table.clone();
        let names = match table.contains_key("names") {
            true => texts(&place, "names", table.remove("names"))?,
            false => vec![take_name(&place, &mut table, check_price_name)?],
        };
        let price: PriceSpec = document(&place, table)?;
        price.check().map_err(|why| ConfigError::value(&place, why))?;
        for name in names {
            check_price_name(&name).map_err(|why| ConfigError::value(&place, why))?;
            if found.insert(name.clone(), price.clone()).is_some() {
                return Err(ConfigError::value(place, format!("{name:?} is there twice")));
            }
        }
    }
    Ok(PriceTable::new(found))
}

/// A table with a `name` beside the document.
fn named<T: serde::de::DeserializeOwned>(
    place: &str,
    table: &toml::Table,
    check: fn(&str) -> Result<(), String>,
) -> Result<(String, T), ConfigError> {
    let mut table = table.clone();
    let name = take_name(place, &mut table, check)?;
    Ok((name, document(place, table)?))
}

fn take_name(
    place: &str,
    table: &mut toml::Table,
    check: fn(&str) -> Result<(), String>,
) -> Result<String, ConfigError> {
    let name = match table.remove("name") {
        Some(toml::Value::String(name)) => name,
        _ => return Err(ConfigError::value(format!("{place}.name"), "a text is needed")),
    };
    check(&name).map_err(|why| ConfigError::value(place, why))?;
    Ok(name)
}

/// The error is the field and the message alone: it never shows the lines around its place.
fn document<T: serde::de::DeserializeOwned>(place: &str, table: toml::Table) -> Result<T, ConfigError> {
    fields(place, table, "")
}

/// A document that has further fields of its own in the file, which a message about an unknown field names too.
fn fields<T: serde::de::DeserializeOwned>(place: &str, table: toml::Table, own: &str) -> Result<T, ConfigError> {
    serde_path_to_error::deserialize(toml::Value::Table(table)).map_err(|why| {
        let (path, text) = (why.path().to_string(), why.inner().message().to_owned());
        let unknown = text.starts_with("unknown field");
        // A field that is not known is in the message itself.
        let place = if path == "." || unknown { place.to_owned() } else { format!("{place}.{path}") };
        let text = match text.split_once(", expected ") {
            Some((found, expected)) if !unknown => format!("{found}, expected {}", plainly(expected.trim_end())),
            _ if unknown && !path.contains(['.', '[']) => format!("{}{own}", text.trim_end()),
            _ => text,
        };
        ConfigError::value(place, text)
    })
}

fn upstream(place: &str, table: &toml::Table, source: &Source<'_>) -> Result<OperatorUpstream, ConfigError> {
    let mut table = table.clone();
    let name = take_name(place, &mut table, check_name)?;
    if ["key", "keys", "api_key"].iter().any(|key| table.contains_key(*key)) {
        let why = "keys are not written into this file: use keys_env = [\"NAME\"] or keys_file = \"PATH\"";
        return Err(ConfigError::value(place, why));
    }
    let mut keys = Vec::new();
    for variable in texts(place, "keys_env", table.remove("keys_env"))? {
        let text = source.text(&variable).map(Zeroizing::new);
        let text = text.ok_or_else(|| {
            ConfigError::value(format!("{place}.keys_env"), format!("the variable {variable} is not set"))
        })?;
        keys.push(Secret::new(text.trim()));
    }
    for path in texts(place, "keys_file", table.remove("keys_file"))? {
        keys.extend(key_file(&format!("{place}.keys_file"), Path::new(&path))?);
    }
    Ok(OperatorUpstream { name, spec: fields(place, table, ", `name`, `keys_env`, `keys_file`")?, keys })
}

/// A text, or a list of them.
fn texts(place: &str, field: &str, value: Option<toml::Value>) -> Result<Vec<String>, ConfigError> {
    let wrong = || ConfigError::value(format!("{place}.{field}"), "a text, or a list of texts");
    match value {
        None => Ok(Vec::new()),
        Some(toml::Value::String(text)) => Ok(vec![text]),
        Some(toml::Value::Array(list)) => {
            list.into_iter().map(|item| item.as_str().map(str::to_owned).ok_or_else(wrong)).collect()
        }
        Some(_) => Err(wrong()),
    }
}

/// The keys of a file: the whole file if it is JSON (a service account), else one key a line.
fn key_file(place: &str, path: &Path) -> Result<Vec<Secret>, ConfigError> {
    let text = Zeroizing::new(read(place, path)?);
    let text = text.trim();
    if text.is_empty() {
        return Err(ConfigError::value(place, format!("{} is empty", path.display())));
    }
    if text.starts_with('{') {
        return Ok(vec![Secret::new(text)]);
    }
    Ok(text.lines().map(str::trim).filter(|line| !line.is_empty()).map(Secret::new).collect())
}

fn read(place: &str, path: &Path) -> Result<String, ConfigError> {
    let failed = |why: String| ConfigError::value(place, format!("{}: {why}", path.display()));
    let about = std::fs::metadata(path).map_err(|error| failed(error.to_string()))?;
    if !about.is_file() || about.len() > MAX_FILE_BYTES {
        return Err(failed(format!("is not a file of at most {MAX_FILE_BYTES} bytes")));
    }
    std::fs::read_to_string(path).map_err(|error| failed(error.to_string()))
}

/// `OPENAI_API_KEY`, with or without `OPENAI_BASE_URL`.
fn openai(source: &Source<'_>) -> Result<Option<OperatorUpstream>, ConfigError> {
    let (url, key) = (source.text("OPENAI_BASE_URL"), source.text("OPENAI_API_KEY"));
    if url.is_none() && key.is_none() {
        return Ok(None);
    }
    let theirs = match &url {
        Some(url) => host("OPENAI_BASE_URL", url)? == "api.openai.com",
        None => true,
    };
    let kind = if theirs { Kind::Openai } else { Kind::Compatible };
    made("openai", kind, url, key).map(Some)
}

/// `ANTHROPIC_API_KEY` or `ANTHROPIC_AUTH_TOKEN`, with or without `ANTHROPIC_BASE_URL`.
fn anthropic(source: &Source<'_>) -> Result<Option<OperatorUpstream>, ConfigError> {
    let url = source.text("ANTHROPIC_BASE_URL");
    let key = source.text("ANTHROPIC_API_KEY");
    // The prefix says how the key is sent.
    let token = source.text("ANTHROPIC_AUTH_TOKEN").map(|token| format!("Bearer {}", token.trim()));
    if url.is_none() && key.is_none() && token.is_none() {
        return Ok(None);
    }
    if let Some(url) = &url {
        host("ANTHROPIC_BASE_URL", url)?;
    }
    made("anthropic", Kind::Anthropic, url, key.or(token)).map(Some)
}

fn host(name: &str, url: &str) -> Result<String, ConfigError> {
    let wrong = || ConfigError::value(name, "is not an address such as https://api.example.com/v1");
    let uri: http::Uri = url.trim().parse().map_err(|_| wrong())?;
    uri.host().map(str::to_ascii_lowercase).ok_or_else(wrong)
}

fn made(name: &str, kind: Kind, url: Option<String>, key: Option<String>) -> Result<OperatorUpstream, ConfigError> {
    let mut fields = serde_json::json!({"kind": kind});
    if let (Some(url), Some(fields)) = (url, fields.as_object_mut()) {
        fields.insert("base_url".to_owned(), url.trim().into());
    }
    let spec = serde_json::from_value(fields).map_err(|why| ConfigError::value(name, why))?;
    let keys = key.map(|key| Secret::new(key.trim())).into_iter().collect();
    Ok(OperatorUpstream { name: name.to_owned(), spec, keys })
}
