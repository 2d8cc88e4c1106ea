//! The elements of an answer's lists that count: conditions that are looked at, and the agent's own container. Pure.

use crate::answers::{Condition, Container, ContainerStatus, InitStatus};
use crate::few::Chosen;
use crate::names::CONTAINER;

impl Chosen for Condition {
    fn is_chosen(&self) -> bool {
        let job = ["Complete", "SuccessCriteriaMet", "Failed", "FailureTarget"];
        let pod = ["Ready", "PodScheduled", "DisruptionTarget"];
        job.contains(&self.kind.as_str()) || pod.contains(&self.kind.as_str())
    }
}

/// One that has not done its work.
impl Chosen for InitStatus {
    fn is_chosen(&self) -> bool {
        !self.0.ready
    }
}

impl Chosen for Container {
    fn is_chosen(&self) -> bool {
        self.name == CONTAINER
    }
}

/// The agent's own, and one that keeps the pod from being ready.
impl Chosen for ContainerStatus {
    fn is_chosen(&self) -> bool {
        self.name == CONTAINER || !self.ready
    }
}
