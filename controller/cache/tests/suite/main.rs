//! One suite for the twins of the cache: memory, and a Redis that each test starts for itself.

mod bus;
mod lookups;
mod outages;
mod rates;
mod server;
