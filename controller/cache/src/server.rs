//! The connection to Redis that commands go over. Nobody waits for Redis: a command that it does not answer in time is not
//! repeated, and for a while no other is sent.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use cofferdam_core::{ConfigError, Secret, backoff};
use parking_lot::Mutex;
use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, FromRedisValue, IntoConnectionInfo as _, RedisError, Script,
};
use tokio::sync::Notify;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// The variable that names the server.
const VARIABLE: &str = "REDIS_URL";
/// The time that a command may take.
const COMMAND_TIMEOUT: Duration = Duration::from_millis(50);
/// The time without commands after one that took too long.
const PAUSE: Duration = Duration::from_secs(1);
/// The time that a connection may take to be made, and a message to be sent.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// The interval at which an idle connection is tried.
pub(crate) const PING_INTERVAL: Duration = Duration::from_secs(2);
/// The waits between attempts to connect.
pub(crate) const FIRST_BACKOFF: Duration = Duration::from_millis(100);
pub(crate) const MAX_BACKOFF: Duration = Duration::from_secs(5);

/// Takes one request of a rate (see `limiter/table.rs`, its twin) by the server's clock. Returns microseconds to wait.
const TAKE: &str = "
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local interval, tolerance = tonumber(ARGV[1]), tonumber(ARGV[2])
local full = tonumber(redis.call('GET', KEYS[1]) or now)
if full > now + tolerance then full = now + tolerance - interval end
local next = math.max(full, now) + interval
local wait = next - tolerance - now
if wait > 0 then return wait end
redis.call('SET', KEYS[1], string.format('%.0f', next), 'PX', math.ceil((next - now) / 1000) + 1)
return 0";

/// One Redis, as this process sees it.
pub(crate) struct Server {
    pub(crate) client: Client,
    /// Its address without credentials, for the log.
    pub(crate) place: String,
    /// The number of its database, which keeps installations apart.
    pub(crate) database: i64,
    connection: Mutex<Option<MultiplexedConnection>>,
    lost: Notify,
    made: Notify,
    begun: Instant,
    /// Milliseconds since `begun` before which no command is sent; 0 while Redis is quick.
    paused_until: AtomicU64,
    take: Script,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Redis at {}", self.place)
    }
}

impl Server {
    /// Reads the address. Opens no connection.
    ///
    /// # Errors
    /// It is no address of a Redis. The error shows nothing of it, because there is a password in it.
    pub(crate) fn new(url: &Secret) -> Result<Self, ConfigError> {
        let refused = |_: RedisError| {
            let known = "redis://[USER:PASSWORD@]HOST[:PORT][/DATABASE], rediss:// for TLS, or unix:///PATH";
            ConfigError::value(VARIABLE, format!("is not the address of a Redis: use {known}"))
        };
        let info = url.expose().trim().into_connection_info().map_err(refused)?;
        // Subscriptions are made in the words of RESP2.
        let settings = info.redis_settings().clone().set_protocol(redis::ProtocolVersion::RESP2);
        let info = info.set_redis_settings(settings);
        let place = match info.addr() {
            ConnectionAddr::Tcp(host, port) => format!("{host}:{port}"),
            ConnectionAddr::TcpTls { insecure: true, .. } => {
                return Err(ConfigError::value(VARIABLE, "certificates are always checked: take #insecure away"));
            }
            ConnectionAddr::TcpTls { host, port, .. } => format!("{host}:{port} with TLS"),
            ConnectionAddr::Unix(path) => path.display().to_string(),
            _ => "an address of another kind".to_owned(),
        };
        let database = info.redis_settings().db();
        let _ = tokio_rustls::rustls::crypto::ring::default_provider().install_default();
        Ok(Self {
            client: Client::open(info).map_err(refused)?,
            place,
            database,
            connection: Mutex::new(None),
            lost: Notify::new(),
            made: Notify::new(),
            begun: Instant::now(),
            paused_until: AtomicU64::new(0),
            take: Script::new(TAKE),
        })
    }

    /// Keeps a connection open until it is stopped.
    pub(crate) async fn keep(&self, stop: &CancellationToken) {
        let mut failures = 0;
        while !stop.is_cancelled() {
            let reason = match self.connect().await {
                Ok(connection) => {
                    failures = 0;
                    *self.connection.lock() = Some(connection.clone());
                    self.paused_until.store(0, Ordering::Relaxed);
                    self.made.notify_waiters();
                    let reason = self.watch(connection, stop).await;
                    *self.connection.lock() = None;
                    reason
                }
                Err(error) => error.to_string(),
            };
            failures += 1;
            if stop.is_cancelled() {
                return;
            }
            if failures == 1 {
                tracing::warn!(redis = self.place, reason, "Redis does not answer; going on without it until it does");
            }
            tokio::select! {
                () = tokio::time::sleep(backoff(FIRST_BACKOFF, MAX_BACKOFF, failures)) => {}
                () = stop.cancelled() => {}
            }
        }
    }

