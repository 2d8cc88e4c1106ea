-- One text for SQLite and PostgreSQL: ids are text, times are Unix seconds.

CREATE TABLE organizations (
    id TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    created_at BIGINT NOT NULL
);

CREATE TABLE environments (
    id TEXT NOT NULL PRIMARY KEY,
    organization TEXT NOT NULL REFERENCES organizations (id),
    name TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    UNIQUE (organization, name)
);

CREATE TABLE api_keys (
    id TEXT NOT NULL PRIMARY KEY,
    organization TEXT NOT NULL REFERENCES organizations (id),
    name TEXT NOT NULL,
    hash TEXT NOT NULL UNIQUE,
    scopes TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    revoked_at BIGINT
);
CREATE INDEX api_keys_by_organization ON api_keys (organization, created_at);

CREATE TABLE sessions (
    id TEXT NOT NULL PRIMARY KEY,
    organization TEXT NOT NULL REFERENCES organizations (id),
    api_key TEXT NOT NULL REFERENCES api_keys (id),
    language TEXT NOT NULL,
    worker TEXT NOT NULL,
    ttl_s BIGINT NOT NULL,
    limits TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    last_used_at BIGINT NOT NULL,
    ends_at BIGINT NOT NULL
);
CREATE INDEX sessions_by_key ON sessions (organization, api_key, id);
CREATE INDEX sessions_by_end ON sessions (ends_at);

CREATE TABLE snapshots (
    organization TEXT NOT NULL REFERENCES organizations (id),
    api_key TEXT NOT NULL REFERENCES api_keys (id),
    name TEXT NOT NULL,
    worker_key TEXT NOT NULL UNIQUE,
    language TEXT NOT NULL,
    worker TEXT NOT NULL,
    kernel TEXT NOT NULL,
    size_bytes BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (organization, api_key, name)
);
