-- Clusters of several instances, which share a uid: an instance's place in its cluster keeps two clusters from choosing the same one.
ALTER TABLE instance ADD COLUMN slot BIGINT NOT NULL DEFAULT 0;
DROP INDEX instance_uid;
CREATE UNIQUE INDEX instance_uid ON instance (host_id, uid, slot) WHERE uid IS NOT NULL;
-- Who writes in a cluster's present term, and who may take its place.
CREATE TABLE replication (
    cluster_id TEXT PRIMARY KEY REFERENCES cluster (id),
    primary_id TEXT NOT NULL,
    promotable TEXT,
    rewind_id TEXT,
    reason TEXT NOT NULL,
    sealed_password TEXT NOT NULL
);
