"""Broken files that are looked for: changes that reach new branches of a reader are kept and changed again.

``python -m refwfm.validation.guided_fuzz --runs 200000`` does for each reader of ``fuzz`` what libFuzzer does
for programs in C, by atheris, which counts the branches of our modules and of those in Python beneath them.
The answers are judged as those of files that are broken at random. What is compressed, or has lengths in it,
is changed inside as well: behind a checksum, bytes that are flipped reach nothing. Each search is a
process of its own, which a fault does not end; a crash, half a minute or two gigabytes do, and another one
takes the rest of the runs.
"""

import argparse
import gc
import gzip
import io
import re
import resource
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from types import FunctionType
from typing import Any, NamedTuple

INSTRUMENTED = (
    *("refwfm.datasets", "refwfm.storage", "refwfm.runs.folders", "refwfm.training.options"),
    *("numpy.lib._format_impl", "numpy.lib._npyio_impl", "trimesh.exchange", "pandas.io.parsers"),
    *("zipfile", "gzip", "tomllib"),
)
"""Packages and modules whose branches are counted: what has nothing to do with files would take time."""

LIMITS = ("-max_len=8192", "-timeout=30", "-rss_limit_mb=2048")
"""What ends a search, for libFuzzer."""

TRACED = 16
"""Of so many files one is read with its memory traced, as is each that makes the process larger than ever."""

RESTARTS = 10
"""Searches of one reader that may end before their time."""


class Found(NamedTuple):
    """What the search of one reader came to: runs by their answers, and branches before and after."""

    read: int
    refused: int
    faults: int
    branches: tuple[int, int]
    seconds: float


class Judge:
    """Tries files of a reader, counts the answers and keeps the first file of each kind of fault."""

    def __init__(self, name: str, seed: Any, folder: Path, keep: Path, count: Callable[[int], None]) -> None:
        self.name, self.seed, self.keep, self.count = name, seed, keep, count
        self.file, self.kinds = folder / f"mutant.{seed.ending}", set[str]()
        self.number, self.peak = 0, _peak()

    def __call__(self, data: bytes) -> None:
        """Try one."""
        from refwfm.validation import fuzz

        self.file.write_bytes(data)
        answer, what = fuzz.tried(self.seed.read, self.file, memory=self.number % TRACED == 0)
        self.number += 1
        if not what and (peak := _peak()) > self.peak + fuzz.ROOM:
            self.peak = peak
            answer, what = fuzz.tried(self.seed.read, self.file)
        self.count(2 if what else ("read", "refused").index(answer))
        kind = re.sub(r"\d+", "0", what)
        if what and kind not in self.kinds:
            self.kinds.add(kind)
            kept = self.keep / f"{_plain(self.name)}-{sha256(data).hexdigest()[:12]}.{self.seed.ending}"
            self.keep.mkdir(parents=True, exist_ok=True)
            kept.write_bytes(data)
            line = " ".join(what.split())
            sys.stdout.write(f"{self.name}: {line}; again: --only {self.name!r} --repeat {kept}\n")
            sys.stdout.flush()


def change_inside(data: bytes, mutate: Callable[[bytes], bytes], which: int, /) -> bytes:
    """Change a file; one in two of those with sums and lengths in them inside, where these stay right."""
    try:
        if which % 2 and data[:2] == b"\x1f\x8b":
            return gzip.compress(mutate(gzip.decompress(data)), 1, mtime=0)
        if which % 2 and data[:2] == b"PK":
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                members = [(each.filename, archive.read(each)) for each in archive.infolist()]
            changed, buffer = which // 2 % len(members), io.BytesIO()
            with zipfile.ZipFile(buffer, "w") as archive:
                for i, (name, content) in enumerate(members):
                    archive.writestr(zipfile.ZipInfo(name), mutate(content) if i == changed else content)
            return buffer.getvalue()
        if which % 2 and data[8:10] == b'{"':
            start = 8 + int.from_bytes(data[:8], "little")
            header = mutate(data[8:start])
            return len(header).to_bytes(8, "little") + header + data[start:]
    except Exception:  # what is broken already is no archive: it is changed outside
        return mutate(data)
    return mutate(data)


def search(name: str, runs: int, seed: int, keep: Path, /) -> Found:
    """Search for faults of a reader in processes of their own; print each kind, with how to have it again."""
    start, done, restarts = time.perf_counter(), 0, 0
    branches: list[int] = []
    with tempfile.TemporaryDirectory() as place:
        tally = Path(place) / "tally"
        tally.write_bytes(bytes(24))
        while done < runs and restarts <= RESTARTS:
            left = Path(place) / "ended-by"
            given = ("--only", name, "--runs", str(runs - done), "--seed", str(seed + restarts))
            child = subprocess.run(
                (sys.executable, "-m", __spec__.name, *given, "--keep", keep, "--child", place),
                stderr=subprocess.PIPE,
                check=False,
            )
            said = child.stderr.decode(errors="replace")
            branches += [int(each) for each in re.findall(r" cov: (\d+)", said)]
            counts = [int.from_bytes(tally.read_bytes()[at : at + 8], "little") for at in (0, 8, 16)]
            done, restarts = sum(counts), restarts + 1
            if child.returncode:
                counts[2] += 1
                last = " ".join(said.splitlines()[-1:])
                sys.stdout.write(f"{name}: the process ended with {child.returncode}: {last}\n")
                if left.exists():
                    keep.mkdir(parents=True, exist_ok=True)
                    kept = keep / f"{_plain(name)}-ended-{seed}-{restarts}"
                    kept.write_bytes(left.read_bytes())
                    sys.stdout.write(f"{name}: again: --only {name!r} --repeat {kept}\n")
                    left.unlink()
                tally.write_bytes(b"".join(each.to_bytes(8, "little") for each in counts))
    ends = (branches[0], branches[-1]) if branches else (0, 0)
    return Found(*counts, ends, time.perf_counter() - start)


