-- Ten thousand clusters on a host that is not this machine, copied from the two real ones. What is written here runs on SQLite and
-- on PostgreSQL alike; rows keep whatever columns the tables have by now.
CREATE TEMPORARY TABLE n AS
    WITH RECURSIVE counted (n) AS (SELECT CAST(1 AS BIGINT) UNION ALL SELECT n + 1 FROM counted WHERE n < 5000) SELECT n FROM counted;

INSERT INTO host (id, name, created_at)
    SELECT DISTINCT substr(h.id, 1, 24) || '10000000', 'a simulated host', h.created_at FROM host h JOIN cluster c ON c.host_id = h.id;

CREATE TEMPORARY TABLE filled AS SELECT c.*, n.n FROM cluster c CROSS JOIN n;
UPDATE filled SET
    id = substr(id, 1, 24) || CAST(10000000 + n AS TEXT),
    host_id = substr(host_id, 1, 24) || '10000000',
    name = engine || '-' || CAST(10000000 + (n * 7919) % 100003 AS TEXT),
    database_name = CASE WHEN n % 3 = 0 THEN 'third' ELSE database_name END,
    wish = CASE WHEN n % 10 = 0 THEN 'stop' ELSE wish END,
    state = CASE WHEN n % 10 = 0 THEN 'STOPPED' ELSE state END,
    created_at = created_at + (n * 6007) % 100019 * 1000000;
ALTER TABLE filled DROP COLUMN n;
INSERT INTO cluster SELECT * FROM filled;
DROP TABLE filled;

CREATE TEMPORARY TABLE filled AS SELECT i.*, n.n FROM instance i CROSS JOIN n;
UPDATE filled SET
    id = substr(id, 1, 24) || CAST(10000000 + n AS TEXT),
    cluster_id = substr(cluster_id, 1, 24) || CAST(10000000 + n AS TEXT),
    host_id = substr(host_id, 1, 24) || '10000000',
    uid = number * 1000000000 + n,
    number = number * 100000 + n;
ALTER TABLE filled DROP COLUMN n;
INSERT INTO instance SELECT * FROM filled;
DROP TABLE filled;

CREATE TEMPORARY TABLE filled AS SELECT e.*, i.number, n.n FROM endpoint e JOIN instance i ON i.cluster_id = e.cluster_id AND i.number < 100000 CROSS JOIN n;
UPDATE filled SET
    cluster_id = substr(cluster_id, 1, 24) || CAST(10000000 + n AS TEXT),
    host_id = substr(host_id, 1, 24) || '10000000',
    address = '10.' || CAST(number AS TEXT) || '.' || CAST(n / 250 AS TEXT) || '.' || CAST(n % 250 + 1 AS TEXT);
ALTER TABLE filled DROP COLUMN n;
ALTER TABLE filled DROP COLUMN number;
INSERT INTO endpoint SELECT * FROM filled;
DROP TABLE filled;

CREATE TEMPORARY TABLE filled AS SELECT o.*, n.n FROM operation o CROSS JOIN n WHERE o.finished_at IS NOT NULL;
UPDATE filled SET
    id = substr(id, 1, 24) || CAST(10000000 + n AS TEXT),
    cluster_id = substr(cluster_id, 1, 24) || CAST(10000000 + n AS TEXT),
    host_id = substr(host_id, 1, 24) || '10000000';
ALTER TABLE filled DROP COLUMN n;
INSERT INTO operation SELECT * FROM filled;
DROP TABLE filled;

CREATE TEMPORARY TABLE filled AS SELECT e.*, n.n FROM operation_event e CROSS JOIN n;
UPDATE filled SET operation_id = substr(operation_id, 1, 24) || CAST(10000000 + n AS TEXT);
ALTER TABLE filled DROP COLUMN n;
INSERT INTO operation_event SELECT * FROM filled;
DROP TABLE filled;
DROP TABLE n;
