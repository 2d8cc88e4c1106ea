-- Tokens for the calls of one task of one agent, by the SHA-256 of their text.

CREATE TABLE run_tokens (
    id TEXT NOT NULL PRIMARY KEY,
    organization TEXT NOT NULL REFERENCES organizations (id),
    hash TEXT NOT NULL UNIQUE,
    -- The key that made it; the token is dead when the key is.
    api_key TEXT NOT NULL,
    agent TEXT NOT NULL,
    task TEXT NOT NULL,
    -- A JSON list of patterns of models; absent: all that the key may use.
    models TEXT,
    max_tokens BIGINT,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    ended_at BIGINT
);
CREATE INDEX run_tokens_by_organization ON run_tokens (organization, expires_at);
CREATE INDEX run_tokens_by_task ON run_tokens (organization, task);
CREATE INDEX run_tokens_by_expiry ON run_tokens (expires_at);
CREATE INDEX run_tokens_by_end ON run_tokens (ended_at);
