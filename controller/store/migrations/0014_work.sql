-- Agents at work: threads, tasks, messages, events, receipts, the queue. Times ending in `_ms` are Unix milliseconds.

-- Worker processes. A lease of a task lives while its worker beats.
CREATE TABLE work_workers (
    id TEXT NOT NULL PRIMARY KEY,
    beat_until_ms BIGINT NOT NULL,
    started_at_ms BIGINT NOT NULL
);

CREATE TABLE threads (
    id TEXT NOT NULL PRIMARY KEY,
    organization TEXT NOT NULL,
    agent TEXT NOT NULL,
    -- The key that made it: sandboxes' sessions of the thread belong to it.
    api_key TEXT NOT NULL,
    title TEXT NOT NULL,
    -- The person it belongs to, as the caller said; empty where none was named.
    person TEXT NOT NULL,
    forked_from TEXT NOT NULL,
    -- The task that runs, waits for a worker or for a person; empty where none does.
    active TEXT NOT NULL,
    -- Tasks that wait for it to end.
    waiting BIGINT NOT NULL,
    last_event BIGINT NOT NULL,
    last_message BIGINT NOT NULL,
    -- What the loop keeps with the thread, in JSON: the sandbox's session, the plan.
    state TEXT NOT NULL,
    created_at_ms BIGINT NOT NULL,
    updated_at_ms BIGINT NOT NULL,
    -- The day of its last use, in days since 1970: an index on the time itself would cost an entry for every write.
    used_day BIGINT NOT NULL
);
CREATE INDEX threads_by_organization ON threads (organization, created_at_ms, id);
CREATE INDEX threads_by_agent ON threads (organization, agent, created_at_ms, id);
CREATE INDEX threads_by_age ON threads (used_day);

CREATE TABLE tasks (
    id TEXT NOT NULL PRIMARY KEY,
    organization TEXT NOT NULL,
    agent TEXT NOT NULL,
    agent_version TEXT NOT NULL,
    thread TEXT NOT NULL,
    -- On whose behalf: the key's id and its scopes at that time.
    api_key TEXT NOT NULL,
    scopes TEXT NOT NULL,
    status TEXT NOT NULL,
    why TEXT NOT NULL,
    detail TEXT NOT NULL,
    -- The request, in JSON (`InvokeRequest`).
    request TEXT NOT NULL,
    result TEXT,
    output TEXT,
    problem TEXT,
    title TEXT NOT NULL,
    source TEXT NOT NULL,
    priority BIGINT NOT NULL,
    deadline_ms BIGINT,
    -- The task that made it, the call of that task, and how deep it is.
    parent TEXT NOT NULL,
    parent_call TEXT NOT NULL,
    root TEXT NOT NULL,
    depth BIGINT NOT NULL,
    -- The order of tasks of one thread.
    turn BIGINT NOT NULL,
    -- The lease: who works on it, and the how-manieth hand-out it is.
    worker TEXT NOT NULL,
    attempt BIGINT NOT NULL,
    -- Hand-outs that ended without a word: the worker died.
    lost BIGINT NOT NULL,
    retries BIGINT NOT NULL,
    -- `stop` or `pause`: what a person asked for, and its worker has not done yet.
    asked TEXT NOT NULL,
    -- 1 if something that it waits for has happened while a worker has it.
    woken BIGINT NOT NULL,
    steps BIGINT NOT NULL,
    prompt_tokens BIGINT NOT NULL,
    completion_tokens BIGINT NOT NULL,
    cache_read_tokens BIGINT NOT NULL,
    cache_write_tokens BIGINT NOT NULL,
    -- Nano-dollars.
    cost BIGINT NOT NULL,
    -- Work so far, without waiting.
    worked_ms BIGINT NOT NULL,
    used_tools TEXT NOT NULL,
    metadata TEXT NOT NULL,
    created_at_ms BIGINT NOT NULL,
    started_at_ms BIGINT,
    paused_at_ms BIGINT,
    finished_at_ms BIGINT,
    updated_at_ms BIGINT NOT NULL
);
CREATE INDEX tasks_by_organization ON tasks (organization, created_at_ms, id);
CREATE INDEX tasks_by_agent ON tasks (organization, agent, created_at_ms, id);
CREATE INDEX tasks_by_thread ON tasks (thread, turn);
CREATE INDEX tasks_by_parent ON tasks (parent) WHERE parent <> '';
CREATE INDEX tasks_by_worker ON tasks (worker) WHERE worker <> '';
CREATE INDEX tasks_by_asked ON tasks (asked) WHERE asked <> '';
-- Unfinished ones, counted and listed, and dead letters.
CREATE INDEX tasks_by_status ON tasks (organization, status, created_at_ms, id)
    WHERE status IN ('pending', 'executing', 'paused', 'error');

