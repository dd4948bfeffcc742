ALTER TABLE project ADD COLUMN gone_at BIGINT;
ALTER TABLE access_key ADD COLUMN name TEXT;
ALTER TABLE token ADD COLUMN id TEXT;
ALTER TABLE token ADD COLUMN name TEXT;
UPDATE token SET id = substr(digest, 1, 32);
CREATE UNIQUE INDEX token_id ON token (id);
CREATE INDEX account_by_project ON account (project_id, name);
CREATE INDEX access_key_by_account ON access_key (account_id);
CREATE INDEX token_by_account ON token (account_id);
INSERT INTO installation (name, value) SELECT 'project', id FROM project ORDER BY created_at, id LIMIT 1;
CREATE TABLE action (
    id TEXT PRIMARY KEY,
    at BIGINT NOT NULL,
    project_id TEXT NOT NULL,
    account_id TEXT NOT NULL,
    account_name TEXT NOT NULL,
    source TEXT,
    request_id TEXT NOT NULL,
    family TEXT NOT NULL,
    method TEXT NOT NULL,
    path TEXT NOT NULL,
    status BIGINT NOT NULL,
    problem TEXT
);
CREATE INDEX action_by_project ON action (project_id, at);
CREATE INDEX action_by_time ON action (at);
