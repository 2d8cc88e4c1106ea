//! `/v1/sessions/{id}/files`.

use serde_json::json;

use crate::support::{Call, Server};

#[test]
fn files_go_into_a_session_and_come_out() {
    let server = Server::shared();
    let id = server.session(json!({"language": "python"}));
    let path = |name: &str| format!("/v1/sessions/{id}/files/{name}");
    let put =
        |name: &str, bytes: &[u8]| server.send(Call::new("PUT", path(name)).body(bytes, "application/octet-stream"));
    assert_eq!(put("in/data%20%C3%A4.bin", b"\x00\x01\xff").status, 204);
    assert_eq!(server.in_session(&id, "print(open('in/data ä.bin', 'rb').read())"), "b'\\x00\\x01\\xff'\n");
    server.in_session(&id, "open('out.txt', 'w').write('result')");
    assert_eq!(server.get(&path("out.txt")).body, b"result");
    let list = server.get(&format!("/v1/sessions/{id}/files")).expect(200);
    assert_eq!(list, json!([{"path": "in/data ä.bin", "size": 3}, {"path": "out.txt", "size": 6}]));
    server.get(&path("none.txt")).problem(404, "not-found");
    assert_eq!(put("out.txt", b"over").status, 204);
    assert_eq!(server.in_session(&id, "print(open('out.txt').read())"), "over\n");
}

#[test]
fn files_of_a_suspended_session_are_there() {
    let server = Server::shared();
    let id = server.session(json!({"language": "javascript"}));
    server.in_session(&id, "require('fs').writeFileSync('a.txt', 'text')");
    server.post(&format!("/v1/sessions/{id}/suspend"), &json!({})).expect(200);
    assert_eq!(server.get(&format!("/v1/sessions/{id}/files/a.txt")).body, b"text");
    assert_eq!(server.get(&format!("/v1/sessions/{id}/files")).expect(200)[0]["path"], "a.txt");
}

#[test]
fn a_file_that_does_not_fit_is_refused_by_the_limits_name() {
    let server = Server::shared();
    let id = server.session(json!({"language": "python", "limits": {"disk_bytes": 1000, "files": 3}}));
    let put = |name: &str, size: usize| {
        let call = Call::new("PUT", format!("/v1/sessions/{id}/files/{name}"));
        server.send(call.body(vec![b'x'; size], "application/octet-stream"))
    };
    assert!(put("big", 5_000).problem(413, "too-large").contains("disk_bytes"));
    for n in 0..3 {
        assert_eq!(put(&format!("f{n}"), 10).status, 204);
    }
    put("f3", 10).problem(413, "too-large");
    assert_eq!(server.in_session(&id, "import os; print(sorted(os.listdir('.')))"), "['f0', 'f1', 'f2']\n");
}
