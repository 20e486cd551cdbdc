"""Broken files, by the thousand: every reader answers with a declared error, soon, and in little memory.

Valid files are changed at random: bytes flipped, cut off, cut out, repeated, or exchanged for what is likely
to be misread (huge and negative numbers, NaN). ``python -m refwfm.validation.fuzz`` prints what did not keep
to that, with the number that makes the same file again. AnnData files are read by libraries in C, which can
crash, hang or ask for all memory: ``--cells`` breaks those, each read in a process with bounds of its own.
"""

import argparse
import gzip
import io
import os
import resource
import sys
import tempfile
import time
import tracemalloc
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from refwfm.datasets import (
    PopulationFamily,
    clouds_from_anndata,
    clouds_from_arrays,
    load_family,
    load_folder,
    load_populations,
    read_clouds,
    read_shapes,
    read_table,
    save_family,
    save_populations,
)
from refwfm.datasets._idx import read_idx
from refwfm.datasets.meshes import read_mesh
from refwfm.runs.config_file import read_config
from refwfm.storage import checkpoints, records

DECLARED = (ValueError, OSError)
"""What a reader may raise for a file that is none of its own."""

SECONDS = 1.0
"""What an answer may take, of the processor's time."""

ROOM = 2**25
"""Bytes that a reader may take for a file of a few hundred."""

CHILD_SECONDS, CHILD_ROOM = 10, 2**27
"""What a child that reads cells may take: seconds until it is killed, bytes that are a fault."""

