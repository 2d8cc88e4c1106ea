//! Run tokens: short-lived tokens that let one task of one agent call models, and nothing else. A token ends with its task,
//! when its time is over, or when the key that made it is revoked: here at once, in other controllers within a second,
//! and so do its calls that are under way ([`RunToken::ended`]).
//!
//! Never stores a token's text, and never decides which models it opens: that is its holder's to read.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use cofferdam_contract::{OrganizationId, Problem};
use cofferdam_core::{Caller, Secret, chain, every, now, random_bits};
use cofferdam_store::{Added, RunTokenRow, Store};
use parking_lot::RwLock;
use tokio::sync::Mutex as AsyncMutex;
use tokio_util::sync::CancellationToken;

use crate::key::{Hash, hash, new_text};
use crate::{Error, Keyring};

/// The first characters of every run token.
pub const RUN_TOKEN_PREFIX: &str = "cfr_";
/// The most tokens in one page of a list.
pub const MAX_RUN_TOKEN_PAGE: u32 = 1_000;

/// The characters of a token: the prefix and 32 bytes in base64.
const TOKEN_LENGTH: usize = RUN_TOKEN_PREFIX.len() + 43;
const DEFAULT_TTL_S: u64 = 3_600;
const MAX_TTL_S: u64 = 24 * 3_600;
/// Living tokens of one organization.
const MAX_PER_ORGANIZATION: u64 = 10_000;
/// The longest name of an agent or a task, in characters.
const MAX_NAME: usize = 200;
/// Patterns of models of one token, and the longest one, in bytes.
const MAX_MODELS: usize = 100;
const MAX_MODEL_BYTES: usize = 200;
/// The most tokens kept in memory. One that no call uses makes room for another.
const MAX_KNOWN: usize = 32_768;
/// The time between two looks for tokens whose time is over, and for those that another controller has ended.
const ENDED_INTERVAL: Duration = Duration::from_millis(500);
/// Tokens that were ended within this time are looked for each time, in seconds: the clocks of controllers differ.
const ENDED_WINDOW_S: i64 = 120;
/// The time between two sweeps of the store.
const SWEEP_INTERVAL: Duration = Duration::from_secs(60);

/// A token that is to be made.
#[derive(Debug, Clone, Default)]
pub struct NewRunToken {
    pub agent: String,
    pub task: String,
    /// Seconds; an hour by default.
    pub ttl_s: Option<u64>,
    /// Patterns of models; absent: every model that the key may use.
    pub models: Option<Vec<String>>,
    /// The most tokens that one answer may have.
    pub max_tokens: Option<u64>,
}

impl NewRunToken {
    /// # Errors
    /// [`Problem::invalid`] that names the field.
    fn check(&self) -> Result<(), Problem> {
        for (field, name) in [("agent", &self.agent), ("task", &self.task)] {
            if name.trim().is_empty() || name.chars().count() > MAX_NAME || name.chars().any(char::is_control) {
                let detail = format!("{field}: 1 to {MAX_NAME} characters, no control characters");
                return Err(Problem::invalid(detail));
            }
        }
        if !(1..=MAX_TTL_S).contains(&self.ttl()) {
            return Err(Problem::invalid(format!("ttl_s: 1 to {MAX_TTL_S} seconds")));
        }
        if let Some(models) = &self.models {
            let fits =
                |model: &String| (1..=MAX_MODEL_BYTES).contains(&model.len()) && !model.chars().any(char::is_control);
            if models.is_empty() || models.len() > MAX_MODELS || !models.iter().all(fits) {
                let detail = format!("models: 1 to {MAX_MODELS} names or patterns of at most {MAX_MODEL_BYTES} bytes");
                return Err(Problem::invalid(detail));
            }
        }
        if self.max_tokens == Some(0) {
            return Err(Problem::invalid("max_tokens: at least 1"));
        }
        Ok(())
    }

    fn ttl(&self) -> u64 {
        self.ttl_s.unwrap_or(DEFAULT_TTL_S)
    }
}

/// A page of an organization's living tokens.
#[derive(Debug, Clone)]
pub struct RunTokenPage {
    pub tokens: Vec<RunTokenRow>,
    /// The next page's `after`; absent on the last page.
    pub next: Option<String>,
}

/// A living token, as its calls see it.
#[derive(Debug)]
pub struct RunToken {
    pub id: String,
    pub organization: OrganizationId,
    /// The id of the key that made it.
    pub key: String,
    pub agent: String,
    pub task: String,
    pub models: Option<Vec<String>>,
    pub max_tokens: Option<u64>,
    pub expires_at: i64,
    ended: CancellationToken,
    /// Keeps the key among those that are watched.
    _key: Arc<CancellationToken>,
}

impl RunToken {
    /// Cancelled when the token ends, expires, or loses its key.
    pub fn ended(&self) -> &CancellationToken {
        &self.ended
    }

