//! The files that hold credentials, in the order of `containers-auth.json(5)`. Opens none.

use std::path::{Path, PathBuf};

/// A file that may hold credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub path: PathBuf,
    pub form: Form,
    /// A variable names this very file, so it has to be there.
    pub required: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// `config.json` and `auth.json`: an object with `auths`.
    Json,
    /// `.dockercfg`: the entries themselves.
    Legacy,
}

impl Place {
    fn new(path: PathBuf) -> Self {
        Self { path, form: Form::Json, required: false }
    }
}

/// `user` is this process's user id.
pub(super) fn places(env: &dyn Fn(&str) -> Option<String>, user: u32) -> Vec<Place> {
    let set = |name: &str| env(name).filter(|text| !text.is_empty()).map(PathBuf::from);
    if let Some(path) = set("REGISTRY_AUTH_FILE") {
        return vec![Place { required: true, ..Place::new(path) }];
    }
    let auth = |folder: PathBuf| Place::new(folder.join("containers").join("auth.json"));
    let home = set("HOME");
    let below_home = |path: &str| home.as_ref().map(|home| home.join(path));
    let running = set("XDG_RUNTIME_DIR")
        .map_or_else(|| Place::new(Path::new("/run/containers").join(user.to_string()).join("auth.json")), auth);
    let settings = set("XDG_CONFIG_HOME").or_else(|| below_home(".config")).map(auth);
    let docker = set("DOCKER_CONFIG").or_else(|| below_home(".docker"));
    let docker = docker.map(|folder| Place::new(folder.join("config.json")));
    let legacy = below_home(".dockercfg").map(|path| Place { form: Form::Legacy, ..Place::new(path) });
    [Some(running), settings, docker, legacy].into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(variables: &[(&str, &str)]) -> Vec<String> {
        let env = |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        places(&env, 1000).iter().map(|place| place.path.display().to_string()).collect()
    }

    #[test]
    fn the_order_is_the_documented_one() {
        assert_eq!(
            paths(&[("HOME", "/h"), ("XDG_RUNTIME_DIR", "/run/user/1000")]),
            [
                "/run/user/1000/containers/auth.json",
                "/h/.config/containers/auth.json",
                "/h/.docker/config.json",
                "/h/.dockercfg"
            ]
        );
        assert_eq!(
            paths(&[("HOME", "/h"), ("XDG_RUNTIME_DIR", ""), ("XDG_CONFIG_HOME", "/c"), ("DOCKER_CONFIG", "/d")]),
            ["/run/containers/1000/auth.json", "/c/containers/auth.json", "/d/config.json", "/h/.dockercfg"]
        );
        assert_eq!(paths(&[]), ["/run/containers/1000/auth.json"]);
    }

    #[test]
    fn a_named_file_is_the_only_one() {
        let named = [("HOME", "/h"), ("REGISTRY_AUTH_FILE", "/a.json"), ("DOCKER_CONFIG", "/d")];
        assert_eq!(paths(&named), ["/a.json"]);
        assert_eq!(paths(&[("HOME", "/h"), ("REGISTRY_AUTH_FILE", "")]).len(), 4);
    }
}
