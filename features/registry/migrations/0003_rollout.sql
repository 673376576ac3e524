-- Which versions of a view serving reads. share: of keys, in basis points. earlier: a JSON list, the latest last.
CREATE TABLE rollouts (
    view TEXT NOT NULL PRIMARY KEY,
    live BIGINT NOT NULL,
    candidate BIGINT,
    share BIGINT NOT NULL,
    salt TEXT NOT NULL,
    shadow BIGINT,
    earlier TEXT NOT NULL
);

-- Until now serving read the current version of every view.
INSERT INTO rollouts (view, live, candidate, share, salt, shadow, earlier)
SELECT name, current_version, NULL, 0, '', NULL, '[]' FROM definitions WHERE kind = 'feature view';

-- One row: what servers poll. It grows with every change of what a request stands for.
CREATE TABLE serving_generation (
    id BIGINT NOT NULL PRIMARY KEY,
    generation BIGINT NOT NULL
);

INSERT INTO serving_generation (id, generation) VALUES (1, 1);

-- Every switch of a view, and what it led to. overridden: a JSON list of the objections that were overridden.
CREATE TABLE rollout_history (
    view TEXT NOT NULL,
    ordinal BIGINT NOT NULL,
    at BIGINT NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    live BIGINT NOT NULL,
    candidate BIGINT,
    share BIGINT NOT NULL,
    shadow BIGINT,
    overridden TEXT NOT NULL,
    PRIMARY KEY (view, ordinal)
);

-- Who reads which version, and when last.
CREATE TABLE consumers (
    view TEXT NOT NULL,
    version BIGINT NOT NULL,
    consumer TEXT NOT NULL,
    last_read_at BIGINT NOT NULL,
    PRIMARY KEY (view, version, consumer)
);

-- How a shadow's features compared with live's, added up over all serving processes.
CREATE TABLE shadow_counts (
    view TEXT NOT NULL,
    live BIGINT NOT NULL,
    shadow BIGINT NOT NULL,
    feature TEXT NOT NULL,
    compared BIGINT NOT NULL,
    different BIGINT NOT NULL,
    missing BIGINT NOT NULL,
    first_at BIGINT NOT NULL,
    last_at BIGINT NOT NULL,
    PRIMARY KEY (view, live, shadow, feature)
);
