//! Container agents in Kubernetes: applies a workload's objects, reports its state, follows its logs, and removes it.
//!
//! Never touches the database or the HTTP API, and is the only crate that knows kube. Start reading at `cluster.rs` and
//! `connect.rs`.

mod answers;
mod apply;
mod asked;
mod chosen;
mod cluster;
mod connect;
mod dial;
mod error;
mod few;
mod held;
mod judge;
mod judge_end;
mod judge_other;
mod judge_words;
mod kubeconfig;
mod kubernetes;
mod logs;
mod manifests;
mod mend;
mod names;
mod none;
mod objects;
mod ours;
mod pinned;
mod place;
mod probes;
mod pull;
mod remove;
mod replicas;
mod rights;
mod runtimes;
mod see;
mod seen;
mod survey;
mod text;
mod wire;
mod words;
mod workload;

pub use cluster::{AnyCluster, Cluster, Clusters, Finding, Lines};
pub use connect::{KubernetesClusters, Options};
pub use error::ClusterError;
pub use kubeconfig::decode as decode_kubeconfig;
pub use names::workload_name;
pub use place::{Access, Place};
pub use seen::{HeldBy, Mended, Seen, WorkloadFailure};
pub use text::Words;
pub use workload::{NOBODY, PodName, RawLine, Workload, WorkloadId};
