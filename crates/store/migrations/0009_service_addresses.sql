-- A single instance may be reached at an address of its own besides its cluster's: an address is given once on a host, whoever has it.
CREATE TABLE endpoint_of_either (
    cluster_id TEXT NOT NULL REFERENCES cluster (id),
    instance_id TEXT REFERENCES instance (id),
    host_id TEXT NOT NULL REFERENCES host (id),
    address TEXT NOT NULL,
    port BIGINT NOT NULL,
    public_address TEXT
);
INSERT INTO endpoint_of_either (cluster_id, host_id, address, port, public_address)
    SELECT cluster_id, host_id, address, port, public_address FROM endpoint;
DROP TABLE endpoint;
ALTER TABLE endpoint_of_either RENAME TO endpoint;
CREATE UNIQUE INDEX endpoint_cluster ON endpoint (cluster_id) WHERE instance_id IS NULL;
CREATE UNIQUE INDEX endpoint_instance ON endpoint (cluster_id, instance_id);
CREATE UNIQUE INDEX endpoint_address ON endpoint (host_id, address);
CREATE UNIQUE INDEX endpoint_public_address ON endpoint (host_id, public_address);
