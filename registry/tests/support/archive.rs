//! Builds an archive from its description: a good image in one of the forms, plus modifications.

use std::collections::BTreeMap;
use std::io::Write;

use cofferdam_registry::{Digest, Hasher};
use serde::Deserialize;

use super::generate::Bytes;
use super::tar::{Compress, Entry, Kind, write_entry};

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Description {
    pub form: Form,
    /// Each is the entries of a layer.
    pub layers: Vec<Vec<Entry>>,
    pub layer_compress: Compress,
    /// Replaces the layer's own bytes, after compression.
    pub layer_bytes: Option<Bytes>,
    /// Fields of the configuration.
    pub config: toml::Table,
    /// Entries added after the image.
    pub entry: Vec<Entry>,
    /// Paths to leave out.
    pub remove: Vec<String>,
    /// Paths whose data is replaced.
    pub replace: BTreeMap<String, Bytes>,
    /// Reverses the order of the entries.
    pub reverse: bool,
    pub no_end: bool,
    pub compress: Compress,
    /// All bytes of the archive, instead of everything above.
    pub raw: Option<Bytes>,
    /// Bytes to append.
    pub after: Option<Bytes>,
    /// Cuts the archive to this length.
    pub cut: Option<usize>,
}

impl Default for Description {
    fn default() -> Self {
        let hello = Entry { path: Bytes::Text("bin/hello".to_owned()), data: text("hello"), ..blank() };
        Self {
            form: Form::Docker,
            layers: vec![vec![hello]],
            layer_compress: Compress::None,
            layer_bytes: None,
            config: toml::Table::new(),
            entry: Vec::new(),
            remove: Vec::new(),
            replace: BTreeMap::new(),
            reverse: false,
            no_end: false,
            compress: Compress::None,
            raw: None,
            after: None,
            cut: None,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Form {
    /// As podman and skopeo write it.
    Docker,
    /// As Docker wrote it until version 24: layers with opaque names, and links.
    DockerOld,
    Oci,
    /// Only the entries in `entry`.
    None,
}

/// An archive, and the end of its last entry.
pub(crate) struct Built {
    pub bytes: Vec<u8>,
    pub end: usize,
    pub layers: Vec<Digest>,
}

struct Counted<'a>(&'a mut dyn Write, usize);

impl Write for Counted<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let count = self.0.write(bytes)?;
        self.1 += count;
        Ok(count)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.flush()
    }
}

fn blank() -> Entry {
    Entry {
        path: Bytes::Text(String::new()),
        kind: Kind::File,
        link: String::new(),
        data: None,
        zeros: None,
        layer: None,
        blob: false,
        name: None,
        compress: None,
        count: None,
        size: None,
        flag: None,
        pax: None,
        global: None,
        long_name: None,
        bad_checksum: false,
        first: false,
        no_padding: false,
    }
}

fn text(text: &str) -> Option<Bytes> {
    Some(Bytes::Text(text.to_owned()))
}

/// Entries with their data.
type Files = Vec<(Entry, String, Vec<u8>)>;

impl Description {
    pub(crate) fn build(&self) -> Result<Built, String> {
        if let Some(raw) = &self.raw {
            let bytes = raw.bytes()?;
            return Ok(Built { end: bytes.len(), bytes, layers: Vec::new() });
        }
        let mut names = BTreeMap::new();
        let mut layers = Vec::new();
        let mut files = self.image(&mut names, &mut layers)?;
        let remove: Vec<String> = self.remove.iter().map(|path| replace(path, &names)).collect();
        let all = files.len();
        files.retain(|(_, path, _)| !remove.contains(path));
        if all != files.len() + remove.len() {
            return Err(format!("not all of {remove:?} was there"));
        }
        for entry in &self.entry {
            let (path, data) = fill(entry, &mut names)?;
            let place = if entry.first { 0 } else { files.len() };
            files.insert(place, (entry.clone(), path, data));
        }
        for (path, data) in &self.replace {
            let path = replace(path, &names);
            let file = files.iter_mut().find(|file| file.1 == path).ok_or(format!("no {path} to replace"))?;
            file.2 = replaced(data, &names)?;
        }
        if self.reverse {
            files.reverse();
        }
        let mut end = 0;
        let (mut bytes, _) = squeeze(self.compress, |out| {
            let mut counted = Counted(out, 0);
            for (entry, path, data) in &files {
                let link = replace(&entry.link, &names);
                for number in 0..entry.count.unwrap_or(1) {
                    let path = path.replace("{}", &number.to_string());
                    write_entry(&mut counted, entry, path.as_bytes(), &link, data)?;
                }
            }
            end = counted.1;
            if !self.no_end {
                counted.write_all(&[0; 1024])?;
            }
            match &self.after {
                Some(after) => counted.write_all(&after.bytes().map_err(std::io::Error::other)?),
                None => Ok(()),
            }
        })?;
        bytes.truncate(self.cut.unwrap_or(bytes.len()));
        Ok(Built { bytes, end, layers })
    }

