-- Definitions of agents. There is one table of agents: those in containers have deployments, serverless ones have versions of
-- a definition. Times ending in `_ms` are Unix milliseconds.
ALTER TABLE agents ADD COLUMN kind TEXT NOT NULL DEFAULT 'container';
-- `DRAFT`, `ACTIVE` or `INACTIVE`.
ALTER TABLE agents ADD COLUMN status TEXT NOT NULL DEFAULT 'ACTIVE';
-- The version that tasks use, and the one that can be changed; 0 where there is none.
ALTER TABLE agents ADD COLUMN active_version BIGINT NOT NULL DEFAULT 0;
ALTER TABLE agents ADD COLUMN draft_version BIGINT NOT NULL DEFAULT 0;
ALTER TABLE agents ADD COLUMN last_version BIGINT NOT NULL DEFAULT 0;
-- Counted up with each change of the definition.
ALTER TABLE agents ADD COLUMN revision BIGINT NOT NULL DEFAULT 0;

CREATE TABLE agent_versions (
    organization TEXT NOT NULL,
    agent TEXT NOT NULL,
    version BIGINT NOT NULL,
    status TEXT NOT NULL,
    -- `AgentDefinition` in JSON.
    definition TEXT NOT NULL,
    digest TEXT NOT NULL,
    note TEXT NOT NULL,
    created_by TEXT NOT NULL,
    created_at_ms BIGINT NOT NULL,
    updated_at_ms BIGINT NOT NULL,
    PRIMARY KEY (organization, agent, version)
);

-- Facts that an agent keeps over threads; of a person, or of the agent where `person` is empty.
CREATE TABLE agent_memories (
    id TEXT NOT NULL PRIMARY KEY,
    organization TEXT NOT NULL,
    agent TEXT NOT NULL,
    person TEXT NOT NULL,
    content TEXT NOT NULL,
    created_at_ms BIGINT NOT NULL,
    updated_at_ms BIGINT NOT NULL
);
CREATE INDEX agent_memories_by_agent ON agent_memories (organization, agent, person, updated_at_ms);