def _child(name: str, runs: int, seed: int, keep: Path, place: Path) -> None:
    """Search here; does not return."""
    import logging
    import mmap

    import atheris

    from refwfm.validation import fuzz

    logging.disable()  # trimesh tells of what it takes for a warning
    every = fuzz.seeds(place)[name]
    corpus, folder = place / "corpus", place / "read"
    corpus.mkdir(exist_ok=True)
    folder.mkdir(exist_ok=True)
    (corpus / "seed").write_bytes(every.content)
    (folder / f"mutant.{every.ending}").write_bytes(every.content)
    every.read(folder / f"mutant.{every.ending}")  # valid; and what is imported only now is imported
    for function in _functions():
        atheris.instrument_func(function)
    words = (
        "".join(rf"\x{byte:02x}" for byte in word) for word in fuzz.WORDS if word
    )  # in the format of libFuzzer
    (place / "words").write_text("".join(f'"{word}"\n' for word in words))
    with (place / "tally").open("r+b") as file:
        counts = memoryview(mmap.mmap(file.fileno(), 24)).cast("Q")

        def count(which: int) -> None:
            counts[which] += 1

        judge = Judge(name, every, folder, keep, count)

        def custom_mutator(data: bytes, most: int, number: int) -> bytes:
            return change_inside(data, lambda part: atheris.Mutate(part, most), number)[:most]

        options = (f"-runs={runs}", f"-seed={seed + 1}", f"-dict={place / 'words'}", *LIMITS)
        artifact = f"-exact_artifact_path={place / 'ended-by'}"
        packed = every.content[:2] in (b"PK", b"\x1f\x8b") or name == "safetensors"
        more = {"custom_mutator": custom_mutator} if packed else {}
        atheris.Setup([sys.argv[0], *options, artifact, str(corpus)], judge, **more)
        atheris.Fuzz()


def _functions() -> list[FunctionType]:
    """Those of the modules whose branches are counted, as far as they are imported.

    An import of instrumented modules would do, too, and compile NumPy and SciPy anew: a quarter of a minute.
    """

    def ours(module: str | None) -> bool:
        return any(f"{module}.".startswith(f"{name}.") for name in INSTRUMENTED)

    return [each for each in gc.get_objects() if isinstance(each, FunctionType) and ours(each.__module__)]


def _peak() -> int:
    """The most bytes of memory that this process ever held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _plain(name: str) -> str:
    return re.sub(r"\W+", "-", name)


def main(arguments: list[str] | None = None, /) -> int:
    """Search each reader; print a table of what was done; 1 if there is a fault."""
    parser = argparse.ArgumentParser(prog="python -m refwfm.validation.guided_fuzz", description=__doc__)
    parser.add_argument("--runs", type=int, default=20000, help="broken files of each kind (20000)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", help="one kind")
    parser.add_argument("--keep", type=Path, default=Path("fuzz-faults"), help="folder of the files at fault")
    parser.add_argument("--repeat", type=Path, help="a file to judge again, of the kind --only")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.child:
        _child(given.only, given.runs, given.seed, given.keep, given.child)
    from refwfm.validation import fuzz

    with tempfile.TemporaryDirectory() as place:
        every = fuzz.seeds(Path(place))
        if given.only not in (None, *every):
            parser.error(f"--only must be one of {'; '.join(every)}")
        if given.runs < 1:
            parser.error(f"--runs must be at least 1; got {given.runs}")
        if given.repeat:
            if given.only is None or not given.repeat.is_file():
                parser.error("--repeat must be a file, and --only the kind that it was of")
            folder = Path(place) / "read"
            folder.mkdir()
            file = folder / f"mutant.{every[given.only].ending}"
            file.write_bytes(given.repeat.read_bytes())
            answer, what = fuzz.tried(every[given.only].read, file)
            sys.stdout.write(f"{what or answer}\n")
            return int(bool(what))
    try:
        import atheris  # noqa: F401
    except ModuleNotFoundError:
        parser.error('guided fuzzing needs atheris: pip install "refwfm[fuzz]"')
    failed = 0
    for name in [given.only] if given.only else every:
        found = search(name, given.runs, given.seed, given.keep)
        failed += found.faults
        sys.stdout.write(
            f"{name}: {found.read + found.refused + found.faults} runs, {found.read} read, "
            f"{found.refused} refused, {found.faults} faults, branches {found.branches[0]} to "
            f"{found.branches[1]}, {found.seconds:.0f} s\n"
        )
        sys.stdout.flush()
    sys.stdout.write(f"{failed} faults\n")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