    fn lives(&self) -> bool {
        !self.ended.is_cancelled() && now() < self.expires_at
    }
}

/// The tokens in memory.
#[derive(Default)]
struct Known {
    by_hash: HashMap<Hash, Arc<RunToken>>,
    by_id: HashMap<String, Hash>,
}

impl Known {
    fn add(&mut self, hash: Hash, token: &Arc<RunToken>) {
        if self.by_hash.len() >= MAX_KNOWN {
            let idle = self.by_hash.values().find(|known| Arc::strong_count(known) == 1).map(|known| known.id.clone());
            if let Some(id) = idle {
                self.take(&id);
            }
        }
        self.by_id.insert(token.id.clone(), hash);
        self.by_hash.insert(hash, Arc::clone(token));
    }

    fn take(&mut self, id: &str) -> Option<Arc<RunToken>> {
        let hash = self.by_id.remove(id)?;
        self.by_hash.remove(&hash)
    }
}

/// The run tokens of all organizations.
pub struct RunTokens {
    store: Store,
    keyring: Arc<Keyring>,
    known: RwLock<Known>,
    /// Held while the store is read or changed. A read that began before a token was ended cannot bring it back, and
    /// callers that guess tokens cause one query at a time.
    changing: AsyncMutex<()>,
}

impl RunTokens {
    pub fn new(store: Store, keyring: Arc<Keyring>) -> Self {
        Self { store, keyring, known: RwLock::default(), changing: AsyncMutex::new(()) }
    }

    /// Makes a token. It ends no later than the text of the key that makes it. Its text leaves this process once, as what this returns.
    ///
    /// # Errors
    /// [`Problem::invalid`] for a field, [`Problem::overloaded`] at the limit, or the store failed.
    pub async fn mint(&self, caller: &Caller, new: NewRunToken) -> Result<(RunTokenRow, Secret), Error> {
        new.check()?;
        let text = new_text(RUN_TOKEN_PREFIX)?;
        let created_at = now();
        let row = RunTokenRow {
            id: format!("run_token_{:032x}", random_bits()?),
            organization: caller.organization.clone(),
            hash: hex::encode(hash(text.expose())),
            key: caller.key.clone(),
            // A text of a key that ends takes the tokens that it made with it.
            expires_at: created_at.saturating_add_unsigned(new.ttl()).min(caller.expires_at.unwrap_or(i64::MAX)),
            agent: new.agent,
            task: new.task,
            models: new.models,
            max_tokens: new.max_tokens,
            created_at,
        };
        if self.store.add_run_token(&row, MAX_PER_ORGANIZATION).await? != Added::Done {
            let detail = format!("The organization has {MAX_PER_ORGANIZATION} living run tokens; end some.");
            return Err(Problem::overloaded(detail).into());
        }
        Ok((row, text))
    }

    /// A page of the organization's living tokens, or of one task's.
    ///
    /// # Errors
    /// The store failed.
    pub async fn list(
        &self,
        caller: &Caller,
        task: Option<&str>,
        after: &str,
        limit: u32,
    ) -> Result<RunTokenPage, Error> {
        let limit = limit.clamp(1, MAX_RUN_TOKEN_PAGE);
        let mut tokens =
            self.store.run_tokens(&caller.organization, task, after, i64::from(limit).saturating_add(1)).await?;
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let more = tokens.len() > limit;
        tokens.truncate(limit);
        let next = tokens.last().filter(|_| more).map(|token| token.id.clone());
        Ok(RunTokenPage { tokens, next })
    }

    /// Ends a token, and its calls that are under way.
    ///
    /// # Errors
    /// [`Problem::not_found`], or the store failed.
    pub async fn end(&self, caller: &Caller, id: &str) -> Result<(), Error> {
        let _turn = self.changing.lock().await;
        if !self.store.end_run_token(&caller.organization, id).await? {
            return Err(Problem::not_found("There is no such run token, or it has ended.").into());
        }
        self.forget(&[id.to_owned()]);
        Ok(())
    }

    /// Ends all tokens of a task. Returns how many lived.
    ///
    /// # Errors
    /// The store failed.
    pub async fn end_task(&self, caller: &Caller, task: &str) -> Result<usize, Error> {
        let _turn = self.changing.lock().await;
        let ended = self.store.end_run_tokens_of(&caller.organization, task).await?;
        self.forget(&ended);
        Ok(ended.len())
    }

