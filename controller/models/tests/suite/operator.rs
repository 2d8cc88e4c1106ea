//! The operator's documents: from the file and from the environment.

use cofferdam_upstreams::Kind;

use super::{on_each, operator};

#[test]
fn the_providers_own_variables_make_upstreams() {
    let made = |variables: &[(&str, &str)]| {
        let upstreams = operator("", variables).unwrap().upstreams;
        let one = |u: &cofferdam_models::settings::OperatorUpstream| {
            let key = u.keys.first().map(|key| key.expose().to_owned());
            (u.name.clone(), u.spec.kind, u.spec.base_url.clone(), key)
        };
        upstreams.iter().map(one).collect::<Vec<_>>()
    };
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(made(&[]), []);
    let openai = "openai".to_owned();
    let anthropic = "anthropic".to_owned();
    assert_eq!(made(&[("OPENAI_API_KEY", " sk-1\n")]), [(openai.clone(), Kind::Openai, None, text("sk-1"))]);
    for (url, kind) in [
        ("https://api.openai.com/v1", Kind::Openai),
        ("https://API.OPENAI.COM/v1", Kind::Openai),
        ("http://127.0.0.1:11434/v1", Kind::Compatible),
        ("https://api.openai.com.example/v1", Kind::Compatible),
    ] {
        let expected = [(openai.clone(), kind, text(url), text("sk-1"))];
        assert_eq!(made(&[("OPENAI_BASE_URL", url), ("OPENAI_API_KEY", "sk-1")]), expected);
    }
    let local = "http://127.0.0.1:11434/v1";
    assert_eq!(made(&[("OPENAI_BASE_URL", local)]), [(openai, Kind::Compatible, text(local), None)]);
    let key = [("ANTHROPIC_API_KEY", "sk-ant"), ("ANTHROPIC_AUTH_TOKEN", "tok")];
    assert_eq!(made(&key), [(anthropic.clone(), Kind::Anthropic, None, text("sk-ant"))]);
    let expected = [(anthropic, Kind::Anthropic, text("https://a.example"), text("Bearer tok"))];
    assert_eq!(made(&[("ANTHROPIC_AUTH_TOKEN", "tok"), ("ANTHROPIC_BASE_URL", "https://a.example")]), expected);
}

#[test]
fn a_wrong_setting_is_told_by_its_place_and_no_key_is_shown() {
    let key = "sk-very-secret-0123456789";
    for (file, part) in [
        ("[[upstreams]]\nkind = \"openai\"", "models.upstreams[0].name"),
        ("[[upstreams]]\nname = \"a\"\nkind = \"opensi\"", "opensi"),
        ("[[upstreams]]\nname = \"a\"\nkind = \"openai\"\nbase = \"x\"", "unknown field `base`"),
        ("[[upstreams]]\nname=\"a\"\nkind=\"openai\"\nkey_env=\"K\"", "`headers`, `name`, `keys_env`, `keys_file`"),
        ("[[upstreams]]\nname=\"a\"\nkind=\"opensi\"", "models.upstreams[0].kind: unknown variant"),
        ("[[upstreams]]\nname=\"a\"\nkind=\"openai\"\ntimeout_s=\"x\"", "models.upstreams[0].timeout_s"),
        ("[[upstreams]]\nname=\"a\"\nkind=\"openai\"\nmodels=\"x\"", "expected a list"),
        ("[[upstreams]]\nname = \"A\"\nkind = \"openai\"", "a-z"),
        ("[[upstreams]]\nname = \"a\"\nkind = \"openai\"\nkeys = [\"sk-very-secret-0123456789\"]", "keys_env"),
        ("[[upstreams]]\nname = \"a\"\nkind = \"openai\"\nkeys_env = \"NOT_SET\"", "NOT_SET is not set"),
        ("[[upstreams]]\nname = \"a\"\nkind = \"openai\"\nkeys_env = 7", "a text, or a list of texts"),
        ("[[upstreams]]\nname = \"a\"\nkind = \"openai\"\nkeys_file = \"/nowhere/keys\"", "/nowhere/keys"),
        ("[[upstreams]]\nname=\"a\"\nkind=\"openai\"\n[[upstreams]]\nname=\"a\"\nkind=\"openai\"", "there twice"),
        ("[[aliases]]\nname = \"a\"\nchain = []", "models.aliases[0]: chain"),
        ("[[aliases]]\nname=\"a\"\nchain=[\"b\"]\n[[aliases]]\nname=\"b\"\nchain=[\"openai/x\"]", "names the alias"),
        ("[[prices]]\nname = \"a\"\ninput = -1\noutput = 1", "models.prices[0]"),
        ("[[prices]]\nname=\"a\"\ninput=1\noutput=1\n[[prices]]\nname=\"a\"\ninput=1\noutput=1", "there twice"),
        ("prices_file = \"/nowhere/prices.toml\"", "/nowhere/prices.toml"),
        ("private = [\"10.0.0.0/40\"]", "models.private[0]"),
        ("surprise = 1", "surprise"),
    ] {
        let why = operator(file, &[("KEY", key)]).unwrap_err();
        assert!(why.contains(part), "{file}: {why}");
        assert!(!why.contains("very-secret"), "{why}");
    }
    assert!(operator("", &[("OPENAI_BASE_URL", "not a url")]).unwrap_err().contains("OPENAI_BASE_URL"));
}

#[test]
fn keys_come_from_variables_and_files() {
    let folder = tempfile::tempdir().unwrap();
    let (lines, account) = (folder.path().join("lines"), folder.path().join("account.json"));
    std::fs::write(&lines, "key-1\n\n  key-2 \n").unwrap();
    std::fs::write(&account, "{\n  \"client_email\": \"a\"\n}\n").unwrap();
    let file = format!(
        "[[upstreams]]\nname=\"a\"\nkind=\"openai\"\nkeys_env=[\"K\"]\nkeys_file=[{lines:?}, {account:?}]\nregion=\"eu\""
    );
    let found = operator(&file, &[("K", "key-0\n")]).unwrap();
    let keys: Vec<_> = found.upstreams[0].keys.iter().map(|key| key.expose()).collect();
    assert_eq!(keys, ["key-0", "key-1", "key-2", "{\n  \"client_email\": \"a\"\n}"]);
    assert_eq!(found.upstreams[0].spec.region.as_deref(), Some("eu"));
    assert!(!format!("{found:?}").contains("key-"), "{found:?}");
}

#[tokio::test]
async fn an_alias_that_no_upstream_serves_refuses_the_start() {
    on_each(async |ground| {
        let start = |model: &str| {
            let file = format!(
                "[[aliases]]\nname = \"opa\"\nchain = [\"{model}\"]\n[[upstreams]]\nname = \"near\"\nkind = \"compatible\"\n\
                 base_url = \"http://127.0.0.1:9/v1\"\nmodels = [\"qwen\"]"
            );
            let net = cofferdam_upstreams::Net::new(Vec::new(), Vec::new());
            let secrets = std::sync::Arc::clone(&ground.secrets) as _;
            let vault = std::sync::Arc::clone(&ground.vault);
            let made = operator(&file, &[]).unwrap();
            let started = cofferdam_models::Settings::new(ground.store.clone(), vault, secrets, made, net);
            started.map(|_| ()).map_err(|why| why.to_string())
        };
        assert_eq!(start("near/qwen"), Ok(()));
        for (model, part) in [("nope/x", "there is no upstream \"nope\""), ("near/other", "does not list the model")] {
            let why = start(model).unwrap_err();
            assert!(why.contains("models.aliases") && why.contains("\"opa\"") && why.contains(part), "{why}");
        }
    })
    .await;
}
