-- What databases are asked for by: environments, plans offered in them, teams that own databases, and what databases are for.
CREATE TABLE environment (
    id TEXT PRIMARY KEY,
    project_id TEXT NOT NULL REFERENCES project (id),
    name TEXT NOT NULL,
    stage TEXT NOT NULL,
    subnet TEXT,
    created_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX environment_name ON environment (project_id, name);
CREATE TABLE plan (
    id TEXT PRIMARY KEY,
    project_id TEXT NOT NULL REFERENCES project (id),
    name TEXT NOT NULL,
    description TEXT NOT NULL,
    engine TEXT NOT NULL,
    server_type TEXT NOT NULL,
    size_gb BIGINT NOT NULL,
    capacity BIGINT NOT NULL,
    highly_available BIGINT NOT NULL,
    active BIGINT NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX plan_name ON plan (project_id, name);
CREATE TABLE plan_environment (
    plan_id TEXT NOT NULL REFERENCES plan (id),
    environment_id TEXT NOT NULL REFERENCES environment (id),
    PRIMARY KEY (plan_id, environment_id)
);
CREATE TABLE team (
    id TEXT PRIMARY KEY,
    project_id TEXT NOT NULL REFERENCES project (id),
    name TEXT NOT NULL,
    email TEXT,
    administers BIGINT NOT NULL,
    allocation_limit BIGINT NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX team_name ON team (project_id, name);
CREATE TABLE team_member (
    team_id TEXT NOT NULL REFERENCES team (id),
    account_id TEXT NOT NULL REFERENCES account (id),
    PRIMARY KEY (team_id, account_id)
);
CREATE TABLE application (
    id TEXT PRIMARY KEY,
    project_id TEXT NOT NULL REFERENCES project (id),
    name TEXT NOT NULL,
    description TEXT NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX application_name ON application (project_id, name);
-- A database that was asked for by a plan.
CREATE TABLE allocation (
    database_id TEXT PRIMARY KEY REFERENCES database (id),
    project_id TEXT NOT NULL REFERENCES project (id),
    name TEXT NOT NULL,
    plan_id TEXT NOT NULL REFERENCES plan (id),
    environment_id TEXT NOT NULL REFERENCES environment (id),
    team_id TEXT REFERENCES team (id),
    application_id TEXT REFERENCES application (id),
    description TEXT,
    protected BIGINT NOT NULL
);
CREATE UNIQUE INDEX allocation_name ON allocation (environment_id, name);
CREATE INDEX allocation_by_team ON allocation (team_id);
-- Which clusters a plan's databases share.
CREATE TABLE plan_cluster (
    cluster_id TEXT PRIMARY KEY REFERENCES cluster (id),
    plan_id TEXT NOT NULL REFERENCES plan (id),
    environment_id TEXT NOT NULL REFERENCES environment (id)
);
-- Databases that were removed.
CREATE TABLE database_history (
    id TEXT PRIMARY KEY,
    project_id TEXT NOT NULL REFERENCES project (id),
    database_id TEXT NOT NULL,
    name TEXT NOT NULL,
    engine TEXT NOT NULL,
    cluster_name TEXT NOT NULL,
    plan TEXT NOT NULL,
    environment TEXT NOT NULL,
    team TEXT,
    application TEXT,
    description TEXT,
    used_bytes BIGINT,
    created_at BIGINT NOT NULL,
    deleted_at BIGINT NOT NULL
);
CREATE INDEX database_history_by_project ON database_history (project_id, deleted_at);
-- What an operation on a cluster is about inside it.
ALTER TABLE operation ADD COLUMN database_id TEXT;
CREATE INDEX operation_by_database ON operation (database_id, created_at) WHERE database_id IS NOT NULL;
-- Numbers by which a family knows what was there before it came.
INSERT INTO api_id (family, kind, external_id, internal_id)
    SELECT 'globo', 'user', CAST(row_number() OVER (ORDER BY created_at, id) AS TEXT), id FROM account;
