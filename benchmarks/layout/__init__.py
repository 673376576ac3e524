"""How the layout of a log bears on the join, on a daily append and on the rerun of one interval."""
