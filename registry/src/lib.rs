//! Container images, without Docker: `docker save` archives and OCI layouts are read in one pass, without temporary
//! files, and pushed to an OCI registry as they arrive. It knows nothing of HTTP APIs of ours, clusters or databases.
