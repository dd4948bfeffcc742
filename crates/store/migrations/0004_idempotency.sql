CREATE TABLE idempotency_key (
    account_id TEXT NOT NULL,
    idempotency_key TEXT NOT NULL,
    request TEXT NOT NULL,
    started_at BIGINT NOT NULL,
    status BIGINT,
    answer TEXT,
    PRIMARY KEY (account_id, idempotency_key)
);
CREATE INDEX idempotency_key_by_time ON idempotency_key (started_at);
