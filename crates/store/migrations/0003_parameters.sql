CREATE TABLE applied_parameters (
    cluster_id TEXT PRIMARY KEY REFERENCES cluster (id),
    read_at BIGINT NOT NULL,
    parameters TEXT NOT NULL
);
