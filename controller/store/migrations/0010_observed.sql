-- What a cluster last showed of a deployment, in JSON: its restarts, its last crash, since when it is not ready or cannot be
-- seen.
ALTER TABLE deployments ADD COLUMN observed TEXT NOT NULL DEFAULT '{}';
