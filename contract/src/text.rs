//! Characters that change how a text looks without being seen. The list is the one of `cofferdam-text`, for all rooms.

pub use cofferdam_text::is_invisible;
