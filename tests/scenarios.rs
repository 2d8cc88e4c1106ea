//! Typical uses of snippets and their results: every file of `tests/scenarios` is a test, played against one server.

mod support;

fn main() {
    support::cases::main("tests/scenarios", |_| Ok(()), |_, _| true);
}
