-- The columns of what a view version reads, from an interval's end (since) on. columns: of a build, as a JSON list of
-- name and type; null where none was. found: other columns, for which a build was refused.
CREATE TABLE source_schemas (
    view TEXT NOT NULL,
    version BIGINT NOT NULL,
    source TEXT NOT NULL,
    since BIGINT NOT NULL,
    columns TEXT,
    found TEXT,
    run_id TEXT NOT NULL,
    recorded_at BIGINT NOT NULL,
    PRIMARY KEY (view, version, source, since)
);
