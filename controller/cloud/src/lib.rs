//! Environments in AWS: an archive is uploaded to S3 through a presigned link and streamed from there into ECR or another
//! registry. AWS only; other clouds would be crates of their own.
//!
//! Never writes an archive to disk, never keeps a credential longer than one call, and never decides when an image is
//! carried. Start reading at `aws.rs`.

mod aws;
mod bucket;
mod ecr;
mod error;

pub use aws::Aws;
