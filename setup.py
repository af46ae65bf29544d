"""Packaging of crvae_tf; the bounds are what was tested, and .ci/constraints.txt pins it."""

import pathlib
import re

from setuptools import setup

ROOT = pathlib.Path(__file__).parent
VERSION = re.search(r'__version__ = "(.+?)"', (ROOT / "crvae_tf/__init__.py").read_text())[1]
WINGS = ("datasets", "evaluation", "runs", "serving", "studies", "training")
ONNX = ["onnx>=1.16", "onnxruntime>=1.18", "tf2onnx>=1.16"]

setup(
    name="crvae-tf",
    version=VERSION,
    description="Consistency-regularised variational auto-encoders in TensorFlow and Keras",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="MIT",
    python_requires=">=3.11",
    packages=["crvae_tf", *(f"crvae_tf.{wing}" for wing in WINGS), "launch"],
    package_data={
        "crvae_tf.studies": ["paper_tables.csv", "templates/*"],
        "launch": ["presets/*.flags"],
    },
    install_requires=[
        "absl-py>=2.1",
        "h5py>=3.8",
        "importlib_resources>=6",  # tensorflow-datasets 4.9.10 needs it and does not say so.
        "jinja2>=3.1,<4",
        "keras>=3.10,<4",
        "keras-cv>=0.9,<0.10",
        "markupsafe>=2.1",
        "matplotlib>=3.8",
        "numpy>=1.26",
        "pandas>=2.2",
        "pillow>=10",
        "pyarrow>=15",
        "scikit-learn>=1.4",
        "scipy>=1.11",
        "tensorboard>=2.18,<3",  # tf.summary needs it; tensorflow 2.21 does not say so.
        "tensorflow>=2.18,<2.22",
        "tensorflow-datasets>=4.9.7,<5",
        "tensorflow-probability>=0.25,<0.26",
        "tf_keras>=2.18,<2.22",  # tensorflow-probability imports it.
        "tqdm>=4.60",
    ],
    entry_points={"console_scripts": ["crvae = crvae_tf.__main__:main"]},
    extras_require={
        "test": [
            *ONNX,
            "coverage>=7.10",
            "hypothesis>=6.100",
            "ipykernel>=6.29",
            "nbclient>=0.10",
            "nbformat>=5.10",
            "psutil>=5.9",
            "pytest>=8",
            "pytest-cov>=7",
            "pytest-timeout>=2.3",
            "pytest-xdist>=3.5",
            "ruff==0.17.6",
            "selenium>=4.20,<5",
        ],
        "docs": [
            "mkdocs>=1.6,<2",
            "mkdocs-material>=9.5,<10",
            "mkdocstrings[python]>=1,<2",
            "ruff==0.17.6",  # It formats signatures.
        ],
        "gpu": ["tensorflow[and-cuda]"],
        "onnx": ONNX,
        "benchmark": ["torch>=2.13,<2.14", "jax>=0.10.2,<0.11"],
    },
)
