-- What every run of a session is granted that asks for nothing itself: `contract::Grants` in JSON.
ALTER TABLE sessions ADD COLUMN grants TEXT NOT NULL DEFAULT '{}';
