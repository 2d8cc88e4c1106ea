//! `WWW-Authenticate`: the authentication that a registry asks for. Pure.

use http::HeaderMap;
use http::header::WWW_AUTHENTICATE;

const MAX_HEADER: usize = 8 << 10;
const MAX_PARAMETERS: usize = 32;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Challenge {
    Basic,
    Bearer {
        realm: String,
        service: Option<String>,
        scope: Option<String>,
        /// A password is taken as well.
        or_basic: bool,
    },
}

/// The best challenge offered: a token rather than a password in every request.
pub(super) fn best(headers: &HeaderMap) -> Option<Challenge> {
    let mut found = Vec::new();
    for value in headers.get_all(WWW_AUTHENTICATE).iter().take(8) {
        let Ok(text) = value.to_str() else { continue };
        if text.len() <= MAX_HEADER {
            read(text, &mut found);
        }
    }
    let basic = found.contains(&Challenge::Basic);
    for challenge in &mut found {
        if let Challenge::Bearer { or_basic, .. } = challenge {
            *or_basic = basic;
        }
    }
    let bearer = found.iter().position(|challenge| matches!(challenge, Challenge::Bearer { .. }));
    bearer.or_else(|| found.iter().position(|c| *c == Challenge::Basic)).map(|at| found.swap_remove(at))
}

fn read(text: &str, found: &mut Vec<Challenge>) {
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let end = rest.find(|c: char| c.is_whitespace() || c == ',').unwrap_or(rest.len());
        let (scheme, after) = rest.split_at(end);
        let (parameters, next) = parameters(after);
        let get =
            |name: &str| parameters.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, v)| v.clone());
        if scheme.eq_ignore_ascii_case("basic") {
            found.push(Challenge::Basic);
        } else if scheme.eq_ignore_ascii_case("bearer")
            && let Some(realm) = get("realm")
        {
            found.push(Challenge::Bearer { realm, service: get("service"), scope: get("scope"), or_basic: false });
        }
        rest = next.trim_start_matches(|c: char| c.is_whitespace() || c == ',');
    }
}

/// The `name=value` pairs up to the next scheme, and the rest.
fn parameters(mut rest: &str) -> (Vec<(String, String)>, &str) {
    let mut pairs = Vec::new();
    loop {
        let start = rest.trim_start_matches(|c: char| c.is_whitespace() || c == ',');
        let Some((name, after)) = start.split_once('=') else { return (pairs, start) };
        if pairs.len() >= MAX_PARAMETERS {
            return (pairs, "");
        }
        let name = name.trim_end();
        if name.contains(|c: char| c.is_whitespace() || c == ',' || c == '"') {
            // The text before the name is the next challenge's scheme.
            return (pairs, start);
        }
        let after = after.trim_start();
        let (value, next) = match after.strip_prefix('"') {
            Some(quoted) => unquote(quoted),
            None => {
                let end = after.find(|c: char| c.is_whitespace() || c == ',').unwrap_or(after.len());
                let (value, next) = after.split_at(end);
                (value.to_owned(), next)
            }
        };
        pairs.push((name.to_owned(), value));
        rest = next;
    }
}

fn unquote(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (value, text.get(at + 1..).unwrap_or_default()),
            '\\' => value.extend(chars.next().map(|(_, c)| c)),
            c => value.push(c),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[&str]) -> Option<Challenge> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(WWW_AUTHENTICATE, value.parse().unwrap());
        }
        best(&headers)
    }

    fn bearer(realm: &str, service: Option<&str>, scope: Option<&str>) -> Option<Challenge> {
        let own = |text: Option<&str>| text.map(str::to_owned);
        Some(Challenge::Bearer { realm: realm.into(), service: own(service), scope: own(scope), or_basic: false })
    }

    #[test]
    fn challenges_of_real_registries() {
        let hub = r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push""#;
        let token =
            bearer("https://auth.docker.io/token", Some("registry.docker.io"), Some("repository:a/b:pull,push"));
        assert_eq!(of(&[hub]), token);
        let mut both = token.clone();
        if let Some(Challenge::Bearer { or_basic, .. }) = &mut both {
            *or_basic = true;
        }
        assert_eq!(of(&["Basic realm=\"x\"", hub]), both);
        assert_eq!(of(&[&format!("Basic realm=\"a, b\", {hub}")]), both);
        assert_eq!(of(&[&format!("{hub}, Basic realm=x")]), both);
        assert_eq!(of(&["Basic realm=\"Registry Realm\""]), Some(Challenge::Basic));
        assert_eq!(of(&["basic"]), Some(Challenge::Basic));
        assert_eq!(of(&["bearer realm=https://a/t"]), bearer("https://a/t", None, None));
        assert_eq!(of(&[r#"Bearer realm="a\"b" , service = "s""#]), bearer("a\"b", Some("s"), None));
    }

    #[test]
    fn nonsense_is_no_challenge_and_ends() {
        for text in
            ["", ",,,", "Bearer", "Bearer service=x", "Negotiate abc==", "Bearer realm", "\"\"\"", "= = =", "a b c d"]
        {
            assert_eq!(of(&[text]), None, "{text:?}");
        }
        let long = format!("Bearer {}", "a=b,".repeat(1_000));
        assert_eq!(of(&[&long]), None);
        assert_eq!(of(&[]), None);
        assert_eq!(of(&["Bearer realm=\"unfinished"]), bearer("unfinished", None, None));
    }
}
