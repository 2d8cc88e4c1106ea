//! Valid and invalid settings.

use super::*;

const TOKEN: &str = "hush-0123456789-hush-abcdef";

fn parse(flags: Flags, env: &[(&str, &str)], file: Option<&str>) -> Result<Config, String> {
    let env: Vec<(String, String)> = env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    let look = move |name: &str| {
        let found = env.iter().find(|(k, _)| k == name).map(|(_, v)| v.clone());
        found.or_else(|| (name == "HOME").then(|| "/home/x".to_owned()))
    };
    Config::parse(&flags, &look, file).map_err(|e| e.to_string())
}

#[test]
fn nothing_said_means_the_documented_defaults() {
    let config = parse(Flags::default(), &[], None).unwrap();
    assert_eq!(config.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(config.data_dir, PathBuf::from("/home/x/.local/share/cofferdam"));
    assert_eq!(config.database.url.expose(), "sqlite:///home/x/.local/share/cofferdam/cofferdam.db?mode=rwc");
    assert!(config.roles.local_worker() && config.workers.remote.is_empty());
    assert_eq!(config.keys.max_per_organization, 1_000);
}

#[test]
fn a_flag_beats_the_environment_and_that_the_file() {
    let file = Some("listen = \"127.0.0.1:1\"\ndrain_s = 7\n[limits.maximum]\nwall_ms = 5");
    let env = [("COFFERDAM_LISTEN", "127.0.0.1:2"), ("COFFERDAM_MAX_CPU_MS", "9")];
    let config = parse(Flags { listen: Some("127.0.0.1:3".into()), ..Flags::default() }, &env, file).unwrap();
    assert_eq!(config.listen.port(), 3);
    assert_eq!(parse(Flags::default(), &env, file).unwrap().listen.port(), 2);
    assert_eq!(parse(Flags::default(), &[], file).unwrap().listen.port(), 1);
    assert_eq!((config.limits.maximum.wall_ms, config.limits.maximum.cpu_ms, config.drain.as_secs()), (5, 9, 7));
}

#[test]
fn the_number_of_keys_is_a_setting() {
    let file = Some("[keys]\nmax_per_organization = 7");
    assert_eq!(parse(Flags::default(), &[], file).unwrap().keys.max_per_organization, 7);
    let env = [("COFFERDAM_MAX_KEYS_PER_ORGANIZATION", "5")];
    assert_eq!(parse(Flags::default(), &env, file).unwrap().keys.max_per_organization, 5);
}

#[test]
fn rates_are_settings_and_none_by_default() {
    let rates = |env: &[(&str, &str)], file| parse(Flags::default(), env, file).map(|config| config.rates);
    assert_eq!(rates(&[], None).unwrap(), RatesConfig::default());
    let file =
        Some("[keys]\nrequests_per_minute = 7\n[organizations]\nrequests_per_minute = 8\nmax_concurrent_tasks = 9");
    let found = rates(&[("COFFERDAM_KEY_REQUESTS_PER_MINUTE", "5")], file).unwrap();
    let organization = found.organization;
    assert_eq!(
        (found.key_requests_per_minute, organization.requests_per_minute, organization.max_concurrent_tasks),
        (Some(5), Some(8), Some(9))
    );
    for wrong in ["0", "-1", "x", "1000000001"] {
        let said = rates(&[("COFFERDAM_ORGANIZATION_MAX_TASKS", wrong)], None).unwrap_err();
        assert!(said.starts_with("COFFERDAM_ORGANIZATION_MAX_TASKS: "), "{said}");
    }
}

#[test]
fn the_redis_is_named_by_the_environment_or_the_file_and_not_shown() {
    let file = Some("redis_url = \"redis://:hunter2@one/\"");
    let config = parse(Flags::default(), &[], file).unwrap();
    assert_eq!(config.redis_url.as_ref().unwrap().expose(), "redis://:hunter2@one/");
    assert!(!format!("{config:?}").contains("hunter2"));
    let config = parse(Flags::default(), &[("REDIS_URL", "redis://two/")], file).unwrap();
    assert_eq!(config.redis_url.unwrap().expose(), "redis://two/");
}

#[test]
fn an_agent_worker_needs_its_controllers_database_and_key() {
    let flags = || Flags { roles: vec!["agent-worker".to_owned()], ..Flags::default() };
    let database = ("DATABASE_URL", "postgres://db/cofferdam");
    assert!(parse(flags(), &[], None).expect_err("no database").contains("agent-worker needs DATABASE_URL"));
    assert!(parse(flags(), &[database], None).expect_err("no key").contains("COFFERDAM_ENCRYPTION_KEY"));
    let all = [database, ("COFFERDAM_ENCRYPTION_KEY", "k"), ("COFFERDAM_AGENT_SLOTS", "7")];
    let config = parse(flags(), &all, None).unwrap();
    let roles = &config.roles;
    assert!(
        roles.agents_only() && !roles.serves() && !roles.carries() && !roles.serves_models() && !roles.local_worker()
    );
    assert_eq!(config.agent_slots, 7);
    let all = parse(Flags::default(), &[], None).unwrap();
    assert!(all.roles.runs_agents() && !all.roles.agents_only() && all.agent_slots == 64);
    assert!(parse(Flags::default(), &[("COFFERDAM_AGENT_SLOTS", "0")], None).is_err());
}

#[test]
fn records_of_calls_are_kept_as_long_as_is_said() {
    let days = |env: &[(&str, &str)], file| {
        let usage = parse(Flags::default(), env, file).unwrap().models.usage;
        (usage.keep_days, usage.content_keep_days, usage.alone)
    };
    let file = Some("[usage]\ndays = 0\ncontent_days = 3");
    assert_eq!(days(&[], None), (90, 30, true));
    assert_eq!(days(&[], file), (0, 3, true));
    let env = [("COFFERDAM_USAGE_DAYS", "7"), ("DATABASE_URL", "postgres://db/cofferdam")];
    assert_eq!(days(&env, file), (7, 3, false));
}

#[test]
fn what_does_not_parse_is_refused_whole() {
    for (roles, env, file, part) in [
        (vec![], vec![], Some("listen = "), "configuration file"),
        (vec![], vec![], Some("[limits.maximum]\nwall = 5"), "unknown field"),
        (vec![], vec![("COFFERDAM_LISTEN", "here")], None, "listen"),
        (vec![], vec![("COFFERDAM_MAX_WALL_MS", "-1")], None, "COFFERDAM_MAX_WALL_MS"),
        (vec![], vec![("COFFERDAM_MAX_WALL_MS", "0")], None, "at least 1"),
        (vec![], vec![("DATABASE_URL", "mysql://x")], None, "DATABASE_URL"),
        (
            vec![],
            vec![("COFFERDAM_WORKERS", "unix:///x"), ("COFFERDAM_WORKER_TOKEN", TOKEN)],
            None,
            "COFFERDAM_WORKERS",
        ),
        (vec![], vec![("COFFERDAM_WORKERS", "http://w:1")], None, "COFFERDAM_WORKER_TOKEN"),
        (vec![], vec![("COFFERDAM_API_KEY", "a")], None, "COFFERDAM_API_KEY: has 1 characters"),
        (vec![], vec![("COFFERDAM_WORKER_TOKEN", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")], None, "repeats itself"),
        (vec![], vec![("COFFERDAM_USAGE_DAYS", "36501")], None, "COFFERDAM_USAGE_DAYS: at most"),
        (vec![], vec![("COFFERDAM_USAGE_DAYS", "many")], None, "COFFERDAM_USAGE_DAYS"),
        (vec![], vec![], Some("[usage]\nweeks = 1"), "unknown field"),
        (vec![], vec![], Some("[[models.upstreams]]\nname = \"a\"\nkind = \"open\""), "models.upstreams[0]"),
        (vec![], vec![("HTTPS_PROXY", "ftp://x")], None, "HTTPS_PROXY"),
        (vec![], vec![("OPENAI_BASE_URL", "not an address")], None, "OPENAI_BASE_URL"),
        (vec!["mcp"], vec![], None, "there is no role"),
        (vec!["code-runner"], vec![], None, "COFFERDAM_WORKER_TOKEN"),
        (vec!["code-runner", "api"], vec![("COFFERDAM_WORKER_TOKEN", TOKEN)], None, "alone"),
        (vec!["controller"], vec![], None, "COFFERDAM_WORKERS"),
    ] {
        let flags = Flags { roles: roles.iter().map(|r| (*r).to_owned()).collect(), ..Flags::default() };
        let error = parse(flags, &env, file).expect_err(part);
        assert!(error.contains(part), "{error}, expected {part}");
    }
}

#[test]
fn workers_are_named_by_their_address_and_secrets_are_not_shown() {
    let env = [("COFFERDAM_WORKERS", "http://a:1, http://b:2/"), ("COFFERDAM_WORKER_TOKEN", TOKEN)];
    let config = parse(Flags { roles: vec!["controller".into()], ..Flags::default() }, &env, None).unwrap();
    let names: Vec<_> = config.workers.remote.iter().map(|w| w.authority.as_str()).collect();
    assert_eq!(names, ["a:1", "b:2"]);
    assert!(!config.roles.local_worker());
    assert!(!format!("{config:?}").contains(TOKEN));
}

#[test]
fn an_ai_gateway_needs_its_controllers_database_and_key_and_no_workers() {
    let flags = |roles: &[&str]| Flags { roles: roles.iter().map(|r| (*r).to_owned()).collect(), ..Flags::default() };
    let database = ("DATABASE_URL", "postgres://db/cofferdam");
    let all = [database, ("COFFERDAM_ENCRYPTION_KEY", "k")];
    assert!(
        parse(flags(&["ai-gateway"]), &[], None).expect_err("no database").contains("ai-gateway needs DATABASE_URL")
    );
    let error = parse(flags(&["ai-gateway"]), &[database], None).expect_err("no key");
    assert!(error.contains("COFFERDAM_ENCRYPTION_KEY"), "{error}");
    let roles = parse(flags(&["ai-gateway"]), &all, None).unwrap().roles;
    assert!(roles.models_only() && !roles.serves() && !roles.local_worker() && !roles.carries());
    let roles = parse(flags(&["ai-gateway", "aws-operator"]), &all, None).unwrap().roles;
    assert!(roles.models_only() && roles.carries() && !roles.carries_only());
    let roles = parse(Flags::default(), &[], None).unwrap().roles;
    assert!(roles.serves_models() && !roles.models_only());
    for (names, keeps) in [
        (&[][..], true),
        (&["ai-gateway"], false),
        (&["aws-operator"], false),
        (&["ai-gateway", "aws-operator"], false),
    ] {
        assert_eq!(parse(flags(names), &all, None).unwrap().roles.keeps_files(), keeps, "{names:?}");
        let homeless = |name: &str| all.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        assert_eq!(Config::parse(&flags(names), &homeless, None).is_err(), keeps, "{names:?} without a home");
    }
}

#[test]
fn an_aws_operator_needs_its_controllers_database_and_key_and_no_workers() {
    let flags = || Flags { roles: vec!["aws-operator".into()], ..Flags::default() };
    let database = ("DATABASE_URL", "postgres://db/cofferdam");
    assert!(parse(flags(), &[], None).expect_err("no database").contains("DATABASE_URL"));
    assert!(parse(flags(), &[database], None).expect_err("no key").contains("COFFERDAM_ENCRYPTION_KEY"));
    let config = parse(flags(), &[database, ("COFFERDAM_ENCRYPTION_KEY", "k")], None).unwrap();
    assert!(config.roles.carries_only() && !config.roles.serves() && !config.roles.local_worker());
    let all = parse(Flags::default(), &[], None).unwrap().roles;
    assert!(all.carries() && all.serves() && !all.carries_only());
}
