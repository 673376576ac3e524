-- Which Delta version of each view that it reads a run has read: a JSON object by `name@version`.
ALTER TABLE runs ADD COLUMN upstreams TEXT;
