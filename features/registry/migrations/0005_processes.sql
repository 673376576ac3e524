-- Which process a run is: one that was killed stays `running` for ever, and nothing else would tell.
ALTER TABLE runs ADD COLUMN process TEXT;

-- Few of many: what VACUUM spares files for.
CREATE INDEX IF NOT EXISTS runs_going_on ON runs (started_at) WHERE status = 'running';
