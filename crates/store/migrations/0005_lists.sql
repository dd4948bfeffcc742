-- The two that counts use have gone_at at their end: without it SQLite looks at every row it counts.
DROP INDEX cluster_by_state;
CREATE INDEX cluster_by_state ON cluster (project_id, state, id, engine, database_name, gone_at) WHERE gone_at IS NULL;
CREATE INDEX cluster_by_created ON cluster (project_id, created_at, id, engine, state, database_name) WHERE gone_at IS NULL;
CREATE INDEX cluster_by_engine_name ON cluster (project_id, engine, name, id, state, database_name) WHERE gone_at IS NULL;
CREATE INDEX cluster_by_engine_state ON cluster (project_id, engine, state, id, database_name, gone_at) WHERE gone_at IS NULL;
CREATE INDEX cluster_by_engine_created ON cluster (project_id, engine, created_at, id, state, database_name) WHERE gone_at IS NULL;
