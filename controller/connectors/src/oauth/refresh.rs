//! Renews a token. One process at a time does; the others take what it has stored. A token that was renewed is written down
//! before anything else is done, again and again if the database is away.

use std::sync::Arc;
use std::time::Duration;

use cofferdam_core::{backoff, now_ms};
use tokio::time::{Instant, sleep};

use super::endpoint::{self, Grant, NoToken, TOKEN_TIMEOUT};
use super::{Owner, Shared, Token};
use crate::link::Link;
use crate::place::Place;

/// Nobody else renews for so long: longer than the endpoint and the store may take.
const LEASE: Duration = Duration::from_secs(90);
/// The interval at which others look if it was renewed.
const LOOK: Duration = Duration::from_millis(200);
/// The longest wait for somebody else, and for the store.
const MAX_WAIT: Duration = Duration::from_secs(60);

/// The renewed token with its version; `None`: somebody has to log in.
type Renewed = Result<Option<(Token, String)>, String>;

/// Renews the token of this version.
pub(super) async fn renew(shared: Arc<Shared>, owner: Owner, link: Arc<Link>, version: String) -> Renewed {
    let away = |error: cofferdam_store::Error| {
        tracing::error!(error = cofferdam_core::chain(&error), "a connector's login cannot be read");
        "the login cannot be renewed now: a failure of this server".to_owned()
    };
    let until = Instant::now() + MAX_WAIT;
    let (organization, connector, person) = owner.key();
    let key = (organization, connector, person);
    loop {
        let row = shared.store.connector_token(organization, connector, person).await.map_err(away)?;
        let Some(row) = row else { return Ok(None) };
        let Some(token) = Token::unseal(&shared, &owner, &link.spec, &row) else { return Ok(None) };
        if row.version != version {
            return Ok(Some((token, row.version)));
        }
        let now = now_ms();
        let lease = (now, now + cofferdam_core::millis(LEASE));
        // Its own mark for each attempt: two of one process are two.
        let refresher = format!("{}-{}", shared.process, link.next_id());
        let mine = shared.store.take_connector_refresh(key, &version, &refresher, lease).await.map_err(away)?;
        if mine {
            return ask(&shared, &owner, &link, &version, &refresher, token).await;
        }
        if Instant::now() > until {
            return Err("another process renews the login, and does not come to an end".to_owned());
        }
        sleep(LOOK).await;
    }
}

async fn ask(shared: &Shared, owner: &Owner, link: &Link, version: &str, refresher: &str, old: Token) -> Renewed {
    let key = owner.key();
    let Some(refresh) = old.refresh.clone() else { return Ok(None) };
    let Ok(endpoint) = Place::parse(&old.endpoint) else { return Ok(None) };
    let grant = Grant::Refresh { token: &refresh };
    let answer = endpoint::ask(&link.wire.http, &endpoint, &old.client, &old.resource, &grant);
    let answer = match tokio::time::timeout(TOKEN_TIMEOUT * 2, answer).await {
        Ok(answer) => answer,
        Err(_) => Err(NoToken::Later("the token endpoint did not answer in time".to_owned())),
    };
    match answer {
        Ok(mut token) => {
            // A server that does not rotate says nothing.
            token.refresh = token.refresh.or(Some(refresh));
            token.scope = token.scope.or(old.scope);
            let row = token.seal(shared, owner, &link.spec).map_err(|error| {
                tracing::error!(error = cofferdam_core::chain(&error), "a renewed login cannot be sealed");
                "the renewed login cannot be stored".to_owned()
            })?;
            let until = Instant::now() + MAX_WAIT;
            let mut attempt = 0;
            loop {
                attempt += 1;
                let stored = shared.store.end_connector_refresh(key, (version, refresher), Some(&row), now_ms()).await;
                match stored {
                    Ok(true) => return Ok(Some((token, row.version))),
                    // It was deleted, or somebody logged in anew meanwhile.
                    Ok(false) => return Err("the login was replaced while it was renewed".to_owned()),
                    Err(error) if Instant::now() > until => {
                        tracing::error!(error = cofferdam_core::chain(&error), "a renewed login was not stored");
                        return Ok(Some((token, row.version)));
                    }
                    Err(_) => sleep(backoff(LOOK, Duration::from_secs(5), attempt)).await,
                }
            }
        }
        Err(NoToken::Over(why)) => {
            tracing::info!(connector = owner.connector, why, "a connector's login is over");
            let gone = shared.store.delete_connector_token(key, Some(version)).await;
            gone.map(|_| None).map_err(|_| "the login is over".to_owned())
        }
        Err(NoToken::Later(why)) => {
            let ended = shared.store.end_connector_refresh(key, (version, refresher), None, now_ms()).await;
            if let Err(error) = ended {
                tracing::debug!(%error, "the end of a refresh was not written down");
            }
            Err(format!("the login cannot be renewed now: {why}"))
        }
    }
}
