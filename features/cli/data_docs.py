"""`features data-docs`: what the gate said of each view's runs, as static pages."""

from argparse import Namespace, _SubParsersAction

from features.cli.options import Parser, add_verb, open_store
from features.cli.running import Answer


def add_verbs(verbs: "_SubParsersAction[Parser]") -> None:
    """Adds data-docs."""
    about = "Write pages that show how each view's rules fared in its recent runs; they open without a network."
    parser = add_verb(verbs, "data-docs", data_docs, about=about, example="features data-docs --output site")
    parser.add_argument("view", nargs="?", metavar="VIEW", help="a view's name, or name@version (default: all)")
    parser.add_argument("--output", required=True, metavar="FOLDER", help="where pages are written; others in it stay")


def data_docs(args: Namespace) -> Answer:
    """Write the pages of one view, or of all."""
    from features.materialization.data_docs import write_data_docs

    with open_store(args) as store:
        views = store.registry.views() if args.view is None else (store.registry.view(args.view),)
        written = write_data_docs(store.registry, views, args.output)
    index = written[-1]
    text = f"{len(views)} views: open {index}"
    return Answer(text=text, data={"index": str(index), "pages": [str(path) for path in written[:-1]]})
