use super::*;

const GOOD: &str = r"
apiVersion: v1
kind: Config
current-context: one
contexts:
- name: one
  context: {cluster: c, user: u}
- name: files
  context: {cluster: c, user: files}
- name: nowhere
  context: {cluster: missing, user: u}
- name: nobody
  context: {cluster: c}
clusters:
- name: c
  cluster: {server: 'https://10.0.0.1:6443'}
users:
- name: u
  user: {token: the-secret-token}
- name: files
  user: {tokenFile: /etc/shadow}
";

fn words(yaml: &str, context: Option<&str>) -> String {
    let error = handed_over(yaml, context, &[]).map(drop).unwrap_err();
    let ClusterError::Settings(text) = &error else { panic!("{error:?}") };
    assert!(!format!("{error:?}").contains("the-secret"), "{error:?}");
    assert!(text.len() < 1_000 && !text.contains('\n'), "{text}");
    text.clone()
}

#[test]
fn a_context_is_chosen_and_the_others_do_not_matter() {
    let config = handed_over(GOOD, None, &[]).unwrap();
    assert_eq!(config.cluster_url.to_string(), "https://10.0.0.1:6443/");
    handed_over(GOOD, Some("one"), &[]).unwrap();
    handed_over(GOOD, Some("nobody"), &[]).unwrap();
    assert!(words(GOOD, Some("files")).contains("tokenFile"));
    assert!(words(GOOD, Some("nowhere")).contains("no cluster \"missing\""));
    let unknown = words(GOOD, Some("two"));
    assert!(unknown.contains("no context \"two\"") && unknown.contains("\"one\", \"files\""), "{unknown}");
    assert!(words(&GOOD.replace("current-context: one", ""), None).contains("current-context"));
    // Credentials in a context that was not chosen are not there.
    assert!(handed_over(GOOD, Some("nobody"), &[]).unwrap().auth_info.token.is_none());
}

#[test]
fn what_is_no_kubeconfig_is_said_without_its_content() {
    for bad in [
        "",
        "just text the-secret",
        "[the-secret",
        "users: the-secret",
        "users:\n- name: u\n  user: {token: [the-secret]}",
        "apiVersion: v1\n\tkind: the-secret",
        "{\"clusters\": 7}",
        "--- \n- the-secret\n",
        "\u{0}",
        &"[".repeat(100_000),
        &"a: b\n".repeat(100_000),
    ] {
        words(bad, None);
    }
    let place = words("current-context: one\nusers: [the-secret", None);
    assert!(place.contains("line"), "{place}");
}

#[test]
fn aliases_do_not_multiply() {
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..30 {
        let before = format!("*a{}", level - 1);
        bomb += &format!("a{level}: &a{level} [{}]\n", vec![before; 9].join(", "));
    }
    let started = std::time::Instant::now();
    words(&bomb, None);
    assert!(started.elapsed() < std::time::Duration::from_secs(60), "{:?}", started.elapsed());
}

#[test]
fn programs_files_and_proxies_are_refused() {
    for (from, to, says) in [
        ("{token: the-secret-token}", "{exec: {command: /bin/sh, args: [the-secret]}}", "program"),
        ("{token: the-secret-token}", "{auth-provider: {name: gcp}}", "program"),
        ("{token: the-secret-token}", "{token: the-secret, tokenFile: /x}", "tokenFile"),
        ("{token: the-secret-token}", "{client-certificate: /x}", "client-certificate"),
        ("{token: the-secret-token}", "{client-key: /x}", "client-key"),
        ("{server: 'https://10.0.0.1:6443'}", "{server: 'https://10.0.0.1', certificate-authority: /x}", "--flatten"),
        ("{server: 'https://10.0.0.1:6443'}", "{server: 'https://10.0.0.1', proxy-url: 'http://10.0.0.2'}", "proxy"),
        ("{server: 'https://10.0.0.1:6443'}", "{server: 'http://10.0.0.1'}", "https"),
        ("{server: 'https://10.0.0.1:6443'}", "{server: '10.0.0.1:6443'}", "https"),
        ("{server: 'https://10.0.0.1:6443'}", "{server: '/etc/passwd'}", "https"),
        ("{server: 'https://10.0.0.1:6443'}", "{server: 'https://u:the-secret@10.0.0.1'}", "credentials"),
        ("{server: 'https://10.0.0.1:6443'}", "{server: 'https://[::1]:6443'}", "network.private"),
        ("{server: 'https://10.0.0.1:6443'}", "{server: 'https://169.254.169.254'}", "network.private"),
        ("{server: 'https://10.0.0.1:6443'}", "{server: 'not an address'}", "no address"),
        ("{server: 'https://10.0.0.1:6443'}", "{}", "without a server"),
        (
            "{server: 'https://10.0.0.1:6443'}",
            "{server: 'https://10.0.0.1', certificate-authority-data: '%%%'}",
            "certificate-authority",
        ),
        (
            "{server: 'https://10.0.0.1:6443'}",
            "{server: 'https://10.0.0.1', certificate-authority-data: bm90IHBlbQ==}",
            "certificate-authority",
        ),
    ] {
        let changed = GOOD.replace(from, to);
        assert_ne!(changed, GOOD);
        let said = words(&changed, None);
        assert!(said.contains(says), "{to}: {said}");
    }
}

#[test]
fn one_that_is_too_long_is_not_read() {
    assert!(words(&format!("{GOOD}# {}", "x".repeat(MAX_BYTES)), None).contains("longer"));
}
