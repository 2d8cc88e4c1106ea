//! Credentials in files as docker, podman, skopeo and people write them.

use std::collections::BTreeMap;
use std::path::Path;

use zeroize::Zeroizing;

use super::*;

/// A folder that is `$HOME`, with files in it.
struct Home {
    folder: tempfile::TempDir,
    variables: BTreeMap<String, String>,
}

impl Home {
    fn new(files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let home = folder.path().display().to_string();
        Self { folder, variables: [("HOME".to_owned(), home)].into() }
    }

    /// Sets a variable to a path below the folder.
    fn path(mut self, name: &str, below: &str) -> Self {
        let path = self.folder.path().join(below).display().to_string();
        self.variables.insert(name.to_owned(), path);
        self
    }

    fn set(mut self, name: &str, value: &str) -> Self {
        self.variables.insert(name.to_owned(), value.to_owned());
        self
    }

    fn find(&self, reference: &str) -> Result<Found, String> {
        // A user id that nobody has: `/run/containers` of this machine is not looked at.
        let found = find(&Reference::parse(reference).unwrap(), &|name| self.variables.get(name).cloned(), u32::MAX);
        if let Ok(found) = &found {
            let shown = format!("{found:?} {}", found.explain("r.example"));
            assert!(!shown.contains("hunter2"), "{shown}");
        }
        found
    }

    fn credentials(&self, reference: &str) -> Credentials {
        self.find(reference).unwrap().credentials
    }

    fn explained(&self, reference: &str) -> String {
        let text = self.find(reference).unwrap().explain("r.example");
        text.replace(&self.folder.path().display().to_string(), "~")
    }
}

const DOCKER: &str = ".docker/config.json";
const CONFIG: &str = ".config/containers/auth.json";

/// A file whose password for `r.example` tells it from others.
fn with(password: &str) -> String {
    format!(r#"{{"auths": {{"r.example": {{"username": "u", "password": "{password}"}}}}}}"#)
}

fn basic(password: &str) -> Credentials {
    Credentials::basic("u", password)
}

#[test]
fn each_place_is_found_and_the_first_counts() {
    let legacy = r#"{"https://r.example/v1/": {"auth": "dTpmb3Vy", "email": "x"}}"#;
    let files = [
        ("run/containers/auth.json", with("one")),
        (CONFIG, with("two")),
        (DOCKER, with("three")),
        (".dockercfg", legacy.to_owned()),
    ];
    for (first, password) in ["one", "two", "three", "four"].iter().enumerate() {
        let rest: Vec<(&str, &str)> = files.iter().skip(first).map(|(name, text)| (*name, text.as_str())).collect();
        let found = Home::new(&rest).path("XDG_RUNTIME_DIR", "run").find("r.example/team/x").unwrap();
        assert_eq!(found.credentials, basic(password));
        let Source::File { path, .. } = found.source else { panic!("no file") };
        assert!(path.ends_with(files[first].0), "{}", path.display());
    }
}

#[test]
fn a_named_file_is_the_only_one() {
    let stale = with("stale");
    let home = |named: &str| Home::new(&[(DOCKER, &stale), ("own.json", named)]).path("REGISTRY_AUTH_FILE", "own.json");
    assert_eq!(home(&with("right")).credentials("r.example/x"), basic("right"));
    assert!(home("{}").credentials("r.example/x").is_anonymous());
    let gone = Home::new(&[(DOCKER, &stale)]).path("REGISTRY_AUTH_FILE", "gone.json").find("r.example/x").unwrap_err();
    assert!(gone.contains("REGISTRY_AUTH_FILE") && gone.contains("does not exist"), "{gone}");
    let folder = Home::new(&[(DOCKER, &stale)]).path("REGISTRY_AUTH_FILE", ".docker").find("r.example/x").unwrap_err();
    assert!(folder.contains("is not a file"), "{folder}");
}

#[test]
fn the_closest_entry_counts() {
    // a:b, c:d, e:f
    let home = Home::new(&[(
        DOCKER,
        r#"{"auths": {"r.example": {"auth": "YTpi"}, "r.example/team": {"auth": "Yzpk"}, "r.example/team/own": {"auth": "ZTpm"},
            "https://index.docker.io/v1/": {"auth": "ZTpm"}, "t.example": {"identitytoken": "tok"},
            "u.example": {"auth": "PHRva2VuPjp0b2s="}, "p.example:5000": {"username": "a", "password": "b"},
            "https://s.example/some/path": {"auth": "YTpi"}, "http://h.example/v2/": {"auth": "YTpi"},
            "v.example/v1/": {"auth": "YTpi"}, "b.example": {"registrytoken": "bear", "auth": "YTpi"},
            "i.example": {"auth": "YTpi", "identitytoken": "tok"}}}"#,
    )]);
    let token = Credentials::Identity(Zeroizing::new("tok".into()));
    let (ab, cd, ef) = (Credentials::basic("a", "b"), Credentials::basic("c", "d"), Credentials::basic("e", "f"));
    for (reference, wanted) in [
        ("r.example/other/x", &ab),
        ("r.example/team/x:1", &cd),
        ("r.example/team/own:1", &ef),
        ("r.example/team/own/deeper:1", &ef),
        ("r.example/teams/x:1", &ab),
        ("docker.io/alpine", &ef),
        ("index.docker.io/team/alpine", &ef),
        ("t.example/x", &token),
        ("u.example/x", &token),
        ("i.example/x", &token),
        ("p.example:5000/x", &ab),
        ("s.example/x", &ab),
        ("s.example/some/path/x", &ab),
        ("h.example/x", &ab),
        ("v.example/x", &ab),
        ("b.example/x", &Credentials::Bearer(Zeroizing::new("bear".into()))),
        ("p.example/x", &Credentials::Anonymous),
        ("evil-r.example/x", &Credentials::Anonymous),
        ("r.example.evil/x", &Credentials::Anonymous),
    ] {
        assert_eq!(&home.credentials(reference), wanted, "{reference}");
    }
}

