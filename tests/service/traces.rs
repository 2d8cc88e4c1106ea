//! Traces go to the collector that OTEL_EXPORTER_OTLP_ENDPOINT names.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;

use crate::support::{Server, Setup};
use crate::{alone, eventually};

#[test]
fn traces_reach_a_collector() {
    let _alone = alone();
    let collector = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", collector.local_addr().unwrap());
    let seen: Arc<Mutex<Vec<u8>>> = Arc::default();
    let kept = Arc::clone(&seen);
    std::thread::spawn(move || {
        for stream in collector.incoming() {
            let mut stream = stream.unwrap();
            let kept = Arc::clone(&kept);
            std::thread::spawn(move || {
                let mut buffer = [0; 16 << 10];
                while let Ok(read) = stream.read(&mut buffer)
                    && read > 0
                {
                    kept.lock().unwrap().extend_from_slice(&buffer[..read]);
                    // More than one answer a request does no harm here: the exporter reads the first.
                    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
                }
            });
        }
    });
    let server = Server::with(
        Setup::default().env("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint).env("OTEL_BSP_SCHEDULE_DELAY", 200),
    );
    server.run(json!({"language": "javascript", "code": "1"})).expect(200);
    eventually("a trace", Duration::from_secs(20), || {
        let seen = seen.lock().unwrap();
        let has = |part: &[u8]| seen.windows(part.len()).any(|window| window == part);
        has(b"POST /v1/traces") && has(b"cofferdam")
    });
}
