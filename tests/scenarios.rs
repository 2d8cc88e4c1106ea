//! What people do with snippets and get for it: every file of `tests/scenarios` is a test, played against one server.

mod support;

fn main() {
    support::cases::main("tests/scenarios", |_| Ok(()), |_, _| true);
}
