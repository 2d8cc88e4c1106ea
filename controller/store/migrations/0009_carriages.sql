-- Archives that lie in a bucket and are to be brought into a registry by a process with the role `aws-operator`.
CREATE TABLE carriages (
    deployment TEXT NOT NULL PRIMARY KEY,
    asked_ms BIGINT NOT NULL,
    -- Who brings it, and until when nobody else may.
    lease_owner TEXT NOT NULL,
    lease_until_ms BIGINT NOT NULL
);
CREATE INDEX carriages_by_lease ON carriages (lease_until_ms);
