use super::*;

fn read(text: &str) -> Result<UpstreamSpec, String> {
    let spec: UpstreamSpec = serde_json::from_str(text).map_err(|why| why.to_string())?;
    spec.check().map(|()| spec)
}

#[test]
fn settings_are_read_written_and_have_defaults() {
    let text = r#"{"kind":"openai","models":["gpt-5.2",{"name":"a","target":"b","reasons":false}]}"#;
    let spec = read(text).unwrap();
    assert_eq!((spec.connect_timeout_s, spec.first_byte_timeout_s, spec.timeout_s), (10, 300, 1_800));
    assert_eq!((spec.models[0].there(), spec.models[1].there(), spec.models[1].reasons), ("gpt-5.2", "b", Some(false)));
    let written = serde_json::to_value(&spec).unwrap();
    assert_eq!(written["models"], serde_json::json!(["gpt-5.2", {"name": "a", "target": "b", "reasons": false}]));
    assert_eq!(serde_json::from_value::<UpstreamSpec>(written).unwrap(), spec);
    let spec = read(r#"{"kind":"compatible","base_url":"http://[::1]:1/v1","services":["messages","count_tokens"]}"#);
    assert_eq!(spec.unwrap().offers(), [Service::Messages, Service::CountTokens]);
}

#[test]
fn what_is_wrong_is_named() {
    for (text, part) in [
        (r#"{"kind":"other"}"#, "unknown variant"),
        (r#"{"kind":"openai","key":"x"}"#, "unknown field `key`"),
        (r#"{"kind":"openai","models":[{"name":"a","other":1}]}"#, "unknown field `other`"),
        (r#"{"kind":"openai","models":[""]}"#, "empty"),
        (r#"{"kind":"openai","models":["a","a"]}"#, "models[1]"),
        (r#"{"kind":"openai","models":["a b"]}"#, "models[0]"),
        (r#"{"kind":"openai","models":[{"name":"a","max_tokens":0}]}"#, "models[0].max_tokens"),
        (r#"{"kind":"azure"}"#, "base_url: the kind azure needs it"),
        (r#"{"kind":"compatible"}"#, "base_url"),
        (r#"{"kind":"bedrock"}"#, "region"),
        (r#"{"kind":"bedrock","region":"a.evil.example/"}"#, "region"),
        (r#"{"kind":"bedrock","region":"a.b"}"#, "region"),
        (r#"{"kind":"vertex","region":"eu"}"#, "project"),
        (r#"{"kind":"vertex","region":"eu","project":"a/../b"}"#, "project"),
        (r#"{"kind":"openai","project":"p"}"#, "project: is not used"),
        (r#"{"kind":"openai","api_version":"v"}"#, "api_version: is not used"),
        (r#"{"kind":"azure","base_url":"https://a.example","api_version":"v&x=y"}"#, "api_version"),
        (r#"{"kind":"openai","base_url":"https://u:p@a.example"}"#, "base_url"),
        (r#"{"kind":"openai","services":["messages"]}"#, "services: the kind openai has no messages"),
        (r#"{"kind":"openai","services":[]}"#, "services"),
        (r#"{"kind":"openai","timeout_s":0}"#, "timeout_s"),
        (r#"{"kind":"openai","idle_timeout_s":99999999}"#, "idle_timeout_s"),
        (r#"{"kind":"openai","max_concurrent":0}"#, "max_concurrent"),
        (r#"{"kind":"openai","ca":"nothing"}"#, "ca:"),
        (r#"{"kind":"openai","proxy":"http://u:p@p.example"}"#, "proxy:"),
        (r#"{"kind":"openai","headers":{"Authorization":"x"}}"#, "headers: authorization"),
        (r#"{"kind":"openai","headers":{"x-amz-date":"x"}}"#, "headers: x-amz-date"),
        (r#"{"kind":"openai","headers":{"a b":"x"}}"#, "headers:"),
        (r#"{"kind":"openai","headers":{"a":"x\r\ny: z"}}"#, "headers: the value of a"),
    ] {
        let why = read(text).unwrap_err();
        assert!(why.contains(part), "{text}: {why}");
    }
}