#[test]
fn docker_hub_has_three_names() {
    for key in
        ["docker.io", "index.docker.io", "registry-1.docker.io", "https://index.docker.io/v1/", "docker.io/library"]
    {
        let home = Home::new(&[(DOCKER, &format!(r#"{{"auths": {{"{key}": {{"auth": "YTpi"}}}}}}"#))]);
        assert_eq!(home.credentials("docker.io/busybox"), Credentials::basic("a", "b"), "{key}");
    }
}

#[test]
fn null_and_empty_are_absent() {
    for text in [
        "",
        "  \n",
        "null",
        "{}",
        r#"{"auths": null, "credHelpers": null, "credsStore": null}"#,
        r#"{"auths": {"r.example": null}, "credHelpers": {"r.example": null}}"#,
        r#"{"auths": {"r.example": {}}, "credHelpers": {}, "credsStore": ""}"#,
        r#"{"auths": {"r.example": {"auth": null, "username": null, "password": null, "identitytoken": null}}}"#,
        r#"{"auths": {"r.example": {"auth": "", "email": null}}, "credHelpers": {"r.example": ""}}"#,
    ] {
        // `.dockercfg` has entries only.
        let legacy = (!text.contains("credsStore")).then_some(".dockercfg");
        for place in [DOCKER, CONFIG].into_iter().chain(legacy) {
            let home = Home::new(&[(place, text)]);
            assert!(home.credentials("r.example/x").is_anonymous(), "{text}");
            assert!(!home.explained("r.example/x").contains("helper"), "{text}");
        }
    }
    let switched_off = r#"{"credHelpers": {"r.example": ""}, "credsStore": "pass"}"#;
    assert!(!Home::new(&[(DOCKER, switched_off)]).explained("r.example/x").contains("helper"));
}

#[test]
fn helpers_are_named_and_not_run() {
    let text = r#"{"auths": {"r.example": {}}, "credHelpers": {"r.example": "ecr-login"}, "credsStore": "pass"}"#;
    let home = Home::new(&[(DOCKER, text)]);
    let said = home.explained("r.example/x");
    assert!(said.contains("~/.docker/config.json (leaves it to docker-credential-ecr-login)"), "{said}");
    let said = home.explained("other.example/x");
    assert!(said.contains("docker-credential-pass") && said.contains("does not run"), "{said}");
    // A later file may have the credentials.
    let both = Home::new(&[(CONFIG, text), (DOCKER, &with("right"))]);
    assert_eq!(both.credentials("r.example/x"), basic("right"));
}

#[test]
fn the_origin_is_said() {
    let home = Home::new(&[(DOCKER, &with("hunter2"))]);
    assert_eq!(home.explained("r.example/x"), "The credentials were those of `r.example` in ~/.docker/config.json");
    let bad = Home::new(&[
        (CONFIG, r#"{"auths": {"r.example": {"auth": "aHVudGVyMg=="}}}"#),
        (DOCKER, r#"{"auths": {"other.example": {"auth": "YTpi"}}}"#),
    ]);
    let bad = bad.path("XDG_RUNTIME_DIR", "run");
    assert_eq!(
        bad.explained("r.example/x"),
        "No credentials for r.example were found, neither in COFFERDAM_REGISTRY_USERNAME and COFFERDAM_REGISTRY_PASSWORD \
         nor in ~/run/containers/auth.json (no such file) nor in ~/.config/containers/auth.json (its entry `r.example` has \
         no valid name and password) nor in ~/.docker/config.json (no entry for r.example) nor in ~/.dockercfg (no such \
         file). Set the two variables, or run `docker login` or `podman login`"
    );
}

#[test]
fn variables_come_in_pairs_and_first() {
    let home = || Home::new(&[(DOCKER, &with("stale"))]);
    let both = home().set("COFFERDAM_REGISTRY_USERNAME", "u").set("COFFERDAM_REGISTRY_PASSWORD", "hunter2\n");
    assert_eq!(both.credentials("r.example/x"), basic("hunter2"));
    assert!(both.explained("r.example/x").contains("COFFERDAM_REGISTRY_USERNAME"));
    assert!(home().set("COFFERDAM_REGISTRY_PASSWORD", "hunter2").find("r.example/x").is_err());
    assert!(home().set("COFFERDAM_REGISTRY_USERNAME", "u").find("r.example/x").is_err());
    let empty = home().set("COFFERDAM_REGISTRY_USERNAME", "").set("COFFERDAM_REGISTRY_PASSWORD", "\n");
    assert_eq!(empty.credentials("r.example/x"), basic("stale"));
}

#[test]
fn a_damaged_file_is_said_without_its_contents() {
    for text in [
        r#"{"auths": {"r.example": {"auth": hunter2}}}"#,
        r#"{"auths": {"r.example": {"auth": 5, "password": "hunter2"}}}"#,
        r#"{"auths": {"r.example": "hunter2"}}"#,
        "hunter2",
        "\u{1f}\u{8b}",
    ] {
        let error = Home::new(&[(DOCKER, text)]).find("r.example/x").unwrap_err();
        assert!(error.contains("config.json") && error.contains("line 1") && !error.contains("hunter2"), "{error}");
    }
    let large = format!("{{{}}}", " ".repeat(1 << 20));
    assert!(Home::new(&[(DOCKER, &large)]).find("r.example/x").unwrap_err().contains("too large"));
}

#[test]
fn places_that_cannot_be_are_passed_over() {
    // A file where a folder should be, and a folder where the file should be.
    let home = Home::new(&[(".docker", "x"), (".config/containers/auth.json/y", "x"), (".dockercfg", "{}")]);
    assert!(home.credentials("r.example/x").is_anonymous());
    assert!(Path::new(&home.variables["HOME"]).is_dir());
}
