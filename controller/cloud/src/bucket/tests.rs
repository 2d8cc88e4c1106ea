//! Buckets on a server of the test's own, which has no object.

use cofferdam_core::Secret;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

/// Answers 404 to all reading. Deletes succeed only if there is a bucket.
async fn server(has_bucket: bool) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.windows(4).any(|end| end == b"\r\n\r\n") {
                let mut piece = [0; 4_096];
                let read = stream.read(&mut piece).await.unwrap();
                head.extend_from_slice(&piece[..read]);
            }
            let is_delete = head.starts_with(b"POST ");
            let answer = if is_delete && has_bucket {
                let key = format!("p/{PROBE}");
                let body = format!("<DeleteResult><Deleted><Key>{key}</Key></Deleted></DeleteResult>");
                format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}", body.len())
            } else {
                "HTTP/1.1 404 Not Found\r\nconnection: close\r\ncontent-length: 0\r\n\r\n".to_owned()
            };
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    format!("http://{address}")
}

fn bucket(endpoint: String) -> Bucket {
    named("images", endpoint)
}

fn named(name: &str, endpoint: String) -> Bucket {
    let cloud = Cloud {
        bucket: name.to_owned(),
        prefix: "p/".to_owned(),
        region: "eu-central-1".to_owned(),
        endpoint: Some(endpoint),
        credentials: Some(("AKIDEXAMPLE".to_owned(), Secret::new("hunter22hunter22"))),
        ecr: false,
    };
    Bucket::open(&cloud).unwrap()
}

#[tokio::test]
async fn a_missing_bucket_is_told_from_a_missing_archive() {
    let place = Path::from("p/default/a/b");
    let there = bucket(server(true).await);
    assert_eq!(there.size(&place).await.unwrap(), None);
    assert!(matches!(there.read(&place).await.err(), Some(Error::NothingThere(_))));
    let gone = bucket(server(false).await);
    for error in [gone.size(&place).await.unwrap_err(), gone.read(&place).await.err().unwrap()] {
        assert!(matches!(error, Error::Settings(_)), "{error:?}");
        assert_eq!(error.to_string(), "There is no bucket \"images\" in this region.");
    }
}

#[tokio::test]
async fn links_do_not_hold_the_secret() {
    let link = bucket("http://127.0.0.1:1".to_owned()).link(&Path::from("a"), Duration::from_secs(60)).await.unwrap();
    assert!(link.as_str().contains("X-Amz-Signature=") && !link.as_str().contains("hunter22"), "{link}");
}

#[tokio::test]
async fn s3_tells_a_missing_bucket_from_a_missing_archive() {
    let Ok(endpoint) = std::env::var("COFFERDAM_TEST_AWS") else {
        eprintln!("SKIPPED: COFFERDAM_TEST_AWS names no server that speaks S3");
        return;
    };
    // Other suites use the same server, and have buckets of their own there.
    let gone = named("never-made", endpoint);
    let error = gone.size(&Path::from("p/default/a/b")).await.unwrap_err();
    assert!(matches!(error, Error::Settings(_)), "{error:?}");
    assert!(matches!(gone.delete(&Path::from("p/x")).await, Err(Error::Settings(_))));
}
