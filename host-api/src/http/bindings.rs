//! The generated Rust side of `wasi:http`. No behaviour of its own.

wasmtime::component::bindgen!({
    path: "../wit",
    inline: "
        package cofferdam:http-host;

        world host {
            import wasi:http/types@0.2.12;
            import wasi:http/outgoing-handler@0.2.12;
        }
    ",
    world: "cofferdam:http-host/host",
    imports: { default: trappable },
    trappable_error_type: {
        "wasi:http/types.error-code" => crate::http::HttpFailure,
        "wasi:http/types.header-error" => crate::http::HeaderFailure,
    },
    with: {
        "wasi:io/error": wasmtime_wasi_io::bindings::wasi::io::error,
        "wasi:io/poll": crate::wasi::bindings::io::poll,
        "wasi:io/streams": crate::wasi::bindings::io::streams,
        "wasi:clocks/monotonic-clock": crate::wasi::bindings::clocks::monotonic_clock,
        "wasi:http/types.fields": crate::http::Fields,
        "wasi:http/types.incoming-request": crate::http::Never,
        "wasi:http/types.response-outparam": crate::http::Never,
        "wasi:http/types.outgoing-response": crate::http::OutgoingResponse,
        "wasi:http/types.outgoing-request": crate::http::OutgoingRequest,
        "wasi:http/types.outgoing-body": crate::http::OutgoingBody,
        "wasi:http/types.request-options": crate::http::RequestOptions,
        "wasi:http/types.future-incoming-response": crate::http::FutureIncomingResponse,
        "wasi:http/types.incoming-response": crate::http::IncomingResponse,
        "wasi:http/types.incoming-body": crate::http::IncomingBody,
        "wasi:http/types.future-trailers": crate::http::FutureTrailers,
    },
});

pub(crate) use wasi::http::{outgoing_handler, types};
