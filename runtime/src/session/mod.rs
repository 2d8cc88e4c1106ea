//! Sessions: guests that are kept between runs, and can be suspended to disk, resumed and copied.

mod disk;
mod ledger;
mod life;
mod table;

pub(crate) use table::{Held, NewSession, Session, Sessions};
