-- How models are reached: upstreams with sealed keys, aliases, rules, budgets, prices and privacy, each a JSON document of an
-- organization.

CREATE TABLE model_settings (
    organization TEXT NOT NULL REFERENCES organizations (id),
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    -- The keys of an upstream.
    sealed TEXT,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (organization, kind, name)
);

-- The change by which each organization's documents are as they are. The row without an organization has the newest of all:
-- every change takes the next number from it, and holds it until its transaction ends, so that numbers become visible in order.
CREATE TABLE model_revisions (
    organization TEXT PRIMARY KEY,
    revision BIGINT NOT NULL
);
CREATE INDEX model_revisions_by_revision ON model_revisions (revision);
INSERT INTO model_revisions (organization, revision) VALUES ('', 0);
