-- Tools: names, their versions, and the names under which MCP clients see their functions.

CREATE TABLE tools (
    organization TEXT NOT NULL REFERENCES organizations (id),
    name TEXT NOT NULL,
    -- The number of the version that serves.
    current BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (organization, name)
);

CREATE TABLE tool_versions (
    organization TEXT NOT NULL,
    tool TEXT NOT NULL,
    number BIGINT NOT NULL,
    digest TEXT NOT NULL,
    -- What the component is, in JSON.
    component TEXT NOT NULL,
    -- What was asked for, in JSON; what the operator allows of it is decided when it is used.
    grants TEXT NOT NULL,
    limits TEXT NOT NULL,
    warnings TEXT NOT NULL,
    -- The reference it was pulled from; empty where it was uploaded.
    source TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (organization, tool, number),
    FOREIGN KEY (organization, tool) REFERENCES tools (organization, name) ON DELETE CASCADE
);
CREATE INDEX tool_versions_by_digest ON tool_versions (digest);

CREATE TABLE tool_names (
    organization TEXT NOT NULL,
    name TEXT NOT NULL,
    tool TEXT NOT NULL,
    PRIMARY KEY (organization, name),
    FOREIGN KEY (organization, tool) REFERENCES tools (organization, name) ON DELETE CASCADE
);
CREATE INDEX tool_names_by_tool ON tool_names (organization, tool);

-- Counts the changes of an organization's tools, so that others see that there are some.
CREATE TABLE tool_revisions (
    organization TEXT NOT NULL PRIMARY KEY REFERENCES organizations (id),
    revision BIGINT NOT NULL
);
