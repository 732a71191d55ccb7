import re
from pathlib import Path

from setuptools import find_packages, setup

NAME = "deep_perception"
REPLAY = ["rosbags>=0.11", "mcap>=1.2.1", "filelock>=3.13", "pycocotools>=2.0.7"]
README = Path("README.md").read_text(encoding="utf-8")
# PyPI has no files beside the README: pictures and links into the repository would lead nowhere.
README = re.sub(r"!\[[^\]]*\]\((?!\w+://)[^)]*\)\n\n", "", README)
README = re.sub(r"\[([^\]]*)\]\((?!\w+://)[^)]*\)", r"\1", README)

setup(
    name=NAME,
    version="0.1.0",
    description="A mask, a box and a description of every region in a camera's view (ROS 2)",
    long_description=README,
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    packages=find_packages(include=[NAME, f"{NAME}.*"]),
    package_data={
        NAME: [
            "py.typed",
            "describers/prompts/*.txt",
            "drawing/font/*",
            "dam_server/requirements.txt",
            "replay/recordings/interfaces/*.msg",
            "replay/outputs/page/assets/*",
        ]
    },
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{NAME}"]),
        (f"share/{NAME}", ["package.xml"]),
        (f"share/{NAME}/launch", ["launch/analyzer.launch.py"]),
        (
            f"share/{NAME}/config",
            ["config/analyzer.yaml", "config/fastdds_shm.xml", "config/foxglove.json"],
        ),
        (
            f"share/{NAME}/config/sros2",
            ["config/sros2/one_camera.policy.xml", "config/sros2/cameras.policy.xml"],
        ),
    ],
    python_requires=">=3.10",
    install_requires=[
        "numpy>=1.26",
        "opencv-python-headless>=4.6",
        "pillow>=10.2",
        "pydantic>=1.10.14",
        "pyyaml>=6.0",
        "scipy>=1.11",
        "tqdm>=4.66",
    ],
    extras_require={
        "chat": ["openai>=1.109"],
        "hub": ["huggingface_hub>=2.4,<3"],
        "ray": [*REPLAY, "ray>=2.60"],
        "replay": REPLAY,
        "sam2": ["torch>=2.6", "transformers>=5.23", "safetensors", "huggingface_hub>=2.4,<3"],
        "test": ["pytest", "hypothesis", "pycocotools"],
    },
    zip_safe=False,
    entry_points={
        "console_scripts": [
            "deep_perception = deep_perception.cli.main:main",
            "analyzer = deep_perception.ros:main",
        ],
    },
)
