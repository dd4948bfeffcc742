-- Databases inside clusters and the credentials by which they are used. Those that clusters were made with follow from their
-- specifications; the program fills them in (`migrate.rs`).
CREATE TABLE database (
    id TEXT PRIMARY KEY,
    project_id TEXT NOT NULL REFERENCES project (id),
    cluster_id TEXT NOT NULL REFERENCES cluster (id),
    name TEXT NOT NULL,
    character_set TEXT NOT NULL,
    locale TEXT,
    is_first BIGINT NOT NULL,
    stage TEXT NOT NULL,
    quarantined_at BIGINT,
    quarantined_by TEXT,
    used_bytes BIGINT,
    created_at BIGINT NOT NULL,
    created_by TEXT NOT NULL
);
CREATE UNIQUE INDEX database_name ON database (cluster_id, name);
CREATE TABLE credential (
    id TEXT PRIMARY KEY,
    database_id TEXT NOT NULL REFERENCES database (id),
    cluster_id TEXT NOT NULL REFERENCES cluster (id),
    user_name TEXT NOT NULL,
    privileges TEXT NOT NULL,
    stage TEXT NOT NULL,
    sealed_password TEXT,
    sealed_next TEXT,
    created_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX credential_user_name ON credential (cluster_id, user_name);
-- Which operation changes something inside a cluster.
CREATE TABLE database_lock (
    cluster_id TEXT PRIMARY KEY,
    operation_id TEXT NOT NULL REFERENCES operation (id)
);
CREATE INDEX credential_by_database ON credential (database_id);