    fn image(&self, names: &mut BTreeMap<String, String>, layers: &mut Vec<Digest>) -> Result<Files, String> {
        let mut files: Files = Vec::new();
        if self.form == Form::None {
            return Ok(files);
        }
        let plain = |path: String, data: Vec<u8>| (blank(), path, data);
        let mut listed = Vec::new();
        for (number, layer) in self.layers.iter().enumerate() {
            let (mut bytes, diff_id) = squeeze(self.layer_compress, |out| pack(out, layer))?;
            if let Some(own) = &self.layer_bytes {
                bytes = own.bytes()?;
            }
            layers.push(diff_id);
            let path = match self.form {
                Form::Docker => format!("{}.tar", diff_id.hex()),
                Form::DockerOld => format!("{}/layer.tar", Digest::of(&[number as u8]).hex()),
                _ => format!("blobs/sha256/{}", Digest::of(&bytes).hex()),
            };
            names.insert(format!("layer{number}"), path.clone());
            names.insert(format!("layer{number}.diff"), diff_id.to_string());
            listed.push((path.clone(), Digest::of(&bytes), bytes.len()));
            if self.form == Form::DockerOld {
                let folder = path.trim_end_matches("/layer.tar").to_owned();
                files.push((Entry { kind: Kind::Folder, ..blank() }, format!("{folder}/"), Vec::new()));
                files.push(plain(format!("{folder}/VERSION"), b"1.0".to_vec()));
                files.push(plain(format!("{folder}/json"), b"{\"id\":\"x\"}".to_vec()));
            }
            if !files.iter().any(|file| file.1 == path) {
                files.push(plain(path, bytes));
            }
        }
        let mut config = serde_json::json!({
            "architecture": "amd64", "os": "linux", "config": {"Entrypoint": ["/bin/hello"]},
            "rootfs": {"type": "layers", "diff_ids": layers},
        });
        for (key, value) in &self.config {
            config[key] = serde_json::to_value(value).map_err(|e| e.to_string())?;
        }
        let config = config.to_string().into_bytes();
        let digest = Digest::of(&config);
        if self.form == Form::Oci {
            let mut blob = |name: &str, data: Vec<u8>| {
                let digest = Digest::of(&data);
                let path = format!("blobs/sha256/{}", digest.hex());
                names.insert(name.to_owned(), path.clone());
                let size = data.len();
                files.push(plain(path, data));
                (digest, size)
            };
            let (config, config_size) = blob("config", config);
            let media_type = match self.layer_compress {
                Compress::None => "application/vnd.oci.image.layer.v1.tar",
                Compress::Gzip => "application/vnd.oci.image.layer.v1.tar+gzip",
                _ => "application/vnd.oci.image.layer.v1.tar+zstd",
            };
            let layers: Vec<_> = listed
                .iter()
                .map(|(_, digest, size)| serde_json::json!({"mediaType": media_type, "digest": digest, "size": size}))
                .collect();
            let manifest = serde_json::json!({
                "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "layers": layers,
                "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config, "size": config_size},
            });
            let (manifest, size) = blob("manifest", manifest.to_string().into_bytes());
            let index = serde_json::json!({"schemaVersion": 2, "manifests": [
                {"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": manifest, "size": size}]});
            files.push(plain("index.json".to_owned(), index.to_string().into_bytes()));
            files.push(plain("oci-layout".to_owned(), b"{\"imageLayoutVersion\":\"1.0.0\"}".to_vec()));
        } else {
            let path = format!("{}.json", digest.hex());
            names.insert("config".to_owned(), path.clone());
            files.push(plain(path.clone(), config));
            let layers: Vec<_> = listed.iter().map(|(path, ..)| path).collect();
            let manifest = serde_json::json!([{"Config": path, "RepoTags": ["app:1"], "Layers": layers}]);
            files.push(plain("manifest.json".to_owned(), manifest.to_string().into_bytes()));
        }
        Ok(files)
    }
}

