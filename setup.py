"""Packaging. Readers need NumPy only; the daemon and the load client come with the extra `server`."""

from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
COMMANDS = sorted(str(path.relative_to(HERE)) for path in (HERE / "bin").iterdir() if path.is_file())

SERVER = ["wsproto>=1.2", "h11>=0.14", "opuslib>=3.0.1", "psutil>=5.9", "msgspec>=0.18", "http-sf>=1.5"]
RESAMPLE = ["soxr>=0.5"]
DEVELOP = [
    "pytest>=8",
    "pytest-timeout>=2.3",
    "pytest-xdist>=3.5",
    "hypothesis>=6.100",
    "ruff>=0.5",
    "mypy>=1.10",
    "types-psutil>=5.9",
    "opuslib-next-bundled>=0.1",
    "espeakng-loader>=0.2",
    "G722>=1.2",
]

setup(
    name="audiohook",
    version="0.1.0",
    description="Takes in live telephone audio over WebSockets and hands it to readers through shared memory",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="MIT",
    python_requires=">=3.11",
    packages=find_packages(include=["audiohook", "audiohook.*"]),
    package_data={"audiohook": ["py.typed", "memory/LAYOUT.md"]},
    scripts=COMMANDS,
    install_requires=["numpy>=1.26"],
    extras_require={"server": SERVER, "resample": RESAMPLE, "develop": SERVER + RESAMPLE + DEVELOP},
)
