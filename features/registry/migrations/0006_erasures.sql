-- Erasures of an entity's rows. key_values: JSON, until the erasure is done. progress: JSON of what was done where.
CREATE TABLE erasures (
    erasure_id TEXT NOT NULL PRIMARY KEY,
    entity TEXT NOT NULL,
    key_columns TEXT NOT NULL,
    key_count BIGINT NOT NULL,
    key_values TEXT,
    state TEXT NOT NULL,
    actor TEXT NOT NULL,
    requested_at BIGINT NOT NULL,
    finished_at BIGINT,
    progress TEXT NOT NULL
);
