"""Sweeps on Ray: the same call with a cluster's address gives the same figures."""

from __future__ import annotations

from pathlib import Path

import pytest

from arbig import BarData, CtaTemplate
from arbig.lab.desk import Desk
from arbig.lab.spaces import SweepError

ROOT = Path(__file__).parents[2]


class Alternate(CtaTemplate):
    """Long and flat in turn, every `step` minutes."""

    step = 30
    parameters = ["step"]

    def on_init(self) -> None:
        self.count = 0

    def on_bar(self, bar: BarData) -> None:
        self.count += 1
        if self.count % self.step:
            return
        self.cancel_all()
        if self.pos == 0:
            self.buy(bar.close_price + 1, 1)
        else:
            self.sell(bar.close_price - 1, 1)


@pytest.mark.filterwarnings("ignore")
def test_a_ray_cluster_gives_the_same_rows_as_local_workers(tmp_path):
    import ray

    desk = Desk(root=ROOT, data=tmp_path, history=tmp_path / "bars")
    desk.history.generate("au2512", "2025-10-09", "2025-10-24", seed=3)
    words = (Alternate, "au2512", "2025-10-13", "2025-10-24", {"step": [30, 50]})
    local = desk.sweep(*words, workers=1, folder=tmp_path / "local")
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        address = ray.get_runtime_context().gcs_address
        there = desk.sweep(*words, ray=address, folder=tmp_path / "ray")
        assert ray.is_initialized()  # who began it ends it
    finally:
        ray.shutdown()
    assert there.complete and there.rows.equals(local.rows)
    assert (there.returns == local.returns).all()


def test_no_cluster_at_an_address_is_one_line_at_once(tmp_path):
    desk = Desk(root=ROOT, data=tmp_path, history=tmp_path / "bars")
    desk.history.generate("au2512", "2025-10-09", "2025-10-10", seed=3)
    with pytest.raises(SweepError, match=r"ray: no cluster at '127\.0\.0\.1:1': Connection refused"):
        desk.sweep(Alternate, "au2512", None, None, {"step": [30]}, ray="127.0.0.1:1")
