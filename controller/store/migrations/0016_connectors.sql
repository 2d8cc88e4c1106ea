-- MCP servers whose tools agents may use, and the tokens of those who logged in there. Everything secret is sealed.

CREATE TABLE connectors (
    organization TEXT NOT NULL REFERENCES organizations (id),
    name TEXT NOT NULL,
    -- JSON without secrets.
    spec TEXT NOT NULL,
    sealed TEXT NOT NULL,
    -- Another one after each change.
    version TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (organization, name)
);

-- The client that this server has registered as, for one authorization server.
CREATE TABLE connector_clients (
    organization TEXT NOT NULL,
    connector TEXT NOT NULL,
    issuer TEXT NOT NULL,
    sealed TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (organization, connector, issuer),
    FOREIGN KEY (organization, connector) REFERENCES connectors (organization, name)
);

CREATE TABLE connector_tokens (
    organization TEXT NOT NULL,
    connector TEXT NOT NULL,
    -- Empty: the login of the whole organization.
    person TEXT NOT NULL,
    sealed TEXT NOT NULL,
    -- Another one after each login and refresh.
    version TEXT NOT NULL,
    -- The process that refreshes it, and until when nobody else does (Unix time in milliseconds).
    refresher TEXT,
    refreshing_until BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (organization, connector, person),
    FOREIGN KEY (organization, connector) REFERENCES connectors (organization, name)
);

-- Logins under way, by the SHA-256 of their state. Each is used once.
CREATE TABLE connector_logins (
    hash TEXT NOT NULL PRIMARY KEY,
    organization TEXT NOT NULL,
    connector TEXT NOT NULL,
    person TEXT NOT NULL,
    sealed TEXT NOT NULL,
    expires_at BIGINT NOT NULL,
    FOREIGN KEY (organization, connector) REFERENCES connectors (organization, name)
);
CREATE INDEX connector_logins_by_connector ON connector_logins (organization, connector);
CREATE INDEX connector_logins_by_expiry ON connector_logins (expires_at);
