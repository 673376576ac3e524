"""A project of many views: a configuration, and a registry that holds them as applied."""

from datetime import timedelta
from pathlib import Path

from features import BatchSource, DType, Entity, Feature, FeatureView
from features.core.discovery import Definitions
from features.registry import Registry


def make_project(root: Path, views: int) -> None:
    """A configuration and a registry with as many views."""
    (root / "conf").mkdir()
    conf = "registry: sqlite:///registry.db\nairflow: {start: 2024-01-01T00:00:00+00:00}\n"
    (root / "conf/base.yaml").write_text(conf, encoding="utf-8")
    (root / "conf/local.yaml").write_text("", encoding="utf-8")
    made = [_view(number) for number in range(views)]
    with Registry.open(f"sqlite:///{root}/registry.db") as registry:
        registry.apply(Definitions(views={view.name: view for view in made}, services={}))


def _view(number: int) -> FeatureView:
    return FeatureView(
        name=f"view_{number}",
        entities=[Entity(name="customer", join_keys={"customer": DType.STRING})],
        sources=[BatchSource(name="payments", path=f"s3a://lake/{number}", format="parquet", timestamp_field="at")],
        features=[Feature(f"amount_{i}", DType.FLOAT64, unit="EUR", description="of a payment") for i in range(10)],
        transform=_pass_on,
        lookback=timedelta(days=2),
        schedule=("@hourly", "@daily", "@weekly", "0 6 * * 1-5")[number % 4],
        delay=timedelta(minutes=number),
        owner="team@example.com",
        description=f"view {number}",
        tags={"domain": "payments"},
    )


def _pass_on(payments: object) -> object:
    return payments
