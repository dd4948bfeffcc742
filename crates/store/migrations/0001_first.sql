CREATE TABLE installation (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
);
CREATE TABLE project (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    created_at BIGINT NOT NULL
);
CREATE TABLE account (
    id TEXT PRIMARY KEY,
    project_id TEXT NOT NULL REFERENCES project (id),
    name TEXT NOT NULL UNIQUE,
    email TEXT NOT NULL,
    password_hash TEXT NOT NULL,
    role TEXT NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE TABLE access_key (
    access_key TEXT PRIMARY KEY,
    account_id TEXT NOT NULL REFERENCES account (id),
    sealed_secret TEXT NOT NULL,
    enabled BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT
);
CREATE TABLE token (
    digest TEXT PRIMARY KEY,
    account_id TEXT NOT NULL REFERENCES account (id),
    created_at BIGINT NOT NULL,
    expires_at BIGINT
);
CREATE TABLE secret (
    id TEXT PRIMARY KEY,
    sealed TEXT NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE TABLE host (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE TABLE cluster (
    id TEXT PRIMARY KEY,
    project_id TEXT NOT NULL REFERENCES project (id),
    host_id TEXT NOT NULL REFERENCES host (id),
    name TEXT NOT NULL,
    engine TEXT NOT NULL,
    version TEXT NOT NULL,
    wish TEXT NOT NULL,
    term BIGINT NOT NULL,
    spec TEXT NOT NULL,
    database_name TEXT NOT NULL,
    state TEXT NOT NULL,
    state_reason TEXT,
    creation_failed TEXT,
    created_at BIGINT NOT NULL,
    created_by TEXT NOT NULL,
    modified_at BIGINT NOT NULL,
    modified_by TEXT NOT NULL,
    gone_at BIGINT
);
CREATE UNIQUE INDEX cluster_name ON cluster (project_id, name) WHERE gone_at IS NULL;
CREATE INDEX cluster_by_state ON cluster (project_id, state) WHERE gone_at IS NULL;
CREATE TABLE instance (
    id TEXT PRIMARY KEY,
    cluster_id TEXT NOT NULL REFERENCES cluster (id),
    host_id TEXT NOT NULL REFERENCES host (id),
    name TEXT NOT NULL,
    role TEXT NOT NULL,
    uid BIGINT,
    number BIGINT NOT NULL,
    observed TEXT NOT NULL,
    observed_at BIGINT
);
CREATE INDEX instance_by_cluster ON instance (cluster_id);
CREATE UNIQUE INDEX instance_uid ON instance (host_id, uid) WHERE uid IS NOT NULL;
CREATE UNIQUE INDEX instance_number ON instance (host_id, number);
CREATE TABLE endpoint (
    cluster_id TEXT PRIMARY KEY REFERENCES cluster (id),
    host_id TEXT NOT NULL REFERENCES host (id),
    address TEXT NOT NULL,
    port BIGINT NOT NULL
);
CREATE UNIQUE INDEX endpoint_address ON endpoint (host_id, address);
CREATE TABLE operation (
    id TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    cluster_id TEXT NOT NULL,
    host_id TEXT NOT NULL,
    parent_id TEXT,
    request TEXT NOT NULL,
    step TEXT NOT NULL,
    state TEXT NOT NULL,
    status TEXT NOT NULL,
    outcome TEXT,
    decision TEXT,
    attempt BIGINT NOT NULL,
    failing_since BIGINT,
    waiting_for TEXT,
    run_at BIGINT NOT NULL,
    deadline_at BIGINT,
    lease_owner TEXT,
    lease_until BIGINT NOT NULL,
    lease_epoch BIGINT NOT NULL,
    cancel_requested_at BIGINT,
    problem TEXT,
    secret_ids TEXT NOT NULL,
    requested_by TEXT NOT NULL,
    idempotency_key TEXT,
    version_started TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    finished_at BIGINT
);
CREATE INDEX operation_due ON operation (host_id, run_at) WHERE finished_at IS NULL;
CREATE INDEX operation_by_cluster ON operation (cluster_id, created_at);
CREATE TABLE operation_event (
    operation_id TEXT NOT NULL REFERENCES operation (id),
    seq BIGINT NOT NULL,
    at BIGINT NOT NULL,
    step TEXT NOT NULL,
    kind TEXT NOT NULL,
    detail TEXT NOT NULL,
    PRIMARY KEY (operation_id, seq)
);
CREATE TABLE cluster_lock (
    cluster_id TEXT PRIMARY KEY,
    operation_id TEXT NOT NULL REFERENCES operation (id)
);
CREATE TABLE lease (
    name TEXT PRIMARY KEY,
    holder TEXT NOT NULL,
    until BIGINT NOT NULL,
    epoch BIGINT NOT NULL
);
CREATE TABLE api_id (
    family TEXT NOT NULL,
    kind TEXT NOT NULL,
    external_id TEXT NOT NULL,
    internal_id TEXT NOT NULL,
    PRIMARY KEY (family, kind, external_id)
);