    /// The living token with this text. Tokens are compared by their hashes, so the time taken reveals nothing.
    ///
    /// # Errors
    /// The store failed for a token that is not in memory.
    pub async fn find(&self, text: &str) -> Result<Option<Arc<RunToken>>, Error> {
        if text.len() != TOKEN_LENGTH || !text.starts_with(RUN_TOKEN_PREFIX) {
            return Ok(None);
        }
        let digest = hash(text);
        if let Some(found) = self.recall(&digest) {
            return Ok(Some(found).filter(|token| token.lives()));
        }
        let _turn = self.changing.lock().await;
        // Another call may have read it meanwhile.
        if let Some(found) = self.recall(&digest) {
            return Ok(Some(found).filter(|token| token.lives()));
        }
        let Some(row) = self.store.run_token_by_hash(&hex::encode(digest)).await? else { return Ok(None) };
        let key = self.keyring.watch_key(&row.key);
        let token = Arc::new(RunToken {
            ended: key.child_token(),
            _key: key,
            id: row.id,
            organization: row.organization,
            key: row.key,
            agent: row.agent,
            task: row.task,
            models: row.models,
            max_tokens: row.max_tokens,
            expires_at: row.expires_at,
        });
        self.known.write().add(digest, &token);
        Ok(Some(token))
    }

    fn recall(&self, digest: &Hash) -> Option<Arc<RunToken>> {
        self.known.read().by_hash.get(digest).cloned()
    }

    /// Rejects these tokens from now on, and ends their calls that are under way.
    fn forget(&self, ids: &[String]) {
        let mut known = self.known.write();
        for token in ids.iter().filter_map(|id| known.take(id)) {
            token.ended.cancel();
        }
    }

    /// Ends tokens whose time is over, and those that other controllers have ended, within a second, until `stop`. A
    /// failure is logged and tried again.
    pub async fn keep(self: Arc<Self>, stop: CancellationToken) {
        // Apart, so that a database that does not answer lengthens no token's life.
        tokio::join!(self.keep_expiring(&stop), self.keep_looking(&stop));
    }

    async fn keep_expiring(&self, stop: &CancellationToken) {
        let mut ticks = every(ENDED_INTERVAL);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = stop.cancelled() => return,
            }
            let dead = |token: &Arc<RunToken>| (!token.lives()).then(|| token.id.clone());
            let over: Vec<String> = self.known.read().by_hash.values().filter_map(dead).collect();
            if !over.is_empty() {
                self.forget(&over);
            }
        }
    }

    async fn keep_looking(&self, stop: &CancellationToken) {
        let (mut looks, mut sweeps) = (every(ENDED_INTERVAL), every(SWEEP_INTERVAL));
        loop {
            let done = tokio::select! {
                _ = looks.tick() => self.forget_ended().await,
                _ = sweeps.tick() => self.store.sweep_run_tokens().await.map(drop).map_err(Error::from),
                () = stop.cancelled() => return,
            };
            if let Err(error) = done {
                tracing::warn!(error = %chain(&error), "reading the run tokens failed; retrying");
            }
        }
    }

    /// Forgets the tokens that any controller has ended lately.
    async fn forget_ended(&self) -> Result<(), Error> {
        if self.known.read().by_hash.is_empty() {
            return Ok(());
        }
        let ended = self.store.ended_run_tokens(now() - ENDED_WINDOW_S).await?;
        self.forget(&ended);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_that_is_wrong_is_named() {
        let good = || NewRunToken { agent: "a".into(), task: "t".into(), ..NewRunToken::default() };
        assert!(good().check().is_ok());
        assert_eq!(good().ttl(), 3_600);
        for (new, field) in [
            (NewRunToken { agent: " ".into(), ..good() }, "agent"),
            (NewRunToken { task: "x".repeat(201), ..good() }, "task"),
            (NewRunToken { task: "a\nb".into(), ..good() }, "task"),
            (NewRunToken { ttl_s: Some(0), ..good() }, "ttl_s"),
            (NewRunToken { ttl_s: Some(86_401), ..good() }, "ttl_s"),
            (NewRunToken { models: Some(vec![]), ..good() }, "models"),
            (NewRunToken { models: Some(vec![String::new()]), ..good() }, "models"),
            (NewRunToken { models: Some(vec!["m".into(); 101]), ..good() }, "models"),
            (NewRunToken { max_tokens: Some(0), ..good() }, "max_tokens"),
        ] {
            assert!(new.check().unwrap_err().detail.starts_with(field), "{new:?}");
        }
    }

    #[test]
    fn a_token_in_use_makes_no_room() {
        let mut known = Known::default();
        let mut used = Vec::new();
        for number in 0..=MAX_KNOWN {
            let key = Arc::new(CancellationToken::new());
            let token = Arc::new(RunToken {
                id: number.to_string(),
                organization: OrganizationId::default_organization(),
                key: String::new(),
                agent: String::new(),
                task: String::new(),
                models: None,
                max_tokens: None,
                expires_at: i64::MAX,
                ended: key.child_token(),
                _key: key,
            });
            known.add(hash(&token.id), &token);
            if number != 7 {
                used.push(token);
            }
        }
        assert_eq!((known.by_hash.len(), known.by_id.len()), (MAX_KNOWN, MAX_KNOWN));
        assert!(!known.by_id.contains_key("7") && known.by_id.contains_key(&MAX_KNOWN.to_string()));
    }
}
