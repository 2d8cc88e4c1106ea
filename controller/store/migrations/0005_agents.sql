-- Container agents: where they run, their deployments, and what happened to each. Times ending in `_ms` are Unix
-- milliseconds, others Unix seconds.

-- Of environments that are not the process's own: settings in JSON, and those of them that are secret, sealed.
ALTER TABLE environments ADD COLUMN settings TEXT NOT NULL DEFAULT '';
ALTER TABLE environments ADD COLUMN sealed TEXT NOT NULL DEFAULT '';
ALTER TABLE environments ADD COLUMN updated_at BIGINT NOT NULL DEFAULT 0;

CREATE TABLE agents (
    organization TEXT NOT NULL REFERENCES organizations (id),
    id TEXT NOT NULL,
    name TEXT NOT NULL,
    environment TEXT NOT NULL,
    -- `run`, `stop` or `delete`.
    wanted TEXT NOT NULL,
    -- The newest deployment's number, and how often a deployment was asked to run.
    last_number BIGINT NOT NULL,
    last_turn BIGINT NOT NULL,
    -- The number of the deployment that serves; 0 where none does.
    serving BIGINT NOT NULL,
    -- 1 where the driver has something to do or to watch.
    active BIGINT NOT NULL,
    -- How often it was changed since the driver looked last.
    dirty BIGINT NOT NULL,
    -- Who drives it, and until when nobody else does.
    lease_owner TEXT NOT NULL,
    lease_until_ms BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (organization, id)
);
CREATE INDEX agents_by_lease ON agents (active, lease_until_ms);
CREATE INDEX agents_by_owner ON agents (lease_owner, dirty);
CREATE INDEX agents_by_environment ON agents (organization, environment);

CREATE TABLE deployments (
    id TEXT NOT NULL PRIMARY KEY,
    organization TEXT NOT NULL,
    agent TEXT NOT NULL,
    number BIGINT NOT NULL,
    -- The order in which deployments were asked to run; 0 where this one was not yet.
    turn BIGINT NOT NULL,
    state TEXT NOT NULL,
    -- Empty, or a `FailureReason`.
    reason TEXT NOT NULL,
    detail TEXT NOT NULL,
    exit_code BIGINT,
    -- A JSON list, secrets replaced.
    last_lines TEXT NOT NULL,
    -- Where its image comes from, in JSON.
    source TEXT NOT NULL,
    -- `host/path@sha256:...` as it was pushed or resolved; empty until then.
    image TEXT NOT NULL,
    architecture TEXT NOT NULL,
    -- The image's user; 0 where that is root, a name or not known.
    run_as BIGINT NOT NULL,
    size_bytes BIGINT NOT NULL,
    received_bytes BIGINT NOT NULL,
    -- What it asks for, in JSON: resources, names of secrets.
    spec TEXT NOT NULL,
    -- 1 where the cluster may have something of it.
    placed BIGINT NOT NULL,
    -- 1 until it is settled for good and nothing of it is left.
    live BIGINT NOT NULL,
    attempts BIGINT NOT NULL,
    retry_at_ms BIGINT NOT NULL,
    since_ms BIGINT NOT NULL,
    -- When it was up first; 0 where it never was.
    up_at_ms BIGINT NOT NULL,
    crashes BIGINT NOT NULL,
    events BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    UNIQUE (organization, agent, number),
    FOREIGN KEY (organization, agent) REFERENCES agents (organization, id)
);
CREATE INDEX deployments_by_live ON deployments (live, organization, agent);
CREATE INDEX deployments_by_state ON deployments (state, updated_at);

-- A deployment's own environment variables, sealed.
CREATE TABLE deployment_variables (
    deployment TEXT NOT NULL PRIMARY KEY REFERENCES deployments (id),
    sealed TEXT NOT NULL
);

CREATE TABLE deployment_events (
    deployment TEXT NOT NULL REFERENCES deployments (id),
    seq BIGINT NOT NULL,
    at_ms BIGINT NOT NULL,
    state TEXT NOT NULL,
    reason TEXT NOT NULL,
    detail TEXT NOT NULL,
    PRIMARY KEY (deployment, seq)
);

-- Variables of every agent of an organization, each sealed.
CREATE TABLE agent_variables (
    organization TEXT NOT NULL REFERENCES organizations (id),
    name TEXT NOT NULL,
    sealed TEXT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (organization, name)
);

-- Requests that carry an idempotency key, with what they came to.
CREATE TABLE idempotency_keys (
    organization TEXT NOT NULL REFERENCES organizations (id),
    name TEXT NOT NULL,
    -- SHA-256 of what was asked.
    request TEXT NOT NULL,
    agent TEXT NOT NULL,
    -- The deployment's number; 0 where the request was about the agent.
    number BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (organization, name)
);
CREATE INDEX idempotency_keys_by_age ON idempotency_keys (created_at);

-- What is known of layers that were pushed: hints, by registry and organization.
CREATE TABLE layer_cache (
    scope TEXT NOT NULL,
    name TEXT NOT NULL,
    content TEXT NOT NULL,
    used_at BIGINT NOT NULL,
    PRIMARY KEY (scope, name)
);
CREATE INDEX layer_cache_by_use ON layer_cache (used_at);
