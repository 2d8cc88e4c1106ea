-- The organization's revision at which a tool was made: tells a tool from one of the same name that was deleted before.
ALTER TABLE tools ADD COLUMN made BIGINT NOT NULL DEFAULT 0;
