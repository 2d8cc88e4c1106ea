-- What models were used for: budgets' accounts, the shares that processes have leased of them, and one record for each call.

-- An account is a budget of one subject in one window of time.
CREATE TABLE model_accounts (
    account TEXT PRIMARY KEY,
    organization TEXT NOT NULL,
    budget TEXT NOT NULL,
    -- In the budget's unit; money in nano-dollars.
    used BIGINT NOT NULL,
    -- Unix time in milliseconds after which nobody asks for it.
    kept_until BIGINT NOT NULL
);
CREATE INDEX model_accounts_by_age ON model_accounts (kept_until);
CREATE INDEX model_accounts_by_budget ON model_accounts (organization, budget, kept_until);

-- Whoever changes a share has the account's row first.
CREATE TABLE model_shares (
    account TEXT NOT NULL,
    process TEXT NOT NULL,
    -- The amount that this process may spend without asking.
    amount BIGINT NOT NULL,
    -- The part of it that calls hold which are recorded as running. Counted as used, if the process dies.
    held BIGINT NOT NULL,
    -- Held when the process was taken for dead, and counted as used since then. Taken back if the process lives after all.
    lost BIGINT NOT NULL,
    -- 1: somebody else is short; the process gives back what it can spare.
    wanted BIGINT NOT NULL,
    PRIMARY KEY (account, process)
);
CREATE INDEX model_shares_by_process ON model_shares (process, wanted);

CREATE TABLE model_processes (
    process TEXT PRIMARY KEY,
    -- The number of the last flush that was written: each is written once.
    flushed BIGINT NOT NULL,
    -- Unix time in milliseconds. The shares of a process that was not seen for long are nobody's.
    seen_at BIGINT NOT NULL
);

-- Times in milliseconds, money in nano-dollars.
CREATE TABLE model_usage (
    id TEXT PRIMARY KEY,
    organization TEXT NOT NULL,
    at_ms BIGINT NOT NULL,
    api_key TEXT NOT NULL,
    agent TEXT,
    task TEXT,
    door TEXT NOT NULL,
    asked TEXT NOT NULL,
    served TEXT,
    upstream TEXT,
    tries BIGINT NOT NULL,
    input BIGINT NOT NULL,
    cached BIGINT NOT NULL,
    cache_written BIGINT NOT NULL,
    reasoning BIGINT NOT NULL,
    output BIGINT NOT NULL,
    money BIGINT NOT NULL,
    first_token_ms BIGINT,
    wall_ms BIGINT NOT NULL,
    ending TEXT NOT NULL,
    estimated BIGINT NOT NULL,
    -- The process that makes the call, while it runs.
    process TEXT
);
CREATE INDEX model_usage_by_time ON model_usage (organization, at_ms);
CREATE INDEX model_usage_by_process ON model_usage (process) WHERE process IS NOT NULL;
CREATE INDEX model_usage_by_task ON model_usage (organization, task, at_ms) WHERE task IS NOT NULL;

-- What was said, redacted; only where an organization asks for it.
CREATE TABLE model_usage_contents (
    id TEXT PRIMARY KEY,
    organization TEXT NOT NULL,
    at_ms BIGINT NOT NULL,
    request TEXT NOT NULL,
    answer TEXT NOT NULL
);
CREATE INDEX model_usage_contents_by_time ON model_usage_contents (organization, at_ms);
