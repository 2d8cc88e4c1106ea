//! Files that do not belong into an image: environment files by name, private keys by their first bytes. Finds
//! accidents, not files that someone hides.

const BEGIN: &[u8] = b"-----BEGIN ";
const LABELS: [&[u8]; 2] = [b"PRIVATE KEY-----", b"PRIVATE KEY BLOCK-----"];
const PUTTY: &[u8] = b"PuTTY-User-Key-File-";

/// No smaller file holds a key.
pub(super) const SMALLEST_KEY: u64 = 64;
/// The least text after a key's first line. A program that only mentions that line contains no key.
const SMALLEST_BODY: usize = 32;

/// `.env`, `.env.production`, but not examples that are meant to be shared.
pub(super) fn is_env_file(path: &[u8]) -> bool {
    let name = path.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
    match name.strip_prefix(b".env") {
        Some(b"") => true,
        Some([b'.', kind @ ..]) => !["example", "sample", "template", "tpl", "dist", "defaults", "schema", "md"]
            .iter()
            .any(|shared| kind.ends_with(shared.as_bytes())),
        _ => false,
    }
}

/// The number of bytes to inspect at the start of a file.
pub(super) fn head_of(path: &[u8]) -> usize {
    let name = path.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
    let likely = ["pem", "key", "p8", "pk8", "json", "yaml", "yml", "crt", "cer", "cfg", "conf", "ini", "txt"];
    let extension = name.rsplit(|&byte| byte == b'.').next().unwrap_or_default();
    if likely.iter().any(|known| extension.eq_ignore_ascii_case(known.as_bytes())) || name.starts_with(b"id_") {
        16 << 10
    } else {
        1 << 10
    }
}

pub(super) fn has_private_key(head: &[u8]) -> bool {
    if head.starts_with(PUTTY) {
        return true;
    }
    let mut rest = head;
    while let Some(dash) = rest.iter().position(|&byte| byte == b'-') {
        rest = rest.get(dash..).unwrap_or_default();
        match rest.strip_prefix(BEGIN) {
            Some(label) if is_key(label) => return true,
            _ => rest = rest.get(1..).unwrap_or_default(),
        }
    }
    false
}

fn is_key(after_begin: &[u8]) -> bool {
    let end = after_begin.iter().take(60).position(|&byte| byte == b'\n' || byte == b'\\' || byte == b'\r');
    let Some((label, body)) = end.and_then(|end| after_begin.split_at_checked(end)) else { return false };
    if !LABELS.iter().any(|known| label.ends_with(known)) {
        return false;
    }
    // The line ending, also as JSON escapes it.
    let mut body = body;
    while let Some(next) = [&b"\r"[..], b"\n", b"\\r", b"\\n"].iter().find_map(|end| body.strip_prefix(*end)) {
        body = next;
    }
    let headers = [&b"Proc-Type:"[..], b"Version:", b"Comment:", b"Hash:"];
    let letters = body.iter().take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'=')).count();
    letters >= SMALLEST_BODY || headers.iter().any(|header| body.starts_with(header))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &str = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQ";

    #[test]
    fn environment_files_are_known_by_name() {
        for path in [".env", "app/.env", "app/.env.local", "a/b/.env.production"] {
            assert!(is_env_file(path.as_bytes()), "{path}");
        }
        for path in ["env", "app/.environment", ".env.example", "a/.env.local.sample", "x.env", ".env/file", ".envrc"] {
            assert!(!is_env_file(path.as_bytes()), "{path}");
        }
    }

    #[test]
    fn private_keys_are_known_by_how_they_begin() {
        for text in [
            format!("-----BEGIN PRIVATE KEY-----\n{BODY}\n"),
            format!("-----BEGIN RSA PRIVATE KEY-----\r\nProc-Type: 4,ENCRYPTED\r\n{BODY}"),
            format!("Bag Attributes\n    localKeyID: 01\n-----BEGIN ENCRYPTED PRIVATE KEY-----\n{BODY}"),
            format!("-----BEGIN CERTIFICATE-----\n{BODY}\n-----BEGIN OPENSSH PRIVATE KEY-----\n{BODY}"),
            format!("{{\"private_key\": \"-----BEGIN PRIVATE KEY-----\\n{BODY}\\n\"}}"),
            format!("-----BEGIN PGP PRIVATE KEY BLOCK-----\n\n{BODY}"),
            "PuTTY-User-Key-File-3: ssh-ed25519".to_owned(),
        ] {
            assert!(has_private_key(text.as_bytes()), "{text}");
        }
        for text in [
            format!("-----BEGIN PUBLIC KEY-----\n{BODY}\n"),
            format!("-----BEGIN CERTIFICATE-----\n{BODY}\n"),
            "if text.startswith('-----BEGIN PRIVATE KEY-----'): return load(text)".to_owned(),
            "-----BEGIN PRIVATE KEY-----\n...\n-----END PRIVATE KEY-----".to_owned(),
            "-----BEGIN PRIVATE KEY-----".to_owned(),
            "-----BEGIN ".to_owned(),
            "-".repeat(1_000),
        ] {
            assert!(!has_private_key(text.as_bytes()), "{text}");
        }
    }
}
