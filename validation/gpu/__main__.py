"""``python -m refwfm.validation.gpu --out FILE.json``: parts, devices and time from the command line."""

import argparse
import sys
from pathlib import Path

import refwfm
from refwfm.backends import machine
from refwfm.validation.gpu import proof
from refwfm.validation.gpu.parts import KINDS

CORES = 8
"""From which on devices are tried at the same time."""


def main(arguments: list[str] | None = None) -> int:
    """Run the proof; 0 if every part is as it should be, else 1."""
    parser = argparse.ArgumentParser(prog="python -m refwfm.validation.gpu", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.json", help="where the record goes")
    parser.add_argument("--budget", type=float, default=proof.BUDGET, help="seconds for all parts")
    parser.add_argument("--devices", default="torch:cuda,cupy,jax:cuda", help="names of backends, by commas")
    parser.add_argument("--at-once", type=int, help="devices at the same time (default: all, on 8 cores)")
    parser.add_argument("--size", choices=("full", "smoke"), default="full")
    parser.add_argument("--parts", default=",".join(KINDS), help="kinds of parts, by commas")
    parser.add_argument(
        "--tests", type=Path, default=Path(refwfm.__file__).parents[1] / "tests", help="folder of the tests"
    )
    given = parser.parse_args(arguments)
    kinds = given.parts.split(",")
    unknown = {*kinds} - {*KINDS}
    if unknown:
        parser.error(f"--parts {given.parts}: {', '.join(sorted(unknown))} is none of {', '.join(KINDS)}")
    if given.at_once is not None and given.at_once < 1:
        parser.error(f"--at-once must be at least 1; got {given.at_once}")
    if not given.budget > 0:
        parser.error(f"--budget must be positive; got {given.budget:g}")
    if not given.out.parent.is_dir():
        parser.error(f"--out {given.out}: there is no folder {given.out.parent}")
    if "tests" in kinds and not given.tests.is_dir():
        parser.error(f"--tests {given.tests}: no such folder (run it in a clone)")
    devices = ["jax:cuda" if name in ("jax", "jax:gpu") else name for name in given.devices.split(",")]
    at_once = given.at_once or (len(devices) if machine.usable_cores() >= CORES else 1)
    record = proof.prove(
        devices,
        at_once=at_once,
        size=given.size,
        kinds=kinds,
        budget=given.budget,
        tests=given.tests.resolve(),
        say=lambda line: print(line, flush=True),  # noqa: T201
    )
    proof.write(given.out, record)
    print(record["verdict"])  # noqa: T201
    return 0 if record["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
