//! The controller's side of opening an uplink: a connection of its own to a worker, upgraded so that the worker can
//! send requests on it (`cofferdam_contract::uplink`). The gateway serves them.

use std::time::Duration;

use axum::body::Body;
use cofferdam_contract::OrganizationId;
use cofferdam_contract::uplink::{GATEWAY_HEADER, UPGRADE};
use cofferdam_contract::worker::ORGANIZATION_HEADER;
use http::header::{AUTHORIZATION, CONNECTION, HOST, UPGRADE as UPGRADE_HEADER};
use http::{Request, StatusCode};
use hyper::client::conn::http1::handshake;
use hyper::upgrade::Upgraded;

use crate::Error;
use crate::link::LinkError;
use crate::worker::Worker;

/// The time from the start of the connection to the answer 101.
const OPEN_TIMEOUT: Duration = Duration::from_secs(5);

impl Worker {
    /// Opens an uplink at `path` (`/uplink` or `/tools/uplink`) for the gateway of that name (16 hex digits). HTTP/2 is
    /// served on the connection; it ends when either side does.
    ///
    /// # Errors
    /// A worker that cannot be reached or refuses.
    pub async fn uplink(&self, path: &str, gateway: &str) -> Result<Upgraded, Error> {
        let opened = tokio::time::timeout(OPEN_TIMEOUT, self.open_uplink(path, gateway)).await;
        opened.unwrap_or(Err(Error::Timeout))
    }

    async fn open_uplink(&self, path: &str, gateway: &str) -> Result<Upgraded, Error> {
        let stream = self.links.target().connect().await.map_err(LinkError::Connect)?;
        let (mut sender, connection) = handshake::<_, Body>(stream).await.map_err(LinkError::Lost)?;
        // Ends with the upgrade or the connection.
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
        let response = sender.send_request(builder.body(Body::empty())?).await.map_err(LinkError::Lost)?;
        let status = response.status();
        if status != StatusCode::SWITCHING_PROTOCOLS {
            return Err(Error::Wire(format!("it answered {status} to the request for an uplink")));
        }
        Ok(hyper::upgrade::on(response).await.map_err(LinkError::Lost)?)
    }
}
