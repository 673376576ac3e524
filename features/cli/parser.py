"""The words of the command line: every verb with its arguments, and an example in its help."""

from argparse import _SubParsersAction

from features.cli import (
    backup,
    batch,
    cassandra,
    cluster,
    data_docs,
    definitions,
    doctor,
    erase,
    maintain,
    online,
    package,
    parity,
    quality,
    quarantine,
    rollout,
    sources,
    status,
    training,
    trial,
)
from features.cli.options import Parser

_EXAMPLE = """\
examples:
  features plan
  features materialize carrier_delay --start 2013-03-07T00:00:00Z --end 2013-03-08T00:00:00Z
  features get --features delay_model carrier=UA origin=EWR dest=SFO tailnum=N14228
  features build --help

exit codes: 0 done, 1 refused or failed, 2 wrong usage, 130 interrupted"""


def build_parser() -> Parser:
    """The parser of `features`. The namespace that it makes holds `command`: what to call with it."""
    parser = Parser(prog="features", description="A feature store that a data team runs itself.", epilog=_EXAMPLE)
    verbs: _SubParsersAction[Parser] = parser.add_subparsers(metavar="VERB", required=True, dest="verb")
    definitions.add_verbs(verbs)
    batch.add_verbs(verbs)
    training.add_verbs(verbs)
    online.add_verbs(verbs)
    parity.add_verbs(verbs)
    rollout.add_verbs(verbs)
    status.add_verbs(verbs)
    quality.add_verbs(verbs)
    quarantine.add_verbs(verbs)
    maintain.add_verbs(verbs)
    erase.add_verbs(verbs)
    sources.add_verbs(verbs)
    doctor.add_verbs(verbs)
    data_docs.add_verbs(verbs)
    trial.add_verbs(verbs)
    backup.add_verbs(verbs)
    cassandra.add_verbs(verbs)
    cluster.add_verbs(verbs)
    package.add_verbs(verbs)
    return parser
