//! The processes that the chaos happens to: a controller with a worker and a tool worker, a code-runner with two more, an
//! upstream, two organizations with two keys, a secret and a tool each.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use cofferdam_contract::OrganizationId;
use cofferdam_store::{DatabaseConfig, KeyRow, KeyTerms, Store};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::kills::Kills;
use super::random::Random;
use super::table::Table;
use super::upstream::{Upstream, percent};
use crate::eventually;
use crate::support::{Answer, Call, Server, Setup};

const WORKER_TOKEN: &str = "a-worker-token-of-the-chaos";
pub(super) const SECRET: &str = "UPSTREAM_KEY";
pub(super) const TOOL: &str = "asker";
/// The organizations and their keys.
const ORGANIZATIONS: [&str; 2] = ["alpha", "beta"];
pub(super) const KEYS: usize = 4;
/// More complaints than these about one action, or about all, tell nothing new.
const MAX_OF_ONE: usize = 4;
const MAX_COMPLAINTS: usize = 400;
/// Sessions that others may try to use.
const MAX_KNOWN_SESSIONS: usize = 256;
/// A file of a run is asked for at once, and its memory has to be free when the chaos is over.
const CONFIG: &str = "[worker]\nrun_files_s = 5\n[sessions]\nidle_suspend_s = 3600\n";

pub(super) struct Rig {
    pub(super) server: Server,
    pub(super) runner: Server,
    pub(super) upstream: Upstream,
    pub(super) keys: Vec<Key>,
    /// One for each organization.
    pub(super) admins: Vec<String>,
    /// No answer may hold these.
    pub(super) hidden: Vec<String>,
    pub(super) kills: Kills,
    pub(super) table: Table,
    pub(super) stop: AtomicBool,
    pub(super) seed: u64,
    /// Sessions by the number of their key.
    known: Mutex<Vec<(usize, String)>>,
    complaints: Mutex<Vec<String>>,
}

pub(super) struct Key {
    pub(super) text: String,
    /// The number of its organization.
    pub(super) organization: usize,
}

impl Key {
    pub(super) fn organization_name(&self) -> &'static str {
        ORGANIZATIONS[self.organization]
    }
}

impl Rig {
    pub(super) fn start(seed: u64) -> Self {
        let mut random = Random::new(seed, 2_000);
        let mut text = |what: &str| format!("{what}-{:016x}{:016x}", random.bits(), random.bits());
        let secrets: Vec<String> = ORGANIZATIONS.iter().map(|name| text(&format!("secret+of/{name}"))).collect();
        let admins: Vec<String> = ORGANIZATIONS.iter().map(|name| text(&format!("cof_admin-{name}"))).collect();
        let keys: Vec<Key> =
            (0..KEYS).map(|number| Key { text: text("cof_chaos"), organization: number / 2 }).collect();
        let upstream = Upstream::start(secrets.iter().cloned().zip(ORGANIZATIONS.map(str::to_owned)).collect());

        let token = ("COFFERDAM_WORKER_TOKEN", WORKER_TOKEN);
        let setup = Setup { unready: true, ..Setup::default() }.config(CONFIG).env(token.0, token.1);
        let runner = Server::with(setup.args(&["--role", "code-runner"]));
        let folder = Arc::new(tempfile::Builder::new().prefix("cofferdam-test-").tempdir().expect("a folder"));
        write_keys(folder.path(), &keys, &admins);
        let policy = folder.path().join("policy.yaml");
        fs::write(&policy, "version: \"1.0\"\nnetwork:\n  private: [127.0.0.0/8]\nsecrets:\n  plain_http: true\n")
            .unwrap();
        let setup = Setup::default().config(CONFIG).env(token.0, token.1).env("COFFERDAM_POLICY", policy.display());
        let server = Server::in_folder(folder, setup.env("COFFERDAM_WORKERS", format!("http://{}", runner.address)));

        let mut hidden: Vec<String> = secrets.iter().flat_map(|secret| [secret.clone(), percent(secret)]).collect();
        hidden.extend(admins.iter().cloned());
        hidden.extend(keys.iter().map(|key| key.text.clone()));
        hidden.extend([server.key.clone(), WORKER_TOKEN.to_owned()]);
        let rig = Self {
            server,
            runner,
            upstream,
            keys,
            admins,
            hidden,
            kills: Kills::default(),
            table: Table::default(),
            stop: AtomicBool::new(false),
            seed,
            known: Mutex::default(),
            complaints: Mutex::default(),
        };
        eventually("every worker is ready", Duration::from_secs(900), || rig.is_ready());
        rig.equip(&secrets);
        rig
    }

    /// Gives each organization its secret and the tool.
    fn equip(&self, secrets: &[String]) {
        let component = component();
        let host = self.upstream.address.to_string();
        for (admin, secret) in self.admins.iter().zip(secrets) {
            let put = Call::new("PUT", format!("/v1/secrets/{SECRET}")).header("x-api-key", admin);
            let put = self.server.send(put.json(&json!({"value": secret, "hosts": [host]})));
            assert!([200, 201, 204].contains(&put.status), "{}", put.text());
            let path = format!("/v1/tools/{TOOL}?grants={}", percent(&self.grants().to_string()));
            let put = Call::new("PUT", path).header("x-api-key", admin).body(component.clone(), "application/wasm");
            self.server.send(put).expect(201);
        }
    }

    /// The grants of the tool and of snippets that ask the upstream.
    pub(super) fn grants(&self) -> Value {
        json!({"http": [{"host": self.upstream.address.to_string(), "methods": ["GET"]}], "secrets": [{"name": SECRET}]})
    }

