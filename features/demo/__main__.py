"""`python -m features.demo`."""

from features.demo.run import main

raise SystemExit(main())