-- Tasks that are ready to be handed out, once each.
CREATE TABLE task_queue (
    -- `organization/agent`.
    lane TEXT NOT NULL,
    -- Lower is earlier: the task's priority, turned round.
    rank BIGINT NOT NULL,
    position BIGINT NOT NULL,
    task TEXT NOT NULL UNIQUE,
    at_ms BIGINT NOT NULL,
    PRIMARY KEY (lane, rank, position)
);

CREATE TABLE work_timers (
    task TEXT NOT NULL,
    -- `ready`, `deadline`, `expiry` of the call in `call`, `children` that are to be stopped.
    kind TEXT NOT NULL,
    call TEXT NOT NULL,
    at_ms BIGINT NOT NULL,
    PRIMARY KEY (task, kind, call)
);
CREATE INDEX work_timers_by_time ON work_timers (at_ms);

CREATE TABLE messages (
    thread TEXT NOT NULL,
    seq BIGINT NOT NULL,
    task TEXT NOT NULL,
    role TEXT NOT NULL,
    -- `Content` in JSON.
    content TEXT NOT NULL,
    at_ms BIGINT NOT NULL,
    PRIMARY KEY (thread, seq)
);

-- Messages that full text search does not know yet: their thread, and the first and the last of them.
CREATE TABLE messages_unindexed (
    number BIGINT NOT NULL PRIMARY KEY,
    thread TEXT NOT NULL,
    first BIGINT NOT NULL,
    last BIGINT NOT NULL
);

CREATE TABLE thread_events (
    thread TEXT NOT NULL,
    id BIGINT NOT NULL,
    task TEXT NOT NULL,
    kind TEXT NOT NULL,
    -- JSON.
    data TEXT NOT NULL,
    at_ms BIGINT NOT NULL,
    PRIMARY KEY (thread, id)
);

-- One for each tool call, written before it is sent.
CREATE TABLE receipts (
    task TEXT NOT NULL,
    call TEXT NOT NULL,
    step BIGINT NOT NULL,
    -- The order within the step.
    place BIGINT NOT NULL,
    tool TEXT NOT NULL,
    arguments TEXT NOT NULL,
    digest TEXT NOT NULL,
    state TEXT NOT NULL,
    -- 1 where the call may be made again.
    repeatable BIGINT NOT NULL,
    -- `ToolResult` in JSON, where it is known.
    result TEXT,
    child TEXT NOT NULL,
    message TEXT NOT NULL,
    on_timeout TEXT NOT NULL,
    expires_at_ms BIGINT,
    decided_by TEXT NOT NULL,
    note TEXT NOT NULL,
    created_at_ms BIGINT NOT NULL,
    updated_at_ms BIGINT NOT NULL,
    PRIMARY KEY (task, call)
);

-- Requests that carry an idempotency key.
CREATE TABLE task_keys (
    organization TEXT NOT NULL,
    name TEXT NOT NULL,
    -- SHA-256 of what was asked.
    request TEXT NOT NULL,
    task TEXT NOT NULL,
    created_at_ms BIGINT NOT NULL,
    PRIMARY KEY (organization, name)
);
CREATE INDEX task_keys_by_age ON task_keys (created_at_ms);
