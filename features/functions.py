"""What authors of transforms use: F, Window and DataFrame of PySpark, loaded when they are first touched.

A views module imports this at its top, and is imported by serving apps and DAG files that have no pyspark.
"""

from typing import TYPE_CHECKING, Any

from features.errors import PlatformError

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, Window
    from pyspark.sql import functions as F
else:

    class _Later:
        """Stands for a name of pyspark until an attribute of it is asked for."""

        def __init__(self, module: str, name: str | None = None) -> None:
            self._module, self._name = module, name

        def __getattr__(self, attribute: str) -> Any:
            # What pickle, copy and inspect ask of any object is not pyspark's to answer.
            if attribute.startswith("__"):
                raise AttributeError(attribute)
            import importlib

            try:
                target = importlib.import_module(self._module)
            except ModuleNotFoundError as exc:
                raise PlatformError(
                    "pyspark is not installed here: transforms run in jobs; install the 'spark' extra"
                ) from exc
            return getattr(getattr(target, self._name) if self._name else target, attribute)

    F = _Later("pyspark.sql.functions")
    Window = _Later("pyspark.sql", "Window")
    DataFrame = _Later("pyspark.sql", "DataFrame")

__all__ = ["DataFrame", "F", "Window"]
