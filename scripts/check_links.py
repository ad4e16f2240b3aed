"""Check that external addresses in pages and code still exist: `make links`.

Not part of the suite, since it depends on other servers. Links within the project are checked by `mkdocs build
--strict` and the tests.
"""

import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

ROOT = Path(__file__).resolve().parents[1]
ADDRESS = re.compile(r"https?://[^\s<>\"'`)\]}\\|]+")
OURS = re.compile(
    r"https?://([^/]*github[^/]*/|braindiffusion\.github\.io|colab\.research\.google\.com/github/)[^ ]*braindiffusion"
)
KINDS = (".md", ".py", ".toml", ".yml", ".yaml", ".ipynb", ".cff", ".tsv")
SECONDS = 20
REFUSED = (401, 403, 405, 429)
"""Answers of servers that refuse callers other than browsers."""


def addresses() -> dict[str, str]:
    """Return each address with a file that contains it."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split(
        "\n"
    )
    found: dict[str, str] = {}
    for name in listed:
        if name.endswith(KINDS) and (ROOT / name).is_file():
            for address in ADDRESS.findall((ROOT / name).read_text(encoding="utf-8")):
                found.setdefault(address.rstrip(".,;:*"), name)
    return {address: name for address, name in found.items() if not OURS.match(address) and "{" not in address}


def problem(address: str) -> str:
    """Return what is wrong with an address; empty if nothing."""
    request = Request(address, headers={"User-Agent": "Mozilla/5.0 (link check)"})  # noqa: S310 http and https only
    try:
        with urlopen(request, timeout=SECONDS):  # noqa: S310
            return ""
    except HTTPError as error:
        return "" if error.code in REFUSED else f"answers {error.code}"
    except (URLError, TimeoutError, OSError) as error:
        return f"does not answer ({error})"


def main() -> int:
    """Check all addresses and print those that are gone."""
    found = addresses()
    with ThreadPoolExecutor(8) as pool:
        problems = dict(zip(found, pool.map(problem, found), strict=True))
    for address, found_problem in problems.items():
        if found_problem:
            print(f"{found[address]}: {address} {found_problem}")
    print(f"{len(found)} addresses, {sum(map(bool, problems.values()))} of them gone")
    return int(any(problems.values()))


if __name__ == "__main__":
    sys.exit(main())
