//! `POST /v1/runs`: the outcome and its fields.

use serde_json::json;

use crate::support::{Call, Server};

#[test]
fn an_outcome_has_all_its_fields() {
    let server = Server::shared();
    let outcome = server.run(json!({"language": "python", "code": "print('hello')\n6 * 7"})).expect(200);
    assert!(outcome["id"].as_str().unwrap().starts_with("run_"), "{outcome}");
    assert_eq!((&outcome["status"], &outcome["exit_code"]), (&json!("ok"), &json!(0)));
    assert_eq!((&outcome["stdout"], &outcome["stderr"]), (&json!("hello\n"), &json!("")));
    assert_eq!(outcome["results"][0]["text/plain"], "42");
    assert_eq!(outcome["files"], json!([]));
    assert!(outcome.get("error").is_none() && outcome.get("session").is_none(), "{outcome}");
    let usage = &outcome["usage"];
    assert!(usage["wall_ms"].as_f64().unwrap() > 0.0 && usage["cpu_ms"].as_f64().unwrap() > 0.0, "{usage}");
    assert!(usage["memory_peak_bytes"].as_u64().unwrap() > 1 << 20, "{usage}");
}

#[test]
fn an_error_of_the_code_is_an_outcome_with_its_traceback() {
    let server = Server::shared();
    let code = "def f(x):\n    return 1 / x\nprint('before')\nf(0)\n";
    let outcome = server.run(json!({"language": "python", "code": code})).expect(200);
    assert_eq!(
        (&outcome["status"], &outcome["exit_code"], &outcome["stdout"]),
        (&json!("error"), &json!(1), &json!("before\n"))
    );
    assert_eq!(outcome["error"]["name"], "ZeroDivisionError");
    let traceback = outcome["error"]["traceback"].as_str().unwrap();
    assert!(traceback.contains("main.py\", line 4") && traceback.contains("main.py\", line 2"), "{traceback}");
    assert!(!traceback.contains("_cofferdam") && !traceback.contains("prelude"), "{traceback}");
}

#[test]
fn stdin_arguments_and_variables_reach_the_code() {
    let server = Server::shared();
    let python = json!({
        "language": "python", "stdin": "line one\nline two\n", "args": ["a b", "ü"], "env": {"NAME": "välue"},
        "code": "import os, sys\nprint(input(), '|', sys.stdin.read().strip(), sys.argv[1:], os.environ['NAME'])",
    });
    assert_eq!(server.run(python).expect(200)["stdout"], "line one | line two ['a b', 'ü'] välue\n");
    let javascript = json!({
        "language": "javascript", "stdin": "in", "args": ["a b"], "env": {"NAME": "value"},
        "code": "console.log(require('fs').readFileSync(0, 'utf8'), process.argv.slice(2), process.env.NAME)",
    });
    assert_eq!(server.run(javascript).expect(200)["stdout"], "in [ 'a b' ] value\n");
}

#[test]
fn files_go_in_as_map_and_list_and_come_out() {
    let server = Server::shared();
    let code = "import os\ndata = open('in/a.bin', 'rb').read()\nos.makedirs('out')\nopen('out/b.bin', 'wb').write(data[::-1])";
    let list = json!([{"path": "in/a.bin", "content_base64": "AAEC/w=="}]);
    let outcome = server.run(json!({"language": "python", "code": code, "files": list})).expect(200);
    assert_eq!(outcome["files"], json!([{"path": "out/b.bin", "size": 4, "content_base64": "/wIBAA=="}]));
    let map = json!({"a.txt": "text"});
    let code = "print(open('a.txt').read())";
    assert_eq!(server.run(json!({"language": "python", "code": code, "files": map})).expect(200)["stdout"], "text\n");
}

#[test]
fn large_files_are_listed_and_fetched() {
    let server = Server::shared();
    let code = "open('big.bin', 'wb').write(bytes(range(256)) * 20_000)";
    let outcome = server.run(json!({"language": "python", "code": code})).expect(200);
    assert_eq!(outcome["files"], json!([{"path": "big.bin", "size": 5_120_000}]));
    let answer = server.get(&format!("/v1/runs/{}/files/big.bin", outcome["id"].as_str().unwrap()));
    assert_eq!((answer.status, answer.body.len(), answer.body[257]), (200, 5_120_000, 1));
    let gone = server.get(&format!("/v1/runs/{}/files/none.bin", outcome["id"].as_str().unwrap()));
    gone.problem(404, "not-found");
}

#[test]
fn the_limit_that_stopped_a_run_is_named() {
    let server = Server::shared();
    for (limits, code, status, name) in [
        (json!({"wall_ms": 300}), "import time; time.sleep(9)", "timeout", "wall_ms"),
        (json!({"cpu_ms": 200}), "while True: pass", "limit", "cpu_ms"),
        (json!({"memory_bytes": 250_000_000}), "x = bytearray(400_000_000)", "limit", "memory_bytes"),
        (json!({"output_bytes": 10}), "print('x' * 100)", "limit", "output_bytes"),
        (json!({"disk_bytes": 10}), "with open('a', 'w') as f: f.write('x' * 100)", "limit", "disk_bytes"),
        (json!({"files": 3}), "for i in range(9): open(f'f{i}', 'w').close()", "limit", "files"),
    ] {
        let outcome = server.run(json!({"language": "python", "code": code, "limits": limits})).expect(200);
        assert_eq!(
            (&outcome["status"], &outcome["error"]["name"]),
            (&json!(status), &json!(name)),
            "{code}: {outcome:#}"
        );
        assert_eq!(outcome["exit_code"], json!(null), "{outcome:#}");
    }
}

#[test]
fn every_language_runs() {
    let server = Server::shared();
    for (language, code, stdout) in [
        ("python", "print(sum(range(5)))", "10\n"),
        ("javascript", "console.log([1, 2, 3].map((n) => n ** 2).join())", "1,4,9\n"),
        ("typescript", "interface P { x: number }\nconst p: P = { x: 3 as number };\nconsole.log(p.x);", "3\n"),
    ] {
        let outcome = server.run(json!({"language": language, "code": code})).expect(200);
        assert_eq!(outcome["stdout"], stdout, "{outcome:#}");
    }
}

#[test]
fn a_head_request_and_options_get_clear_answers() {
    let server = Server::shared();
    assert_eq!(server.send(Call::new("OPTIONS", "/v1/runs")).status, 405);
    server.send(Call::new("DELETE", "/v1/runs")).problem(405, "method-not-allowed");
}
