//! Rows for unit tests.

use cofferdam_contract::{AgentId, DeploymentId, DeploymentState, OrganizationId};
use cofferdam_store::{DeploymentRow, ImageSource, Observed, Spec};

/// Version `number` of the agent `a`: uploaded, with an image, asked to run in the order of the numbers.
pub(crate) fn row(number: u64) -> DeploymentRow {
    DeploymentRow {
        id: DeploymentId::from_random(u128::from(number)),
        organization: OrganizationId::default_organization(),
        agent: AgentId::parse("a").unwrap(),
        number,
        turn: number,
        state: DeploymentState::Applying,
        reason: None,
        detail: String::new(),
        exit_code: None,
        last_lines: vec![],
        source: ImageSource::Upload,
        image: format!("r/a@sha256:{number}"),
        architecture: "amd64".into(),
        run_as: None,
        size_bytes: 0,
        received_bytes: 0,
        spec: Spec::default(),
        placed: false,
        attempts: 0,
        retry_at_ms: 0,
        since_ms: 0,
        up_at_ms: 0,
        crashes: 0,
        observed: Observed::default(),
        events: 0,
        created_at: 0,
        updated_at: 0,
    }
}
