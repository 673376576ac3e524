-- Times are microseconds since 1970-01-01 UTC. JSON is canonical text, so that equal content is equal.

CREATE TABLE schema_version (
    version BIGINT NOT NULL PRIMARY KEY,
    applied_at BIGINT NOT NULL
);

-- A feature view or feature service by name, and which of its versions is current.
CREATE TABLE definitions (
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    current_version BIGINT NOT NULL,
    removed_at BIGINT,
    PRIMARY KEY (kind, name)
);

-- content and hash never change; metadata is edited in place.
CREATE TABLE definition_versions (
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    version BIGINT NOT NULL,
    hash TEXT NOT NULL,
    content TEXT NOT NULL,
    metadata TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    created_by TEXT NOT NULL,
    PRIMARY KEY (kind, name, version),
    UNIQUE (kind, name, hash),
    FOREIGN KEY (kind, name) REFERENCES definitions (kind, name)
);

CREATE TABLE runs (
    run_id TEXT NOT NULL PRIMARY KEY,
    kind TEXT NOT NULL,
    view TEXT NOT NULL,
    version BIGINT NOT NULL,
    range_start BIGINT,
    range_end BIGINT,
    nominal_now BIGINT NOT NULL,
    started_at BIGINT NOT NULL,
    finished_at BIGINT,
    status TEXT NOT NULL,
    message TEXT NOT NULL,
    log_position BIGINT,
    delta_version BIGINT,
    committed_at BIGINT,
    counts TEXT NOT NULL
);

CREATE INDEX runs_by_view ON runs (view, version, started_at);

-- One row per interval that any run has judged.
CREATE TABLE ledger (
    view TEXT NOT NULL,
    version BIGINT NOT NULL,
    interval_start BIGINT NOT NULL,
    interval_end BIGINT NOT NULL,
    status TEXT NOT NULL,
    built BOOLEAN NOT NULL,
    stale BOOLEAN NOT NULL,
    row_count BIGINT NOT NULL,
    log_position BIGINT,
    delta_version BIGINT,
    run_id TEXT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (view, version, interval_start, interval_end)
);

CREATE TABLE commits (
    view TEXT NOT NULL,
    version BIGINT NOT NULL,
    log_position BIGINT NOT NULL,
    delta_version BIGINT NOT NULL,
    committed_at BIGINT NOT NULL,
    run_id TEXT NOT NULL,
    PRIMARY KEY (view, version, log_position)
);

-- The last log position that was loaded into an online store and verified.
CREATE TABLE checkpoints (
    view TEXT NOT NULL,
    version BIGINT NOT NULL,
    target TEXT NOT NULL,
    log_position BIGINT NOT NULL,
    moved_at BIGINT NOT NULL,
    PRIMARY KEY (view, version, target)
);

CREATE TABLE validation_results (
    run_id TEXT NOT NULL,
    ordinal BIGINT NOT NULL,
    content TEXT NOT NULL,
    PRIMARY KEY (run_id, ordinal)
);

CREATE TABLE manifests (
    name TEXT NOT NULL,
    number BIGINT NOT NULL,
    content TEXT NOT NULL,
    held BOOLEAN NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (name, number)
);

CREATE TABLE audit_log (
    ordinal BIGINT NOT NULL PRIMARY KEY,
    at BIGINT NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    detail TEXT NOT NULL
);
