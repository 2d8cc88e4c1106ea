//! The controller's end of an uplink's beginning: a connection of its own to a worker, turned round by an upgrade
//! (`cofferdam_contract::uplink`). What is served on it afterwards is the gateway's.

use std::time::Duration;

use axum::body::Body;
use cofferdam_contract::OrganizationId;
use cofferdam_contract::uplink::{GATEWAY_HEADER, UPGRADE};
use cofferdam_contract::worker::ORGANIZATION_HEADER;
use http::header::{AUTHORIZATION, CONNECTION, HOST, UPGRADE as UPGRADE_HEADER};
use http::{Request, StatusCode};
use hyper::client::conn::http1::handshake;
use hyper::upgrade::Upgraded;

use super::worker::Worker;
use crate::Error;

/// From the connection to the answer 101.
const OPEN: Duration = Duration::from_secs(5);

impl Worker {
    /// Opens an uplink at `path` (`/uplink` or `/tools/uplink`) for the gateway of that name (16 hex digits). HTTP/2 is
    /// served on what comes back; it ends when either side does.
    ///
    /// # Errors
    /// Where the worker cannot be reached or refuses.
    pub async fn uplink(&self, path: &str, gateway: &str) -> Result<Upgraded, Error> {
        let opened = tokio::time::timeout(OPEN, self.open_uplink(path, gateway)).await;
        opened.unwrap_or_else(|_| Err(Error::Wire("the worker did not answer in time".to_owned())))
    }

    async fn open_uplink(&self, path: &str, gateway: &str) -> Result<Upgraded, Error> {
        let wire = |e: hyper::Error| Error::Wire(e.to_string());
        let stream = self.links.target().connect().await;
        let stream = stream.map_err(|source| Error::Process { what: "connecting to a worker", source })?;
        let (mut sender, connection) = handshake::<_, Body>(stream).await.map_err(wire)?;
        // Ends by itself with the upgrade, or with the connection.
        tokio::spawn(connection.with_upgrades());
        let mut builder = Request::post(path)
            .header(HOST, &self.host)
            .header(CONNECTION, "upgrade")
            .header(UPGRADE_HEADER, UPGRADE)
            .header(ORGANIZATION_HEADER, OrganizationId::default_organization().as_str())
            .header(GATEWAY_HEADER, gateway);
        if let Some(token) = &self.token {
            builder = builder.header(AUTHORIZATION, token);
        }
        let request = builder.body(Body::empty()).map_err(|e| Error::Wire(e.to_string()))?;
        let response = sender.send_request(request).await.map_err(wire)?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Err(Error::Wire(format!(
                "the worker answered {} where an uplink was asked for",
                response.status()
            )));
        }
        hyper::upgrade::on(response).await.map_err(wire)
    }
}
