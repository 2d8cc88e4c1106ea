//! Clusters as their environments say.

use futures_util::future::BoxFuture;

use super::Clusters;
use crate::cluster::{AnyCluster, ClusterError};
use crate::environments::{ClusterAccess, Environment};

pub struct Direct;

impl Clusters for Direct {
    fn connect<'a>(&'a self, environment: &'a Environment) -> BoxFuture<'a, Result<AnyCluster, ClusterError>> {
        Box::pin(async move {
            match &environment.cluster {
                ClusterAccess::None(why) => Err(ClusterError::None(why.clone())),
                _ => Err(ClusterError::None("this build has no way to a cluster".to_owned())),
            }
        })
    }
}
