"""What authors of transforms use: F, Window and DataFrame of PySpark, and of on-demand functions: np, pa, pc and pd.

They are loaded when they are first touched: a views module imports this at its top, and is imported by serving apps and
DAG files that have no pyspark, and perhaps neither pandas nor pyarrow.
"""

from typing import TYPE_CHECKING, Any

from features.errors import PlatformError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import pyarrow as pa
    import pyarrow.compute as pc
    from pyspark.sql import DataFrame, Window
    from pyspark.sql import functions as F
else:
    _BY_TRANSFORMS = "transforms run in jobs; install the 'spark' extra"
    _BY_FUNCTIONS = "on-demand functions compute with it; install the 'on-demand' extra"

    class _Later:
        """Stands for a module, or a name in it, until an attribute of it is asked for. needed: who has to have it."""

        def __init__(self, module: str, name: str | None = None, *, needed: str = _BY_FUNCTIONS) -> None:
            self._module, self._name, self._needed = module, name, needed

        def __getattr__(self, attribute: str) -> Any:
            # What pickle, copy and inspect ask of any object is not the module's to answer.
            if attribute.startswith("__"):
                raise AttributeError(attribute)
            import importlib

            try:
                target = importlib.import_module(self._module)
            except ModuleNotFoundError as exc:
                raise PlatformError(f"{self._module.partition('.')[0]} is not installed here: {self._needed}") from exc
            return getattr(getattr(target, self._name) if self._name else target, attribute)

    F = _Later("pyspark.sql.functions", needed=_BY_TRANSFORMS)
    Window = _Later("pyspark.sql", "Window", needed=_BY_TRANSFORMS)
    DataFrame = _Later("pyspark.sql", "DataFrame", needed=_BY_TRANSFORMS)
    np = _Later("numpy")
    pa = _Later("pyarrow")
    pc = _Later("pyarrow.compute")
    pd = _Later("pandas")

__all__ = ["DataFrame", "F", "Window", "np", "pa", "pc", "pd"]
