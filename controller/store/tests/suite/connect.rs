//! Opening a database: odd names, and databases that cannot be reached.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use cofferdam_core::{Failure as _, Secret, chain, used_up};
use cofferdam_store::{DatabaseConfig, Error, Store};
use cofferdam_testkit::database::On;
use sqlx::Connection as _;
use tokio::net::TcpListener;

use crate::{on_each, organization};

async fn failure(url: String) -> String {
    let config = DatabaseConfig { url: Secret::new(url) };
    chain(&Store::open_within(&config, Duration::from_secs(1)).await.err().unwrap())
}

#[tokio::test]
async fn a_sqlite_file_may_have_any_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a b?#%.db");
    Store::open(&DatabaseConfig::sqlite(&path)).await.unwrap().close().await;
    assert!(path.is_file());
    Store::open(&DatabaseConfig::sqlite(&path)).await.unwrap().close().await;
}

/// Nothing listens; a server accepts and stays silent; the host does not exist; the address is malformed.
#[tokio::test]
async fn a_database_that_cannot_be_reached_is_named_without_its_password() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nobody = closed.local_addr().unwrap().port();
    drop(closed);
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mute = silent.local_addr().unwrap().port();
    for (address, parts) in [
        (format!("127.0.0.1:{nobody}/app"), vec![format!("127.0.0.1:{nobody}"), "\"app\"".into(), "refused".into()]),
        (format!("127.0.0.1:{mute}/app"), vec![format!("127.0.0.1:{mute}"), "does not answer as PostgreSQL".into()]),
        ("no-such-host.invalid/app".into(), vec!["no-such-host.invalid:5432".into(), "host and port".into()]),
    ] {
        let text = failure(format!("postgres://me:hush-hush@{address}")).await;
        for part in parts {
            assert!(text.contains(&part), "{text}: no {part:?}");
        }
        assert!(text.contains("\"me\"") && !text.contains("hush"), "{text}");
    }
    let text = failure("postgres://me:hush-hush@host:port/app".into()).await;
    assert!(text.contains("DATABASE_URL") && !text.contains("hush"), "{text}");
}

