//! What people do with snippets and get for it: every file of `tests/scenarios` is a test, played against one server.

mod support;

use std::path::Path;
use std::sync::Arc;

use libtest_mimic::{Arguments, Trial};
use support::Server;
use support::case::{Case, cases};
use support::play::play;

fn main() {
    let arguments = Arguments::from_args();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let server = (!arguments.list).then(|| Arc::new(Server::start()));
    let trials = cases(&folder).into_iter().map(|(name, path)| {
        let server = server.clone();
        Trial::test(name, move || {
            let case = Case::read(&path)?;
            let Some(server) = server else { return Ok(()) };
            Ok(play(&server, &case)?)
        })
    });
    let conclusion = libtest_mimic::run(&arguments, trials.collect());
    drop(server);
    conclusion.exit();
}