WORDS = (
    *(b"", b"-1", b"0", b"nan", b"inf", b"1e999", b"99999999999", b"4294967295", b'"', b"\n", b","),
    *(b"\x00", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\xef\xbb\xbf", b"[", b"{" * 50),
)
"""What is put in the place of a few bytes."""


class Seed(NamedTuple):
    """A valid file and who reads it."""

    ending: str
    content: bytes
    read: Callable[[Path], Any]


class Fault(NamedTuple):
    """A broken file that was not answered as it should be."""

    reader: str
    number: int
    what: str


def seeds(folder: Path, /) -> dict[str, Seed]:
    """A small valid file of each kind."""
    rng = np.random.default_rng(0)
    points, path = rng.standard_normal((3, 4, 2)), folder / "seed.npz"
    buffer = io.BytesIO()
    np.savez(buffer, points=points, labels=["a", "b", "a"])
    ragged, array = io.BytesIO(), io.BytesIO()
    np.savez_compressed(ragged, first=points[0], second=points[1, :2])
    np.save(array, points)
    rows = io.BytesIO()
    np.save(rows, points.reshape(-1, 2))
    family = save_family(path, clouds_from_arrays(points, labels=["a", "b", "a"])).read_bytes()
    checkpoints.save(path, {"a": points, "b": np.arange(3)}, {"step": 1})
    checkpoint = path.read_bytes()
    images = b"\0\0\x08\x03" + np.array([2, 3, 3], ">u4").tobytes() + bytes(range(18))
    corners, vertices = b"0 0 0\n2 0 0\n2 1 0\n0 1 0\n", b"v 0 0 0\nv 2 0 0\nv 2 1 0\nv 0 1 0\n"
    ply = b"ply\nformat ascii 1.0\nelement vertex 4\nproperty float x\nproperty float y\nproperty float z\n"
    binary = ply.replace(b"ascii", b"binary_little_endian") + b"end_header\n"
    corner = np.array([[0, 0, 0], [2, 0, 0], [2, 1, 0], [0, 1, 0]], "<f4")
    facet = np.concatenate([np.zeros((1, 3), "<f4"), corner[:3]]).tobytes() + bytes(2)
    records.save(path, {"a": points, "b": ["text", (1, 2.5)], "c": np.float32(1)})
    record = path.read_bytes()
    both = clouds_from_arrays(points, name="both")
    people = PopulationFamily(
        name="people",
        source=both,
        target=both,
        marks=np.eye(3)[np.arange(12) % 3],
        conditions=np.arange(3.0)[:, None],
        condition_names=("dose",),
        parts=np.array([0, 0, 2]),
        groups={"patient": ("u", "v", "u")},
    )
    populations = save_populations(path, people).read_bytes()
    config = b'[run]\ndata = "cities"\n[train]\nsteps = 10\nlearning_rate = 0.001\n'
    return {
        "IDX": Seed("idx", images, lambda file: read_idx(file, ndim=3)),
        "IDX, gzip": Seed("idx", gzip.compress(images, mtime=0), lambda file: read_idx(file, ndim=3)),
        "npy": Seed("npy", array.getvalue(), read_clouds),
        "npz": Seed("npz", buffer.getvalue(), read_clouds),
        "npz, compressed": Seed("npz", ragged.getvalue(), read_clouds),
        "family": Seed("npz", family, load_family),
        "folder": Seed("npy", rows.getvalue(), _load_as_points),
        "safetensors": Seed("safetensors", checkpoint, checkpoints.load),
        "TOML": Seed("toml", config, read_config),
        "OFF": Seed("off", b"OFF\n4 2 0\n" + corners + b"3 0 1 2\n3 0 2 3 255 0 0\n", read_mesh),
        "PLY": Seed(
            "ply",
            ply
            + b"element face 1\nproperty list uchar int vertex_indices\nend_header\n"
            + corners
            + b"4 0 1 2 3\n",
            read_mesh,
        ),
        "OBJ": Seed("obj", vertices + b"vn 0 0 1\nf 1//1 2//1 3//1\nf 1 3 4\n", read_mesh),
        "points": Seed("txt", corners, lambda file: read_shapes(file.parent)),
        "CSV": Seed(
            "csv",
            b"who,x,y\na,1.5,2\nb,3,4e-3\na,5,6\n",
            lambda file: read_table(file, cloud="who"),
        ),
        "PLY, binary": Seed("ply", binary + corner.tobytes(), read_mesh),
        "STL": Seed("stl", bytes(80) + b"\1\0\0\0" + facet, read_mesh),
        "record": Seed("npz", record, lambda file: records.load(file, ())),
        "populations": Seed("npz", populations, load_populations),
    }


def _load_as_points(file: Path) -> Any:
    """Read a file as the points in a folder of three clouds."""
    folder = file.parent / "folder"
    folder.mkdir(exist_ok=True)
    (folder / "points.npy").write_bytes(file.read_bytes())
    np.save(folder / "offsets.npy", np.asarray([0, 4, 8, 12]))
    return load_folder(folder)


def mutant(content: bytes, rng: np.random.Generator, /) -> bytes:
    """The content with one to four changes."""
    found = bytearray(content)
    for _ in range(rng.integers(1, 5)):
        at, length = int(rng.integers(len(found) + 1)), int(rng.integers(1, 9))
        match rng.integers(5):
            case 0:
                found[at : at + 1] = bytes([rng.integers(256)])
            case 1:
                found[at : at + length] = WORDS[rng.integers(len(WORDS))]
            case 2:
                found = found[:at]
            case 3:
                del found[at : at + length]
            case 4:
                found[at:at] = found[at : at + length * 4]
    return bytes(found)


def flipped(content: bytes, rng: np.random.Generator, /) -> bytes:
    """The content with one to eight other bytes: as long, so that readers get further."""
    found = np.frombuffer(content, np.uint8).copy()
    count = rng.integers(1, 9)
    found[rng.integers(len(found), size=count)] = rng.integers(256, size=count)
    return found.tobytes()


def faults(names: list[str], mutants: int, seed: int, tally: Counter[tuple[str, str]], /) -> Iterator[Fault]:
    """Try mutants of the seeds of these names; count in ``tally`` what was read and what refused."""
    with tempfile.TemporaryDirectory() as place:
        every = seeds(Path(place))
        for name in names:
            file = Path(place) / name.replace(", ", "-") / f"mutant.{every[name].ending}"
            file.parent.mkdir()
            file.write_bytes(every[name].content)
            every[name].read(file)  # the seed itself is valid, and what is imported is imported
            for number in range(mutants):
                file.write_bytes(mutant(every[name].content, np.random.default_rng((seed, number))))
                answer, what = tried(every[name].read, file)
                tally[name, answer] += 1
                if what:
                    yield Fault(name, number, what)


def tried(read: Callable[[Path], Any], file: Path, /, *, memory: bool = True) -> tuple[str, str]:
    """Whether a file was "read" or "refused", and what was wrong with the answer, if anything.

    ``memory`` asks for what the answer took of it, which takes several times as long.
    """
    answer, wrong = "read", []
    if memory:
        tracemalloc.start()
    start = time.process_time()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            read(file)
    except DECLARED as error:
        answer = "refused"
        if not str(error).strip():
            wrong.append("an error without a word")
    except Exception as error:
        wrong.append(f"{type(error).__name__}: {error}")
    seconds, peak = time.process_time() - start, tracemalloc.get_traced_memory()[1]  # 0 where not asked for
    if memory:
        tracemalloc.stop()
    if seconds > SECONDS:
        wrong.append(f"took {seconds:.1f} s")
    if peak > ROOM:
        wrong.append(f"took {peak / 1e6:.0f} MB")
    return answer, "; ".join(wrong)


def cell_faults(mutants: int, seed: int, tally: Counter[tuple[str, str]], /) -> Iterator[Fault]:
    """Break .h5ad files and files of .zarr stores; each is read in a child with bounds, forked from here."""
    with tempfile.TemporaryDirectory() as place:
        for ending in ("h5ad", "zarr"):
            whole = _cells(Path(place), ending)
            files = (
                [whole] if whole.is_file() else sorted(each for each in whole.rglob("*") if each.is_file())
            )
            contents = [each.read_bytes() for each in files]
            for number in range(mutants):
                rng = np.random.default_rng((seed, number))
                which = int(rng.integers(len(files)))
                change = (
                    mutant if ending == "zarr" or number % 2 else flipped
                )  # most others are of another length
                files[which].write_bytes(change(contents[which], rng))
                answer, what = _in_child(whole)
                files[which].write_bytes(contents[which])
                tally[ending, answer] += 1
                if what:
                    yield Fault(ending, number, what)


def _cells(folder: Path, ending: str) -> Path:
    """A valid AnnData file or store of eight cells."""
    import anndata
    import pandas

    rng, path = np.random.default_rng(0), folder / f"cells.{ending}"
    obs = pandas.DataFrame({"kind": pandas.Categorical(list("abababab"))}, index=list("stuvwxyz"))
    data = anndata.AnnData(rng.poisson(1.0, (8, 3)).astype(np.float32), obs=obs)
    data.obsm["X_pca"], data.obsm["spatial"] = rng.standard_normal((8, 2)), rng.standard_normal((8, 2))
    with warnings.catch_warnings(action="ignore"):
        data.write_h5ad(path) if ending == "h5ad" else data.write_zarr(path)
    clouds_from_anndata(path, k=3, pcs=2, label="kind")  # it is valid, and what is imported is imported
    return path


def _in_child(path: Path) -> tuple[str, str]:
    """Read cells in a child; what it answered, and what was wrong with that: also a signal, or no end."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            resource.setrlimit(resource.RLIMIT_CPU, (CHILD_SECONDS, CHILD_SECONDS))
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            answer, wrong = tried(lambda file: clouds_from_anndata(file, k=3, pcs=2, label="kind"), path)
            grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
            if grown > CHILD_ROOM:
                wrong += f"; grew by {grown / 1e6:.0f} MB"
            os.write(writing, f"{answer}\n{wrong}".encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as answers:
        told = answers.read().decode()
    status = os.waitpid(child, 0)[1]
    if os.WIFSIGNALED(status) or not told:
        return "refused", f"ended by signal {os.WTERMSIG(status)}"
    answer, _, wrong = told.partition("\n")
    return answer, wrong


def main(arguments: list[str] | None = None, /) -> int:
    """Print the faults, and how many mutants of each kind were read and refused; 1 if there is a fault."""
    parser = argparse.ArgumentParser(prog="python -m refwfm.validation.fuzz", description=__doc__)
    parser.add_argument("--mutants", type=int, default=2000, help="broken files of each kind (2000)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", help="one kind")
    parser.add_argument(
        "--cells", type=int, default=0, help="broken AnnData files and stores, of each kind (0)"
    )
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as place:
        names = list(seeds(Path(place)))
    if given.only not in (None, *names):
        parser.error(f"--only must be one of {'; '.join(names)}")
    tally: Counter[tuple[str, str]] = Counter()
    failed = 0
    found = faults([given.only] if given.only else names, given.mutants, given.seed, tally)
    for fault in chain(found, cell_faults(given.cells, given.seed, tally)):
        failed += 1
        sys.stdout.write(f"{fault.reader}, mutant {fault.number}: {fault.what}\n")
        sys.stdout.flush()
    for name in [*names, "h5ad", "zarr"]:
        if tally[name, "read"] + tally[name, "refused"]:
            sys.stdout.write(f"{name}: {tally[name, 'read']} read, {tally[name, 'refused']} refused\n")
    sys.stdout.write(f"{failed} faults\n")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
