//! The generated Rust side of `wasi:keyvalue`. No behaviour of its own.

wasmtime::component::bindgen!({
    path: "../wit",
    inline: "
        package cofferdam:keyvalue-host;

        world host {
            import wasi:keyvalue/store@0.2.0-draft2;
            import wasi:keyvalue/atomics@0.2.0-draft2;
            import wasi:keyvalue/batch@0.2.0-draft2;
        }
    ",
    world: "cofferdam:keyvalue-host/host",
    imports: { default: trappable },
    trappable_error_type: {
        "wasi:keyvalue/store.error" => crate::keyvalue::KeyValueFailure,
    },
    with: {
        "wasi:keyvalue/store.bucket": crate::keyvalue::Bucket,
        "wasi:keyvalue/atomics.cas": crate::keyvalue::Cas,
    },
});

pub(crate) use wasi::keyvalue::{atomics, batch, store};
