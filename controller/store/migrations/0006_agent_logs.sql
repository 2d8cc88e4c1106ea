-- The last number that was given out for a line of an agent's log. Kept when the agent is deleted: one of the same id goes
-- on behind it.
CREATE TABLE agent_logs (
    organization TEXT NOT NULL,
    agent TEXT NOT NULL,
    last_seq BIGINT NOT NULL,
    PRIMARY KEY (organization, agent)
);