/// The path and data of an entry, with names replaced. Its own names are added for later entries.
fn fill(entry: &Entry, names: &mut BTreeMap<String, String>) -> Result<(String, Vec<u8>), String> {
    let (mut data, mut diff_id) = (Vec::new(), None);
    if let Some(layer) = &entry.layer {
        let (bytes, digest) = squeeze(entry.compress.unwrap_or(Compress::None), |out| pack(out, layer))?;
        (data, diff_id) = (bytes, Some(digest));
    } else if let Some(text) = &entry.data {
        data = replaced(text, names)?;
    }
    let digest = Digest::of(&data);
    let path = if entry.blob {
        format!("blobs/sha256/{}", digest.hex())
    } else {
        replace(&String::from_utf8_lossy(&entry.path.bytes()?), names)
    };
    if let Some(name) = &entry.name {
        names.insert(name.clone(), path.clone());
        names.insert(format!("{name}.digest"), digest.to_string());
        names.insert(format!("{name}.size"), data.len().to_string());
        names.insert(format!("{name}.diff"), diff_id.unwrap_or(digest).to_string());
    }
    Ok((path, data))
}

fn replace(text: &str, names: &BTreeMap<String, String>) -> String {
    names.iter().fold(text.to_owned(), |text, (name, value)| text.replace(&format!("${{{name}}}"), value))
}

fn replaced(data: &Bytes, names: &BTreeMap<String, String>) -> Result<Vec<u8>, String> {
    match data {
        Bytes::Text(text) => Ok(replace(text, names).into_bytes()),
        Bytes::Made(_) => data.bytes(),
    }
}

fn pack(out: &mut dyn Write, layer: &[Entry]) -> std::io::Result<()> {
    for entry in layer {
        let made = |bytes: &Bytes| bytes.bytes().map_err(std::io::Error::other);
        let data = entry.data.as_ref().map(made).transpose()?.unwrap_or_default();
        let path = made(&entry.path)?;
        for number in 0..entry.count.unwrap_or(1) {
            let path = match std::str::from_utf8(&path) {
                Ok(text) => text.replace("{}", &number.to_string()).into_bytes(),
                Err(_) => path.clone(),
            };
            write_entry(out, entry, &path, &entry.link, &data)?;
        }
    }
    out.write_all(&[0; 1024])
}

/// The compressed bytes, and the digest before compression.
fn squeeze(
    compress: Compress,
    write: impl FnOnce(&mut dyn Write) -> std::io::Result<()>,
) -> Result<(Vec<u8>, Digest), String> {
    struct Hashed<W>(W, Hasher);
    impl<W: Write> Write for Hashed<W> {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.write_all(bytes)?;
            self.1.update(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            self.0.flush()
        }
    }
    let failed = |error: std::io::Error| error.to_string();
    match compress {
        Compress::None => {
            let mut out = Hashed(Vec::new(), Hasher::new());
            write(&mut out).map_err(failed)?;
            Ok((out.0, out.1.finish()))
        }
        Compress::Gzip => {
            let inner = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
            let mut out = Hashed(inner, Hasher::new());
            write(&mut out).map_err(failed)?;
            Ok((out.0.finish().map_err(failed)?, out.1.finish()))
        }
        Compress::Zstd | Compress::ZstdWide => {
            let mut inner = zstd::stream::write::Encoder::new(Vec::new(), 1).map_err(failed)?;
            if compress == Compress::ZstdWide {
                inner.window_log(28).map_err(failed)?;
            }
            let mut out = Hashed(inner, Hasher::new());
            write(&mut out).map_err(failed)?;
            Ok((out.0.finish().map_err(failed)?, out.1.finish()))
        }
    }
}
