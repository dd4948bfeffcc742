-- How often clusters were failed over is counted for metrics.
CREATE INDEX operation_kind ON operation (kind, status);
