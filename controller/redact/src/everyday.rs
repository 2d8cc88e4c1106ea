//! Tells secrets from settings, by a variable's name and by its value. Pure.

const SECRET_WORDS: [&str; 12] =
    ["KEY", "TOKEN", "SECRET", "PASS", "PWD", "CREDENTIAL", "AUTH", "DSN", "COOKIE", "PRIVATE", "SIGNATURE", "SALT"];

/// A name like `API_KEY`.
pub(crate) fn sounds_secret(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    SECRET_WORDS.iter().any(|word| name.contains(word))
}

/// Ids and addresses that the controller gives every workload.
pub(crate) fn is_ours(name: &str) -> bool {
    name.starts_with("COFFERDAM_") || name.starts_with("XPANDER_")
}

/// A number, a word, a path, or an address without a password: replacing those would only harm the output.
pub(crate) fn is_everyday(value: &str) -> bool {
    let number = value.len() < 20 && value.bytes().all(|b| b.is_ascii_digit() || b".:-".contains(&b));
    let word = value.len() < 20 && is_word(value);
    let path = value.starts_with('/') && is_address(value);
    number || word || path || is_url(value) || is_host_and_port(value)
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphabetic() || b"-_. ".contains(&b))
}

fn is_address(text: &str) -> bool {
    text.len() < 200 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._:/".contains(&b))
}

fn is_url(value: &str) -> bool {
    value.split_once("://").is_some_and(|(scheme, rest)| is_word(scheme) && is_address(rest))
}

fn is_host_and_port(value: &str) -> bool {
    value.split_once(':').is_some_and(|(host, port)| {
        host.contains('.') && is_address(host) && port.len() < 6 && port.bytes().all(|b| b.is_ascii_digit())
    })
}
