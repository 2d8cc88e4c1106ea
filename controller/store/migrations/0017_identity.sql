-- Organizations that an operator makes, bounds and ends; keys that expire, are rotated and limited; the audit log. Times are Unix
-- seconds, except those that end in `_ms`: Unix milliseconds.

-- The name that people read; empty where there is none besides the id.
ALTER TABLE organizations ADD COLUMN display_name TEXT NOT NULL DEFAULT '';
-- Limits; NULL where there is none.
ALTER TABLE organizations ADD COLUMN requests_per_minute BIGINT;
ALTER TABLE organizations ADD COLUMN max_concurrent_runs BIGINT;
ALTER TABLE organizations ADD COLUMN max_concurrent_tasks BIGINT;
-- Its keys are refused while this is set.
ALTER TABLE organizations ADD COLUMN disabled_at BIGINT;
-- A deleted organization's id is not given out again.
ALTER TABLE organizations ADD COLUMN deleted_at BIGINT;
-- Controllers look for what changed lately.
ALTER TABLE organizations ADD COLUMN changed_at BIGINT NOT NULL DEFAULT 0;
CREATE INDEX organizations_by_change ON organizations (changed_at);

ALTER TABLE api_keys ADD COLUMN expires_at BIGINT;
ALTER TABLE api_keys ADD COLUMN last_used_at BIGINT;
ALTER TABLE api_keys ADD COLUMN requests_per_minute BIGINT;
-- The id of the key that made it; empty for those of `serve`.
ALTER TABLE api_keys ADD COLUMN created_by TEXT NOT NULL DEFAULT '';
-- 1 for a key that may manage organizations.
ALTER TABLE api_keys ADD COLUMN operator BIGINT NOT NULL DEFAULT 0;
-- How often it was rotated, and the text before the last rotation with the time at which it ends.
ALTER TABLE api_keys ADD COLUMN rotations BIGINT NOT NULL DEFAULT 0;
ALTER TABLE api_keys ADD COLUMN old_hash TEXT;
ALTER TABLE api_keys ADD COLUMN old_expires_at BIGINT;
ALTER TABLE api_keys ADD COLUMN changed_at BIGINT NOT NULL DEFAULT 0;
CREATE INDEX api_keys_by_change ON api_keys (changed_at);
CREATE INDEX api_keys_by_old_hash ON api_keys (old_hash);

-- What was changed, by whom, and which callers were refused. Ids are in the order of time.
CREATE TABLE audit (
    id TEXT NOT NULL PRIMARY KEY,
    organization TEXT NOT NULL,
    at_ms BIGINT NOT NULL,
    -- The id of the key; empty where it is not known.
    api_key TEXT NOT NULL,
    action TEXT NOT NULL,
    target TEXT NOT NULL,
    outcome TEXT NOT NULL,
    -- The peer's address.
    address TEXT NOT NULL,
    -- JSON. Never a secret's value.
    detail TEXT NOT NULL
);
CREATE INDEX audit_by_organization ON audit (organization, id);
