-- What the gate counted in an interval when it was built: later intervals are compared with it.
ALTER TABLE ledger ADD COLUMN profile TEXT;
