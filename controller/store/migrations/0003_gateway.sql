-- What the gateway keeps: secrets, encrypted, and tools' key-value namespaces.

CREATE TABLE secrets (
    organization TEXT NOT NULL REFERENCES organizations (id),
    name TEXT NOT NULL,
    hosts TEXT NOT NULL,
    sealed TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (organization, name)
);

CREATE TABLE keyvalue_spaces (
    organization TEXT NOT NULL REFERENCES organizations (id),
    owner TEXT NOT NULL,
    key_count BIGINT NOT NULL,
    byte_count BIGINT NOT NULL,
    PRIMARY KEY (organization, owner)
);

CREATE TABLE keyvalue (
    organization TEXT NOT NULL,
    owner TEXT NOT NULL,
    bucket TEXT NOT NULL,
    name TEXT NOT NULL,
    -- In base64.
    content TEXT NOT NULL,
    PRIMARY KEY (organization, owner, bucket, name),
    FOREIGN KEY (organization, owner) REFERENCES keyvalue_spaces (organization, owner)
);