/// A file as a test leaves it before the store is opened.
type Prepared<'a> = (&'a str, &'a dyn Fn(&Path), &'a [&'a str]);

#[tokio::test(flavor = "multi_thread")]
async fn a_sqlite_file_that_cannot_be_used_is_told_at_once_with_its_name() {
    let beside = tempfile::tempdir().unwrap();
    let whole = beside.path().join("whole.db");
    Store::open(&DatabaseConfig::sqlite(&whole)).await.unwrap().close().await;
    let bytes = std::fs::read(&whole).unwrap();
    let write = |path: &Path, bytes: &[u8]| std::fs::write(path, bytes).unwrap();
    let tomorrow = whole.with_file_name("tomorrow.db");
    write(&tomorrow, &bytes);
    let pool = sqlx::SqlitePool::connect(&format!("sqlite://{}", tomorrow.display())).await.unwrap();
    let row = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
               VALUES (9999, 'of tomorrow', TRUE, x'00', 0)";
    sqlx::query(row).execute(&pool).await.unwrap();
    pool.close().await;
    let newer = std::fs::read(&tomorrow).unwrap();
    let open_to_all = |path: &Path| {
        write(path, &bytes);
        std::fs::set_permissions(path, Permissions::from_mode(0o666)).unwrap();
    };
    let cases: [Prepared<'_>; 9] = [
        ("junk", &|path| write(path, &[b'x'; 8192]), &["is not a SQLite database", "restore a backup"]),
        ("short junk", &|path| write(path, b"hello"), &["is not a SQLite database"]),
        ("cut", &|path| write(path, &bytes[..bytes.len() / 2]), &["is damaged"]),
        (
            "a page of zeros",
            &|path| write(path, &[&bytes[..4096], &[0; 4096], &bytes[8192..]].concat()),
            &["is damaged"],
        ),
        ("folder", &|path| std::fs::create_dir(path).unwrap(), &["is a folder"]),
        ("newer", &|path| write(path, &newer), &["newer Cofferdam", "9999"]),
        ("mode 0666", &open_to_all, &["every user", "chmod 600"]),
        ("empty", &|path| write(path, b""), &[]),
        ("whole", &|path| write(path, &bytes), &[]),
    ];
    for (name, prepare, parts) in cases {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("some.db");
        prepare(&path);
        let started = Instant::now();
        let opened = Store::open(&DatabaseConfig::sqlite(&path)).await;
        let took = started.elapsed();
        if parts.is_empty() {
            opened.unwrap().close().await;
            continue;
        }
        let said = opened.err().unwrap().to_string();
        assert!(took < Duration::from_secs(4), "{name}: {took:?}");
        for part in parts.iter().copied().chain([&*path.display().to_string()]) {
            assert!(said.contains(part), "{name}: {part:?} is not in {said:?}");
        }
        assert!(!said.contains('\n'), "{name}: {said:?}");
    }
    let no_folder = beside.path().join("none/some.db");
    let said = Store::open(&DatabaseConfig::sqlite(&no_folder)).await.err().unwrap().to_string();
    assert!(said.contains("its folder does not exist"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sqlite_file_that_another_process_locks_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("some.db");
    let holder = sqlx::SqlitePool::connect(&format!("sqlite://{}?mode=rwc", path.display())).await.unwrap();
    let mut held = holder.acquire().await.unwrap();
    for step in ["PRAGMA locking_mode = EXCLUSIVE", "CREATE TABLE a (b TEXT)", "BEGIN EXCLUSIVE"] {
        sqlx::query(step).execute(&mut *held).await.unwrap();
    }
    let started = Instant::now();
    let said = Store::open(&DatabaseConfig::sqlite(&path)).await.err().unwrap().to_string();
    assert!(said.contains("locked by another process") && said.contains("some.db"), "{said}");
    assert!(started.elapsed() < Duration::from_secs(6), "{:?}", started.elapsed());
}

/// Handlers refuse such a text; whatever they miss must not be a failure of ours.
#[tokio::test(flavor = "multi_thread")]
async fn a_text_that_cannot_be_stored_is_its_senders_fault() {
    on_each(async |_, store| {
        if let Err(error) = store.secret(&organization(), "a\0b").await {
            let problem = error.refused().unwrap_or_else(|| panic!("{error}"));
            assert!(problem.status == 400 && problem.detail.contains("NUL"), "{problem:?}");
        }
        assert!(store.secret(&organization(), "a").await.unwrap().is_none(), "the connection is still good");
    })
    .await;
}

/// PostgreSQL is made to say it: nobody fills the disk of a database for a test.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_known_in_both_databases() {
    let full = |error: sqlx::Error| {
        let error = Error::from(error);
        assert!(used_up(&error).is_some_and(|what| what.contains("disk")), "{error:?}");
        assert!(chain(&error).contains("full"), "the log has the database's own words: {error:?}");
    };
    let folder = tempfile::tempdir().unwrap();
    for on in On::all() {
        let url = on.database(&folder).await.url;
        sqlx::any::install_default_drivers();
        let mut connection = sqlx::AnyConnection::connect(url.expose()).await.unwrap();
        match on {
            On::Sqlite => {
                for step in ["CREATE TABLE a (b BLOB)", "PRAGMA max_page_count = 2"] {
                    sqlx::query(step).execute(&mut connection).await.unwrap();
                }
                full(
                    sqlx::query("INSERT INTO a VALUES (zeroblob(100000))").execute(&mut connection).await.unwrap_err(),
                );
            }
            On::Postgresql => {
                let raise = "DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '53100', MESSAGE = 'disk full'; END $$";
                full(sqlx::query(raise).execute(&mut connection).await.unwrap_err());
            }
        }
    }
}
