"""What software made something, asked without importing it."""

import platform
from importlib.metadata import PackageNotFoundError, version

from braindiffusion import __version__


def package_version(name: str) -> str | None:
    """The installed version of a package, None where it is not installed. Imports nothing."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def versions() -> dict[str, str | None]:
    """Versions that a result may depend on."""
    return {
        "braindiffusion": __version__,
        "torch": package_version("torch"),
        "torchio": package_version("torchio"),
        "python": platform.python_version(),
        "platform": platform.platform(),
    }
