"""Devices, and a device whose memory is exhausted."""

import numpy as np
import pytest

HINT = "run with: python -m pip install -r requirements/sam2.txt"
torch = pytest.importorskip("torch", reason=f"there is no torch; {HINT}")

from deep_perception.backends import BackendUnavailable  # noqa: E402
from deep_perception.segmenters.sam2 import Sam2  # noqa: E402
from deep_perception.segmenters.sam2.device import pick_device  # noqa: E402
from support.sam2_models import POINTS, sam2_settings  # noqa: E402

pytestmark = pytest.mark.sam2


def test_unknown_and_missing_devices_are_refused():
    assert pick_device("cpu").type == "cpu"
    assert pick_device("auto").type in ("cpu", "cuda", "mps")
    with pytest.raises(BackendUnavailable, match="none of auto, cpu, cuda"):
        pick_device("gpu")
    with pytest.raises(BackendUnavailable, match="'cuda:99' is not available"):
        pick_device("cuda:99")


class LimitedMemory:
    """An engine that runs out of memory above a side or a number of points."""

    def __init__(self, engine, most_points=10**6, largest_side=1024):
        self.engine, self.name = engine, engine.name
        self.most_points, self.largest_side = most_points, largest_side

    def embed(self, rgb):
        if rgb.shape[0] > self.largest_side:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return self.engine.embed(rgb)

    def decode(self, features, points, *, all_masks):
        if len(points) > self.most_points or features.grid * 16 > self.largest_side:
            raise RuntimeError("MPS backend out of memory (allocated: 1 GB)")
        return self.engine.decode(features, points, all_masks=all_masks)


class LimitedSam2(Sam2):
    """A segmenter that decodes in chunks, as on a GPU, with limited memory."""

    def __init__(self, **arguments):
        super().__init__(**arguments)
        self._one_by_one = False

    def _load(self, chosen, device):
        self.memory = LimitedMemory(super()._load(chosen, device))
        return self.memory


@pytest.fixture
def limited(folder):
    return LimitedSam2(settings=sam2_settings(folder, image_size=512, chunk_size=8))


def test_the_chunk_size_is_halved_if_memory_runs_out(limited, photograph, caplog):
    points = np.repeat(POINTS, 3, axis=0)
    embedding = limited.embed(photograph)
    expected, _ = limited.masks(embedding, points)
    limited.memory.most_points = 3
    masks, _ = limited.masks(embedding, points)
    assert limited.chunk_size == 2
    assert (masks != expected).mean() < 1e-4
    said = [record.getMessage() for record in caplog.records]
    assert said == [
        f"sam2: out of memory on cpu; decoding {count} points at once from now on"
        for count in (4, 2)
    ]
    limited.masks(embedding, points)
    assert len(caplog.records) == 2, "said again"


def test_the_image_is_reduced_if_memory_runs_out_for_one_point(limited, photograph, caplog):
    embedding = limited.embed(photograph)
    limited.memory.largest_side = 300
    masks, _ = limited.masks(embedding, POINTS)
    assert limited.chunk_size == 1
    assert embedding.side == 256
    assert masks.any()
    assert limited.embed(photograph).side == 256
    said = [record.getMessage() for record in caplog.records]
    assert said[-1] == "sam2: out of memory on cpu; images are analysed at 256 px from now on"
    assert len(said) == 4


def test_the_backend_is_unavailable_if_memory_runs_out_for_the_smallest_image(limited, photograph):
    limited.memory.largest_side = 100
    with pytest.raises(BackendUnavailable, match="out of memory on cpu, even for one point"):
        limited.embed(photograph)


def test_other_errors_are_raised_unchanged(limited, photograph, monkeypatch):
    embedding = limited.embed(photograph)
    monkeypatch.setattr(limited.memory, "decode", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        limited.masks(embedding, POINTS)
    assert limited.chunk_size == 8
