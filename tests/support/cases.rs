//! A test binary whose tests are files: each case below a folder is played against one server.

use std::path::Path;
use std::sync::Arc;

use libtest_mimic::{Arguments, Trial};

use super::Server;
use super::case::{Case, cases};
use super::play::play;

/// Plays all of them. `after_each` can fail the case before it; `after_all` gets the initial process ids of the worker
/// and the tool worker, and can fail the whole run.
pub(crate) fn main(
    folder: &str,
    after_each: fn(&Server) -> Result<(), String>,
    after_all: fn(&Server, [Option<u32>; 2]) -> bool,
) -> ! {
    let arguments = Arguments::from_args();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let server = (!arguments.list).then(|| Arc::new(Server::start()));
    // Those of images are archives, those of registries are servers, those of clusters and models their answers: `registry/tests`
    // and the controller's suite play them.
    let elsewhere = ["images/", "registry/", "cluster/", "models/"];
    let played = cases(&folder).into_iter().filter(|(name, _)| !elsewhere.iter().any(|part| name.starts_with(part)));
    let trials = played.map(|(name, path)| {
        let server = server.clone();
        Trial::test(name, move || {
            let case = Case::read(&path)?;
            let Some(server) = server else { return Ok(()) };
            play(&server, &case)?;
            Ok(after_each(&server)?)
        })
    });
    let workers = server.as_ref().map(|server| server.workers()).unwrap_or_default();
    let conclusion = libtest_mimic::run(&arguments, trials.collect());
    let well = server.as_ref().is_none_or(|server| after_all(server, workers));
    drop(server);
    if !well {
        std::process::exit(101);
    }
    conclusion.exit();
}
