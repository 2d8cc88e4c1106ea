//! Builds an archive from its description: a good image in one of the forms, plus modifications.

use std::collections::BTreeMap;
use std::io::Write;

use cofferdam_registry::Digest;
use serde::Deserialize;

use super::generate::Bytes;
use super::pack::{pack, squeeze};
use super::tar::{Compress, Entry, Kind, Sparse, SparseForm, write_entry};

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
    /// Paths to write once more, the same or with other data.
    pub again: Vec<String>,
    /// The image's files are stored as sparse ones.
    pub sparse: Option<SparseForm>,
    /// An OCI layout with an index of an image for each of these architectures. Each has a last layer of its own.
    pub platforms: Vec<String>,
    /// `index.json` names those images itself.
    pub flat: bool,
    /// The index has an attestation, with or without BuildKit's annotation.
    pub attestation: Option<bool>,
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
            again: Vec::new(),
            sparse: None,
            platforms: Vec::new(),
            flat: false,
            attestation: None,
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
        sparse: None,
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
        let mut files = if self.platforms.is_empty() {
            self.image(&mut names, &mut layers)?
        } else {
            self.index(&mut names, &mut layers)?
        };
        if let Some(form) = self.sparse {
            let sparse = || Some(Sparse { form, whole: None, parts: None });
            files.iter_mut().filter(|file| file.0.kind == Kind::File).for_each(|file| file.0.sparse = sparse());
        }
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
        for path in &self.again {
            let path = replace(path, &names);
            let file = files.iter().find(|file| file.1 == path).ok_or(format!("no {path} to write again"))?.clone();
            files.push(file);
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
        let config = self.config("amd64", layers)?;
        let digest = Digest::of(&config);
        if self.form == Form::Oci {
            let mut blob = |name: &str, data: Vec<u8>| {
                let digest = Digest::of(&data);
                let path = format!("blobs/sha256/{}", digest.hex());
                let size = data.len();
                names.insert(name.to_owned(), path.clone());
                names.insert(format!("{name}.digest"), digest.to_string());
                names.insert(format!("{name}.size"), size.to_string());
                files.push(plain(path, data));
                (digest, size)
            };
            let (config, config_size) = blob("config", config);
            let media_type = self.layer_type();
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

impl Description {
    fn layer_type(&self) -> &'static str {
        match self.layer_compress {
            Compress::None => "application/vnd.oci.image.layer.v1.tar",
            Compress::Gzip | Compress::GzipMembers => "application/vnd.oci.image.layer.v1.tar+gzip",
            _ => "application/vnd.oci.image.layer.v1.tar+zstd",
        }
    }

    fn config(&self, architecture: &str, layers: &[Digest]) -> Result<Vec<u8>, String> {
        let mut config = serde_json::json!({
            "architecture": architecture, "os": "linux", "config": {"Entrypoint": ["/bin/hello"]},
            "rootfs": {"type": "layers", "diff_ids": layers},
        });
        for (key, value) in &self.config {
            config[key] = serde_json::to_value(value).map_err(|e| e.to_string())?;
        }
        Ok(config.to_string().into_bytes())
    }

    /// An OCI layout with several images and an index of them: `${config.ARCH}`, `${manifest.ARCH}`, `${layer.ARCH}`,
    /// `${index}`, `${attestation}`.
    fn index(&self, names: &mut BTreeMap<String, String>, layers: &mut Vec<Digest>) -> Result<Files, String> {
        const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
        let mut files: Files = Vec::new();
        let mut put = |files: &mut Files, media_type: &str, name: &str, data: Vec<u8>| {
            let (digest, size) = (Digest::of(&data), data.len());
            let path = format!("blobs/sha256/{}", digest.hex());
            names.insert(name.to_owned(), path.clone());
            names.insert(format!("{name}.digest"), digest.to_string());
            names.insert(format!("{name}.size"), size.to_string());
            if !files.iter().any(|file| file.1 == path) {
                files.push((blank(), path, data));
            }
            serde_json::json!({"mediaType": media_type, "digest": digest, "size": size})
        };
        let mut listed = Vec::new();
        for platform in &self.platforms {
            let own = Entry { path: Bytes::Text("platform".to_owned()), data: text(platform), ..blank() };
            let (mut described, mut diff_ids) = (Vec::new(), Vec::new());
            for layer in self.layers.iter().cloned().chain([vec![own]]) {
                let (bytes, diff_id) = squeeze(self.layer_compress, |out| pack(out, &layer))?;
                described.push(put(&mut files, self.layer_type(), &format!("layer.{platform}"), bytes));
                diff_ids.push(diff_id);
            }
            let config = self.config(platform, &diff_ids)?;
            layers.extend(diff_ids);
            let config_type = "application/vnd.oci.image.config.v1+json";
            let config = put(&mut files, config_type, &format!("config.{platform}"), config);
            let manifest =
                serde_json::json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": described});
            let name = format!("manifest.{platform}");
            let mut manifest = put(&mut files, MANIFEST, &name, manifest.to_string().into_bytes());
            manifest["platform"] = serde_json::json!({"os": "linux", "architecture": platform});
            listed.push(manifest);
        }
        if let Some(annotated) = self.attestation {
            let statement = br#"{"_type":"https://in-toto.io/Statement/v0.1"}"#.to_vec();
            let layer = put(&mut files, "application/vnd.in-toto+json", "statement", statement);
            let config =
                br#"{"architecture":"unknown","os":"unknown","config":{},"rootfs":{"type":"layers","diff_ids":[]}}"#;
            let config_type = "application/vnd.oci.image.config.v1+json";
            let config = put(&mut files, config_type, "attestation-config", config.to_vec());
            let manifest =
                serde_json::json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer]});
            let mut manifest = put(&mut files, MANIFEST, "attestation", manifest.to_string().into_bytes());
            if annotated {
                manifest["platform"] = serde_json::json!({"os": "unknown", "architecture": "unknown"});
                manifest["annotations"] = serde_json::json!({"vnd.docker.reference.type": "attestation-manifest"});
            }
            listed.push(manifest);
        }
        let media_type = "application/vnd.oci.image.index.v1+json";
        let mut index = serde_json::json!({"schemaVersion": 2, "mediaType": media_type, "manifests": listed});
        if !self.flat {
            let inner = put(&mut files, media_type, "index", index.to_string().into_bytes());
            index["manifests"] = serde_json::json!([inner]);
        }
        files.push((blank(), "index.json".to_owned(), index.to_string().into_bytes()));
        files.push((blank(), "oci-layout".to_owned(), b"{\"imageLayoutVersion\":\"1.0.0\"}".to_vec()));
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
        let path = String::from_utf8_lossy(&entry.path.bytes()?).replace("${hex}", &digest.hex());
        replace(&path.replace("${diff}", &diff_id.unwrap_or(digest).hex()), names)
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
