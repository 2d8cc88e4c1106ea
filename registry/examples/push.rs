//! For measuring only.
use std::sync::Arc;

use cofferdam_registry::client::docker_config;
use cofferdam_registry::push::cache::FileCache;
use cofferdam_registry::push::progress::Progress;
use cofferdam_registry::{Options, Reference, Source, Target};

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let (path, reference) = (&args[3], &args[4]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let reference = Reference::parse_familiar(reference).unwrap();
    let found = docker_config::find(&reference, &|name| std::env::var(name).ok()).unwrap();
    let target = Target { plain_http: true, credentials: found.credentials, ..Target::new(reference) };
    let source = if path == "-" { Source::Stream(Box::new(std::io::stdin())) } else { Source::File(std::fs::File::open(path).unwrap()) };
    let cache = FileCache::open(std::path::Path::new(&std::env::var("XDG_CACHE_HOME").unwrap()).join("layers.jsonl"));
    let quiet = std::env::var("QUIET").is_ok();
    let progress = Progress::new(move |event| {
        if !quiet && !matches!(event, cofferdam_registry::push::progress::Event::Read { .. }) { eprintln!("{event:?}") }
    });
    match runtime.block_on(cofferdam_registry::push(source, &target, &Options::default(), Arc::new(cache), &progress)) {
        Ok(pushed) => println!("{} sent {} skipped {}", pushed.reference, pushed.sent, pushed.skipped),
        Err(error) => { eprintln!("{error}"); std::process::exit(1) }
    }
}
