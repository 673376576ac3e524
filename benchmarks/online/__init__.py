"""Reading features online, in process: ours, the driver's own round trip, and Feast. See __main__.py."""
