"""How each kind of source is opened: a module for each, and what they share in `opened` and `times`."""
