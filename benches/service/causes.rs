//! The known causes of missed targets. A cause is shown only if the current run missed the target.

/// Causes by row name. List only measured causes, and remove them when they no longer apply.
const CAUSES: &[(&str, &str)] = &[
    (
        "python",
        "Half of the time is the sandbox (see the next row), the rest is two HTTP hops: four times a thread is woken by a \
         socket, in the client, the controller, the worker and the controller again. No other thread takes part.",
    ),
    (
        "inside",
        "Of the turn in the guest two fifths is CPython's parser and compiler, about 30 \u{b5}s are taken by the engine, which \
         looks up each function that is called through a table for the first time in an instance, and the rest is the \
         spec, the print and the call itself. In a loop the same takes less than half: what costs is code that is cold. \
         Making the instance is another 45 \u{b5}s.",
    ),
    (
        "plot",
        "matplotlib is Python nearly throughout, which runs at about 0.4 of native speed here: 12 ms for figure and axes, \
         30 for drawing them, the rest for two PNGs, the file and the shown one. Native loses its time in importing.",
    ),
    (
        "throughput",
        "The service, its worker and the sixteen clients share the same cores; the peer has no clients to feed.",
    ),
    (
        "session",
        "The turn in the guest takes about half; the rest is the second HTTP hop, for which a thread of the worker and one \
         of the controller have to wake.",
    ),
    (
        "fork",
        "A fork looks at every page that was written since the last note or fork, and writes those that differ into a file; \
         the first one of a state writes all of it, at about 0.25 ms a MB. A resume copies the short runs of pages, and \
         each page that is copied over the image faults once.",
    ),
    (
        "suspended",
        "A resume reads the state's short runs of pages and its files from disk, and the first run renames its folder.",
    ),
    (
        "unplugged",
        "The worker's own start takes 0.15 s on an idle machine; here it shares the cores with sixteen clients that go on \
         asking.",
    ),
    (
        "tool-call",
        "A call takes about 0.17 ms of processor time in the service and 0.14 in the tool worker where `/health` takes 0.045: \
         two HTTP hops, JSON, and a mapping that is made and taken down, with no single part that stands out. With as many \
         clients as here the rates are as these, and the clients share the cores. Of a JavaScript tool's call the instance \
         takes less than 0.1 ms; the rest is SpiderMonkey's, which compiles and makes again in every instance what had not \
         run before its snapshot was taken. Two fifths of that time are page faults, one for each page of the snapshot \
         that is written (175 at least).",
    ),
    (
        "image",
        "gzip: both cores compress nearly all of the time; the registry takes a quarter of them. none: the registry alone \
         takes 2.9 s of processor time to hash and write a gigabyte, and gets one layer at a time.",
    ),
    (
        "deploy",
        "Nearly all of it is Cranelift, in a process of its own with as many threads as there are cores: where others take \
         these, it takes twice as long.",
    ),
    (
        "many-tools",
        "MCP's page has at most a hundred tools with their schemas, and there are ten to compare with: what is longer takes \
         longer to write. With more than a hundred tools it grows no further.",
    ),
    (
        "model-streams",
        "A stream has two connections, each of which hyper gives a buffer of 8 KiB to read and one to write, and the one to the \
         upstream a channel of 10 KiB: 42 KiB are allocated before anything of ours. The rest is the two tasks and the call.",
    ),
];

pub(crate) fn of(row: &str) -> &'static str {
    CAUSES.iter().find(|(name, _)| *name == row).map_or("The cause is not known yet.", |(_, cause)| cause)
}