    pub(super) fn is_ready(&self) -> bool {
        let Ok(answer) = Call::new("GET", "/ready").send_to(self.server.address) else { return false };
        let workers = answer.json()["workers"].as_array().cloned().unwrap_or_default();
        answer.status == 200 && workers.len() == 2 && workers.iter().all(|worker| worker["ready"] == true)
    }

    /// The metrics of everything, as text.
    pub(super) fn metrics(&self) -> Result<[String; 2], String> {
        let bearer = format!("Bearer {WORKER_TOKEN}");
        let own = Call::new("GET", "/metrics").send_to(self.server.address)?;
        let runners = Call::new("GET", "/metrics").header("authorization", &bearer).send_to(self.runner.address)?;
        let tools = Call::new("GET", "/tools/metrics").header("authorization", bearer).send_to(self.runner.address)?;
        Ok([own.text(), format!("{}\n{}", runners.text(), tools.text())])
    }

    /// Makes a session known to the clients of other keys.
    pub(super) fn publish(&self, key: usize, session: &str) {
        let mut known = self.known.lock().unwrap();
        if known.len() >= MAX_KNOWN_SESSIONS {
            known.remove(0);
        }
        known.push((key, session.to_owned()));
    }

    /// A session of another key.
    pub(super) fn foreign(&self, key: usize, random: &mut Random) -> Option<String> {
        let known = self.known.lock().unwrap();
        let others: Vec<&String> = known.iter().filter(|(owner, _)| *owner != key).map(|(_, id)| id).collect();
        (!others.is_empty()).then(|| (*random.pick(&others)).clone())
    }

    /// Notes what must not be. The chaos ends early when there is more of it than anybody reads.
    pub(super) fn complain(&self, what: &str, why: String) {
        let mut complaints = self.complaints.lock().unwrap();
        let earlier = complaints.iter().filter(|complaint| complaint.starts_with(what)).count();
        if earlier < MAX_OF_ONE {
            eprintln!("chaos: {what}: {why}");
        }
        complaints.push(format!("{what}: {why}"));
        if complaints.len() >= MAX_COMPLAINTS {
            self.stop.store(true, Ordering::Relaxed);
        }
    }

    pub(super) fn complaints(&self) -> Vec<String> {
        self.complaints.lock().unwrap().clone()
    }

    /// Anything that an answer shows and must not; `client` is whose tokens it may show.
    pub(super) fn leak(&self, answer: &Answer, client: usize) -> Option<String> {
        let headers = answer.headers.iter().map(|(name, value)| format!("{name}: {value}\n")).collect::<String>();
        let text = headers + &answer.text();
        if let Some(hidden) = self.hidden.iter().find(|hidden| text.contains(hidden.as_str())) {
            return Some(format!("it shows {hidden:?}"));
        }
        let own = format!("{client:02}-");
        let foreign = text.split("chaostok-").skip(1).find(|rest| !rest.starts_with(&own));
        foreign.map(|rest| format!("it shows another client's chaostok-{}", rest.chars().take(20).collect::<String>()))
    }
}

/// The organizations and keys, written before the server starts: no call of the API makes an organization.
fn write_keys(folder: &Path, keys: &[Key], admins: &[String]) {
    let data = folder.join("data");
    fs::create_dir_all(&data).unwrap();
    fs::set_permissions(&data, fs::Permissions::from_mode(0o700)).unwrap();
    let row = |id: String, organization: usize, text: &str, scopes: &str| KeyRow {
        id,
        organization: OrganizationId::parse(ORGANIZATIONS[organization]).unwrap(),
        name: "chaos".to_owned(),
        hash: Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect(),
        scopes: scopes.to_owned(),
        created_at: 1,
        terms: KeyTerms::default(),
    };
    let mut rows: Vec<KeyRow> =
        keys.iter().enumerate().map(|(n, key)| row(format!("key_{n}"), key.organization, &key.text, "run")).collect();
    rows.extend(admins.iter().enumerate().map(|(n, text)| row(format!("key_admin_{n}"), n, text, "admin")));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let store = Store::open(&DatabaseConfig::sqlite(&data.join("cofferdam.db"))).await.unwrap();
        for row in &rows {
            store.ensure_organization(&row.organization).await.unwrap();
            store.put_key(row).await.unwrap();
        }
        store.close().await;
    });
}

/// The tool that asks the upstream, built the way an author would.
fn component() -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let [module, wit, output] = ["core.wasm", "wit", "component.wasm"].map(|name| folder.path().join(name));
    fs::create_dir_all(wit.join("deps")).unwrap();
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("wit/deps")).unwrap().map(Result::unwrap) {
        fs::copy(entry.path(), wit.join("deps").join(entry.file_name())).unwrap();
    }
    fs::write(wit.join("ask.wit"), include_str!("ask.wit")).unwrap();
    fs::write(&module, wat::parse_str(include_str!("ask.wat")).unwrap()).unwrap();
    let mut wrap = Command::new(env!("CARGO_BIN_EXE_cofferdam"));
    wrap.args(["tool", "wrap"]).arg(&module).arg("--wit").arg(&wit).arg("--output").arg(&output);
    let done = wrap.output().unwrap();
    assert!(done.status.success(), "tool wrap: {}", String::from_utf8_lossy(&done.stderr));
    fs::read(&output).unwrap()
}

/// Waits at most this long, and returns false if it did not come true.
pub(super) fn within(patience: Duration, mut holds: impl FnMut() -> bool) -> bool {
    let started = Instant::now();
    while !holds() {
        if started.elapsed() > patience {
            return false;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    true
}
