//! The request of each kind as it arrives there.

use cofferdam_upstreams::{Kind, Service, UpstreamSpec};
use http::HeaderMap;

use crate::server::{CHAT, KEY, Server, ask, json, made, spec, text};

#[tokio::test]
async fn each_kind_gets_its_path_its_key_and_the_callers_bytes() {
    let server = Server::always(json(200, "{\"ok\":1}")).await;
    let vertex = "/v1/projects/p/locations/global/endpoints/openapi/chat/completions";
    for (kind, base, service, path, header, value) in [
        (Kind::Openai, "/v1", Service::Chat, "/v1/chat/completions", "authorization", format!("Bearer {KEY}")),
        (Kind::Openai, "/v1", Service::Responses, "/v1/responses", "authorization", format!("Bearer {KEY}")),
        (Kind::Openai, "/v1", Service::Embeddings, "/v1/embeddings", "authorization", format!("Bearer {KEY}")),
        (Kind::Anthropic, "", Service::Messages, "/v1/messages", "x-api-key", KEY.to_owned()),
        (Kind::Anthropic, "/v1", Service::CountTokens, "/v1/messages/count_tokens", "x-api-key", KEY.to_owned()),
        (Kind::Azure, "", Service::Chat, "/openai/v1/chat/completions", "api-key", KEY.to_owned()),
        (Kind::Vertex, "", Service::Chat, vertex, "authorization", format!("Bearer {KEY}")),
        (
            Kind::Gemini,
            "/v1beta/openai",
            Service::Chat,
            "/v1beta/openai/chat/completions",
            "authorization",
            format!("Bearer {KEY}"),
        ),
        (Kind::Compatible, "/v1", Service::Chat, "/v1/chat/completions", "authorization", format!("Bearer {KEY}")),
    ] {
        let mut spec = spec(kind, server.url(base));
        if kind == Kind::Vertex {
            (spec.region, spec.project) = (Some("global".to_owned()), Some("p".to_owned()));
        }
        let upstream = made(spec, &[KEY]);
        let sent = upstream.send(ask(service, false, CHAT)).await.unwrap();
        assert!(!sent.events && sent.status == 200);
        assert_eq!(text(sent).await, "{\"ok\":1}");
        let seen = server.seen().pop().unwrap();
        assert_eq!(seen.line, format!("POST {path} HTTP/1.1"), "{kind:?}");
        assert_eq!(seen.header(header), Some(value.as_str()), "{kind:?}");
        assert_eq!(seen.body, CHAT.as_bytes(), "{kind:?}");
        assert_eq!(seen.header("host"), Some(server.address.to_string().as_str()));
        assert_eq!(seen.header("accept-encoding"), Some("identity"));
        assert!(seen.header("user-agent").unwrap().starts_with("cofferdam/"));
        let anthropic = matches!(service, Service::Messages | Service::CountTokens);
        assert_eq!(seen.header("anthropic-version"), anthropic.then_some("2023-06-01"));
    }
}

#[tokio::test]
async fn the_callers_headers_pass_by_a_list_and_the_operators_are_added() {
    let server = Server::always(json(200, "{}")).await;
    let mut spec = spec(Kind::Anthropic, server.url(""));
    spec.headers.insert("x-team".to_owned(), "blue".to_owned());
    let mut call = ask(Service::Messages, true, CHAT);
    let given: HeaderMap = [
        ("authorization", "Bearer callers"),
        ("x-api-key", "callers"),
        ("x-xpander-api-key", "callers"),
        ("cookie", "callers"),
        ("x-team", "callers"),
        ("anthropic-version", "2024-01-01"),
        ("anthropic-beta", "one,two"),
        ("user-agent", "client/1"),
        ("x-stainless-lang", "python"),
        ("x-forwarded-for", "callers"),
    ]
    .into_iter()
    .map(|(name, value)| (name.parse::<http::HeaderName>().unwrap(), value.parse().unwrap()))
    .collect();
    call.headers = given;
    made(spec, &[KEY]).send(call).await.unwrap();
    let seen = server.seen().pop().unwrap();
    assert!(!format!("{seen:?}").contains("callers"), "{seen:?}");
    for (name, value) in [
        ("anthropic-version", "2024-01-01"),
        ("anthropic-beta", "one,two"),
        ("user-agent", "client/1"),
        ("x-stainless-lang", "python"),
        ("x-team", "blue"),
        ("accept", "text/event-stream"),
        ("x-api-key", KEY),
    ] {
        assert_eq!(seen.header(name), Some(value), "{name}");
    }
}

#[tokio::test]
async fn a_server_of_ones_own_needs_no_key_and_may_speak_more() {
    let server = Server::always(json(200, "{}")).await;
    let own = UpstreamSpec {
        services: Some(vec![Service::Responses, Service::Messages]),
        ..spec(Kind::Compatible, server.url("/v1"))
    };
    let upstream = made(own, &[]);
    assert!(!upstream.speaks(Service::Chat) && upstream.native() == cofferdam_dialects::Dialect::Responses);
    upstream.send(ask(Service::Messages, false, CHAT)).await.unwrap();
    assert!(upstream.send(ask(Service::Chat, false, CHAT)).await.is_err());
    let seen = server.seen();
    assert_eq!((seen.len(), seen[0].path(), seen[0].header("authorization")), (1, "/v1/messages", None));
}

#[tokio::test]
async fn names_of_models_do_not_leave_their_place_in_a_path() {
    let server = Server::always(json(200, "{}")).await;
    let dated = UpstreamSpec { api_version: Some("2024-10-21".to_owned()), ..spec(Kind::Azure, server.url("")) };
    let upstream = made(dated, &[KEY]);
    for (model, path) in [
        ("gpt-4.1", Some("/openai/deployments/gpt-4.1/chat/completions?api-version=2024-10-21")),
        ("a/../../b?c#d", Some("/openai/deployments/a%2F..%2F..%2Fb%3Fc%23d/chat/completions?api-version=2024-10-21")),
        ("..", None),
        (".", None),
        ("", None),
    ] {
        let mut call = ask(Service::Chat, false, CHAT);
        call.model = model.to_owned();
        let sent = upstream.send(call).await;
        assert_eq!(sent.is_ok(), path.is_some(), "{model}");
        if let Some(path) = path {
            assert_eq!(server.seen().pop().unwrap().path(), path);
        }
    }
}
