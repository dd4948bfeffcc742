-- Where other machines reach an endpoint: an address of its host and a port that no other cluster there has.
ALTER TABLE endpoint ADD COLUMN public_address TEXT;
CREATE UNIQUE INDEX endpoint_public_address ON endpoint (host_id, public_address);
