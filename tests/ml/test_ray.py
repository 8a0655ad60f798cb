"""Ray: sweeps, training and serving on it give what one process gives. One start for all that `make test` shows."""

from __future__ import annotations

import socket
import time
from pathlib import Path

import pytest

from arbig import BarData, CtaTemplate, Desk, FeaturePipeline
from arbig.lab.spaces import SweepError
from arbig.ml import serving
from arbig.ml.ray_start import begun
from arbig.ml.sets import SetError
from arbig.ml.training import train
from arbig.runtime.settings import load_settings
from arbig.store.models import Registry, RegistryPredictor
from arbig.strategy.predicting import ModelLine

ROOT = Path(__file__).parents[2]
WORDS = ("au2512", "2025-10-09", "2025-10-24")
pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.timeout(400)]


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


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ray")
    desk = Desk(root=ROOT, data=folder, history=folder / "bars")
    desk.history.generate(*WORDS, seed=3)
    return desk


@pytest.fixture(scope="module")
def ray():
    ray = begun(cpus=2)
    yield ray
    ray.shutdown()


def sweeps_alike(desk, folder, address):
    words = (Alternate, "au2512", "2025-10-13", "2025-10-24", {"step": [30, 50]})
    local = desk.sweep(*words, workers=1, folder=folder / "local")
    there = desk.sweep(*words, ray=address, folder=folder / "ray")
    assert there.complete and there.rows.equals(local.rows)
    assert (there.returns == local.returns).all()


def trains_alike(desk, address):
    here = train(desk, "here", *WORDS, folds=2, promote=True).manifest
    there = train(desk, "there", *WORDS, folds=2, promote=True, ray=address).manifest
    assert (there.hash, there.origin, there.metrics) == (here.hash, here.origin, here.metrics)


def test_no_cluster_at_an_address_is_one_line_at_once(desk):
    with pytest.raises(SweepError, match=r"ray: no cluster at '127\.0\.0\.1:1': Connection refused"):
        desk.sweep(Alternate, "au2512", None, None, {"step": [30]}, ray="127.0.0.1:1")
    with pytest.raises(SetError, match=r"ray: no cluster at '127\.0\.0\.1:1': .*Connection refused"):
        begun("127.0.0.1:1")


def test_a_ray_cluster_gives_the_same_rows_as_local_workers(desk, ray, tmp_path):
    sweeps_alike(desk, tmp_path, ray.get_runtime_context().gcs_address)
    assert ray.is_initialized()  # who began it ends it
    with pytest.raises(SetError, match=r"found 127.0.0.1:1, but this process is in the cluster at "):
        begun("127.0.0.1:1")
    with pytest.raises(SweepError, match=r"found 127.0.0.1:1, but this process is in the cluster at "):
        sweeps_alike(desk, tmp_path / "elsewhere", "127.0.0.1:1")


@pytest.mark.chaos
def test_ray_data_and_ray_train_give_the_same_model_as_one_process(desk, ray):
    trains_alike(desk, "local")
    assert ray.is_initialized()


@pytest.mark.chaos
def test_ray_serve_answers_as_the_registry_does_and_takes_over_a_new_version(desk, ray):
    settings = load_settings(ROOT, data=desk.settings.data, port_offset=free_port() - 8100)
    registry = Registry(settings.data / "models")
    registry.promote(f"{train(desk, 'gold', *WORDS, folds=2, kind='linear').manifest.name}@1")
    pipeline = FeaturePipeline()
    questions = [found for bar in desk.history.bars(*WORDS).bars() if (found := pipeline.on_bar(bar))][:30]
    here = RegistryPredictor(registry, ["gold"])
    serving.serve(settings)
    line = ModelLine(settings.port("ml"), settings.ml_token)
    for features in questions:
        assert line.ask("gold", features, 5) == here.answer("gold", features)
    seen = []
    train(desk, "gold", *WORDS, folds=2, kind="linear", params={"ridge": 1.0}, promote=True)
    until = time.monotonic() + 60
    while not seen or seen[-1] != "2":
        seen.append(line.ask("gold", questions[0], 5).version)
        assert time.monotonic() < until
    assert set(seen) <= {"1", "2"}
    assert is_loopback_only(settings.port("ml"))
    line.close()
    from ray import serve

    serve.shutdown()


@pytest.mark.chaos
def test_a_sweep_and_a_training_on_two_nodes_give_what_one_process_gives(desk, tmp_path):
    import ray
    from ray.cluster_utils import Cluster

    ray.shutdown()  # what the tests before were in
    node = {"num_cpus": 2, "object_store_memory": 150_000_000}
    cluster = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
    cluster.add_node(**node)
    try:
        sweeps_alike(desk, tmp_path, cluster.address)
        begun(cluster.address)
        assert len([one for one in ray.nodes() if one["Alive"]]) == 2
        trains_alike(desk, cluster.address)
        ray.shutdown()
    finally:
        cluster.shutdown()


def free_port() -> int:
    while True:
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            port: int = one.getsockname()[1]
        if 8100 <= port <= 58000:
            return port


def is_loopback_only(port: int) -> bool:
    """Nobody listens on this port at the machine's other addresses."""
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    listening = [one.split() for one in lines if one.split()[3] == "0A"]
    return {one[1].split(":")[0] for one in listening if int(one[1].split(":")[1], 16) == port} <= {"0100007F"}
