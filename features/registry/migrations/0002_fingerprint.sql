-- What an interval's sources held when it was built: a change of it is one, whether or not its own rows show it.
ALTER TABLE ledger ADD COLUMN fingerprint TEXT;