    async fn connect(&self) -> Result<MultiplexedConnection, RedisError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_response_timeout(Some(CONNECT_TIMEOUT));
        self.client.get_multiplexed_async_connection_with_config(&config).await
    }

    /// Tries the connection now and then. Returns the reason of its end.
    async fn watch(&self, mut connection: MultiplexedConnection, stop: &CancellationToken) -> String {
        loop {
            tokio::select! {
                () = tokio::time::sleep(PING_INTERVAL) => {}
                () = self.lost.notified() => {}
                () = stop.cancelled() => return String::new(),
            }
            match timeout(CONNECT_TIMEOUT, redis::cmd("PING").query_async::<()>(&mut connection)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return error.to_string(),
                Err(_) => return format!("it has said nothing for {} s", CONNECT_TIMEOUT.as_secs()),
            }
        }
    }

    /// The connection, once there is one.
    pub(crate) async fn connection(&self) -> MultiplexedConnection {
        loop {
            let made = self.made.notified();
            if let Some(connection) = self.connection.lock().clone() {
                return connection;
            }
            made.await;
        }
    }

    /// The connection has failed somebody: it is looked at now.
    pub(crate) fn suspect(&self) {
        self.lost.notify_one();
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// The connection, if there is one and it is not paused. After a pause one caller tries it for all.
    fn ready(&self) -> Option<MultiplexedConnection> {
        let until = self.paused_until.load(Ordering::Relaxed);
        if until > 0 {
            let now = self.now_ms();
            let next = now.saturating_add(millis(PAUSE));
            let tries = now >= until
                && self.paused_until.compare_exchange(until, next, Ordering::Relaxed, Ordering::Relaxed).is_ok();
            if !tries {
                return None;
            }
        }
        self.connection.lock().clone()
    }

    /// The answer to a command; `None` if Redis is gone, or took too long.
    async fn ask<T, F>(&self, command: impl FnOnce(MultiplexedConnection) -> F) -> Option<T>
    where
        F: Future<Output = Result<T, RedisError>>,
    {
        let connection = self.ready()?;
        match timeout(COMMAND_TIMEOUT, command(connection)).await {
            Ok(Ok(answer)) => {
                if self.paused_until.load(Ordering::Relaxed) > 0 {
                    self.paused_until.store(0, Ordering::Relaxed);
                }
                Some(answer)
            }
            Ok(Err(error)) => {
                tracing::debug!(redis = self.place, %error, "a command failed");
                self.pause();
                None
            }
            Err(_) => {
                self.pause();
                None
            }
        }
    }

    fn pause(&self) {
        self.paused_until.store(self.now_ms().saturating_add(millis(PAUSE)).max(1), Ordering::Relaxed);
        self.suspect();
    }

    /// Takes one request of a key's rate. Returns the microseconds to wait, 0 if it may go on.
    pub(crate) async fn take(&self, key: &str, interval: u64, tolerance: u64) -> Option<u64> {
        let mut take = self.take.prepare_invoke();
        take.key(format!("cofferdam:limit:{key}")).arg(interval).arg(tolerance);
        self.ask(|mut connection| async move { take.invoke_async(&mut connection).await }).await
    }

    async fn command<T: FromRedisValue>(&self, command: redis::Cmd) -> Option<T> {
        self.ask(|mut connection| async move { command.query_async(&mut connection).await }).await
    }

    /// The value of a look-up and the rest of its life; the outer `None` if Redis did not say.
    pub(crate) async fn get(&self, key: &str) -> Option<Option<(Bytes, Duration)>> {
        let key = lookup(key);
        let mut both = redis::pipe();
        both.cmd("GET").arg(&key).cmd("PTTL").arg(&key);
        let (value, ttl): (Option<Vec<u8>>, i64) =
            self.ask(|mut connection| async move { both.query_async(&mut connection).await }).await?;
        let ttl = u64::try_from(ttl).ok().filter(|ttl| *ttl > 0).map(Duration::from_millis);
        Some(value.zip(ttl).map(|(value, ttl)| (Bytes::from(value), ttl)))
    }

    pub(crate) async fn set(&self, key: &str, value: &Bytes, ttl: Duration) {
        let mut set = redis::cmd("SET");
        set.arg(lookup(key)).arg(value.as_ref()).arg("PX").arg(millis(ttl).max(1));
        self.command::<()>(set).await;
    }

    pub(crate) async fn delete(&self, key: &str) {
        let mut delete = redis::cmd("DEL");
        delete.arg(lookup(key));
        self.command::<()>(delete).await;
    }
}

/// The name of a look-up in Redis.
fn lookup(key: &str) -> String {
    format!("cofferdam:lookup:{key}")
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Makes a server of an address that may be missing.
pub(crate) fn server(url: Option<&Secret>) -> Result<Option<Arc<Server>>, ConfigError> {
    url.map(Server::new).transpose().map(|server| server.map(Arc::new))
}
