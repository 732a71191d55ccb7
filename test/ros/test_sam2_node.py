"""The whole node with the real SAM2 architecture, loaded from disk, over DDS."""

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco
from sensor_msgs.msg import Image

from deep_perception_msgs.msg import DescribedRegionArray

# Not marked ros: it needs torch beside ROS, which only `make test-sam2` has.
pytestmark = pytest.mark.sam2


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    transformers = pytest.importorskip("transformers")
    from synthetic.sam2_checkpoint import random_model

    # The default configuration is SAM2.1 tiny's.
    folder = tmp_path_factory.mktemp("checkpoints") / "sam2-tiny"
    random_model(transformers.Sam2Config()).save_pretrained(folder)
    return folder


def test_sam2_describes_a_camera_over_dds(graph, start_node, checkpoint):
    from support.graph import LATCHED

    node = start_node(
        remaps=["__ns:=/sam2"],
        **{
            "segmenter.backend": "sam2",
            "segmenter.checkpoint": checkpoint,
            "segmenter.device": "cpu",
            "segmenter.image_size": 256,
            "sweep.max_regions": 12,
        },
    )
    scenes = graph.listen(DescribedRegionArray, "/sam2/analyzer/regions", LATCHED)
    camera = graph.publisher(Image, "/sam2/image")
    image = np.full((240, 320, 3), (190, 190, 190), np.uint8)
    cv2.circle(image, (160, 120), 60, (30, 30, 200), -1)
    scene = graph.analysed(camera, scenes, graph.image(image))
    assert scene.segmenter == "sam2"
    assert scene.segmenter_model
    assert list(scene.warnings) == []
    assert scene.regions
    for region in scene.regions:
        mask = coco.decode({"size": [240, 320], "counts": region.mask.counts.encode()})
        assert mask.sum() == region.area >= 50
        assert region.status == "described"
    assert node.stop() == 0
    assert "Traceback" not in node.log


def test_without_a_checkpoint_the_fallback_works_and_a_warning_says_what_to_run(graph, start_node):
    from support.graph import LATCHED

    node = start_node(
        remaps=["__ns:=/missing"],
        **{"segmenter.backend": "sam2", "segmenter.checkpoint": "/nowhere/sam2.1-hiera-tiny"},
    )
    scenes = graph.listen(DescribedRegionArray, "/missing/analyzer/regions", LATCHED)
    camera = graph.publisher(Image, "/missing/image")
    scene = graph.analysed(camera, scenes, graph.image(np.full((60, 80, 3), 99, np.uint8)))
    assert scene.segmenter == "superpixels"
    (warning,) = scene.warnings
    assert "deep_perception models fetch sam2.1-hiera-tiny" in warning
    assert "deep_perception models fetch" in node.log
