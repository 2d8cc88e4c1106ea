//! The bounds of single texts in an answer.

use serde_json::json;

use super::*;

#[test]
fn texts_longer_than_a_cluster_has_take_no_memory() {
    let long = |bytes: usize| "x".repeat(bytes);
    let read = |more: usize| -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": long(MAX_NAME + more), "uid": long(MAX_UID + more),
                "labels": {"cofferdam.dev/workload": long(MAX_LABEL + more)},
                "annotations": {"cofferdam.dev/agent": long(MAX_NAME + more)}},
            "spec": {"nodeName": long(MAX_NAME + more)},
            "status": {"phase": long(MAX_LABEL + more), "reason": long(MAX_REASON + more),
                "message": long(MAX_MESSAGE + more),
                "conditions": [{"type": "Ready", "status": long(MAX_NAME + more), "message": long(MAX_MESSAGE + more)}]},
        }))
        .unwrap()
    };
    let lengths = |pod: &Pod| -> Vec<usize> {
        let (meta, spec, status) = (&pod.metadata, pod.spec.as_ref().unwrap(), pod.status.as_ref().unwrap());
        let condition = &status.conditions[0];
        let labels = meta.labels.as_ref().unwrap();
        let agent = meta.annotations.as_ref().unwrap().agent.as_ref();
        let all = [
            meta.name.as_ref(),
            meta.uid.as_ref(),
            labels.workload.as_ref(),
            agent,
            spec.node_name.as_ref(),
            status.phase.as_ref(),
            status.reason.as_ref(),
            status.message.as_ref(),
            Some(&condition.status),
            condition.message.as_ref(),
        ];
        all.into_iter().map(|text| text.map_or(0, String::len)).collect()
    };
    assert!(lengths(&read(0)).iter().all(|length| *length >= MAX_LABEL));
    assert_eq!(lengths(&read(1)), [0; 10]);
}
