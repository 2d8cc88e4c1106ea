-- Tools' folders that last between calls: what a tool has in `/data`, as one archive in pieces.

CREATE TABLE tool_folders (
    organization TEXT NOT NULL REFERENCES organizations (id),
    tool TEXT NOT NULL,
    -- Begins anywhere and counts up, so that no two states of a name's folders have the same one.
    version BIGINT NOT NULL,
    byte_count BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (organization, tool)
);

CREATE TABLE tool_folder_pieces (
    organization TEXT NOT NULL,
    tool TEXT NOT NULL,
    number BIGINT NOT NULL,
    -- In base64.
    content TEXT NOT NULL,
    PRIMARY KEY (organization, tool, number)
);
