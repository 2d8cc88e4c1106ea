//! A SQLite file that cannot be used is told with its name, the fault and the remedy, within seconds. The pool would try
//! again until its time-out and say only that.
//!
//! Never changes the file beyond its journal mode.

use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AnyConnection, Connection as _, Executor as _};

use crate::{DatabaseConfig, Error};

/// The time that a lock of another process is waited for.
const LOCK_WAIT: &str = "PRAGMA busy_timeout = 2000";
/// Larger files are not read whole at the start: damage in them is found where it is met.
const MAX_CHECKED_BYTES: u64 = 64 << 20;

/// The permission bit of a file that everybody can change: who can write into it can give himself a key.
const OTHERS_WRITE: u32 = 0o002;

// SQLite's result codes.
const BUSY: i32 = 5;
const LOCKED: i32 = 6;
const READONLY: i32 = 8;
const IOERR: i32 = 10;
const CORRUPT: i32 = 11;
const FULL: i32 = 13;
const CANTOPEN: i32 = 14;
const NOTADB: i32 = 26;

/// The file, if the database is one.
pub(crate) fn file(config: &DatabaseConfig) -> Option<PathBuf> {
    let options = SqliteConnectOptions::from_str(config.url.expose()).ok().filter(|_| config.is_file())?;
    let path = options.get_filename().to_owned();
    (!path.to_string_lossy().contains(":memory:") && !path.to_string_lossy().starts_with("file:")).then_some(path)
}

/// Opens the file once and makes sure that it is a whole database that can be written.
///
/// # Errors
/// [`Error::Database`] with the file, the fault and the remedy.
pub(crate) async fn check(url: &str, path: &Path) -> Result<(), Error> {
    let failed = |why| Error::Database { place: format!("the database {}", path.display()), why };
    if path.is_dir() {
        return Err(failed("is a folder; name a file".to_owned()));
    }
    if path.metadata().is_ok_and(|about| about.permissions().mode() & OTHERS_WRITE != 0) {
        let shown = path.display();
        return Err(failed(format!("can be changed by every user of this machine; run `chmod 600 {shown}`")));
    }
    match look(url, path).await {
        Ok(None) => Ok(()),
        Ok(Some(damage)) => Err(failed(format!("is damaged ({damage}); restore a backup of it"))),
        Err(error) => Err(failed(explain(path, &error))),
    }
}

/// The first damage that is found.
async fn look(url: &str, path: &Path) -> Result<Option<String>, sqlx::Error> {
    let mut connection = AnyConnection::connect(url).await?;
    for step in [LOCK_WAIT, "PRAGMA journal_mode = WAL", "BEGIN IMMEDIATE", "ROLLBACK"] {
        connection.execute(step).await?;
    }
    let small = path.metadata().is_ok_and(|about| about.len() <= MAX_CHECKED_BYTES);
    let found = match small {
        true => sqlx::query_scalar::<_, String>("PRAGMA quick_check(1)").fetch_one(&mut connection).await?,
        false => "ok".to_owned(),
    };
    connection.close().await?;
    Ok((found != "ok").then(|| found.lines().next().unwrap_or_default().to_owned()))
}

/// SQLite's own code of an error, without the detail in its upper bits.
fn code(error: &sqlx::Error) -> Option<i32> {
    Some(error.as_database_error()?.code()?.parse::<i32>().ok()? & 0xff)
}

/// Says why the file cannot be used, and the remedy.
pub(crate) fn explain(path: &Path, error: &sqlx::Error) -> String {
    let why = match code(error) {
        Some(NOTADB) => {
            "is not a SQLite database; restore a backup, or move the file away to begin with an empty database"
                .to_owned()
        }
        Some(CORRUPT) => "is damaged; restore a backup of it".to_owned(),
        Some(BUSY | LOCKED) => "is locked by another process; end that process, such as a backup or a shell".to_owned(),
        Some(READONLY) => "cannot be written; check the permissions of the file and of its folder".to_owned(),
        Some(FULL) => "cannot be written: the disk is full; make room".to_owned(),
        Some(CANTOPEN) => format!("cannot be opened: {}", unopened(path)),
        Some(IOERR) => "cannot be read or written; check the disk and the permissions of the folder".to_owned(),
        _ => return format!("cannot be used: {error}"),
    };
    let said = error.as_database_error().map(|error| error.message().to_owned()).unwrap_or_default();
    format!("{why} (SQLite says: {said})")
}

/// The cause that the system has for not opening the file.
fn unopened(path: &Path) -> String {
    match std::fs::OpenOptions::new().read(true).write(true).open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let folder = path.parent().unwrap_or(path);
            let there = if folder.is_dir() {
                "cannot be created in its folder; check its permissions"
            } else {
                "its folder does not exist"
            };
            there.to_owned()
        }
        Err(error) => format!("{error}; check its permissions"),
        Ok(_) => "check the permissions of its folder".to_owned(),
    }
}

/// Returns true for an error that comes from the file, not from a statement.
pub(crate) fn is_of_the_file(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::PoolTimedOut)
        || matches!(code(error), Some(BUSY | READONLY | IOERR | CORRUPT | FULL | CANTOPEN | NOTADB))
}

/// Returns true if the disk of the file, or its limit of pages, is used up.
pub(crate) fn is_full(error: &sqlx::Error) -> bool {
    code(error) == Some(FULL)
}

/// Returns true if another process has the file's lock.
pub(crate) fn is_busy(error: &sqlx::Error) -> bool {
    matches!(code(error), Some(BUSY | LOCKED))
}
