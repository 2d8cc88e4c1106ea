//! Sessions: guests that are kept between runs, suspended to disk, brought back and copied.

mod disk;
mod life;
mod table;

pub use disk::{Meta, StateFolder};
pub use life::Life;
pub use table::{Held, NewSession, Session, Sessions};
