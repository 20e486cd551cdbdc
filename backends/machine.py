"""What is installed and seen on this machine, as one record that ``diagnosis`` judges."""

import contextlib
import ctypes
import os
import platform
import re
import shutil
import subprocess
from importlib import import_module, metadata
from pathlib import Path
from typing import Any, NamedTuple

from refwfm.backends.probes import in_one_line
from refwfm.storage.cache import cache_folder

LIBRARIES = {"torch": "torch", "cupy": "cupy", "jax": "jax", "strict": "array_api_strict"}
"""Backends whose library is not always installed, and the module that is imported for each."""

SHOWN = ("numpy", "scipy", "pot", "array-api-compat", "safetensors", "matplotlib")
"""Packages whose versions are always told."""

OF_DEVICES = re.compile(
    r"torch|jax|jaxlib|jax-cuda\d+-(plugin|pjrt)|cupy(-cuda\d+x|-rocm-[\d-]+)?|nvidia-cublas.*|array-api-strict"
)
"""Packages that matter to devices, told where they are installed."""

TASKS = (
    "LOCAL_WORLD_SIZE",
    "SLURM_NTASKS_PER_NODE",
    "OMPI_COMM_WORLD_LOCAL_SIZE",
    "PYTEST_XDIST_WORKER_COUNT",
)
"""Variables that say how many processes of one job are on this machine."""

Version = tuple[int, int]


class Card(NamedTuple):
    """A GPU as ``nvidia-smi`` names it: its memory in MiB, and the version of the driver."""

    name: str
    memory: str
    driver: str


class Machine(NamedTuple):
    """Everything that is judged.

    Attributes
    ----------
    python, system : str
    cores : int
        That this process may use: by affinity, and by the quota of a container.
    memory : int
        Bytes, 0 where the system does not say.
    blas : tuple of (library and version, threads)
    packages : dict
        Versions of all distributions that are installed, by lower-case name.
    broken : dict
        Backends whose library is installed and fails on import, with what it says.
    cards : tuple of Card
    smi : str
        What is wrong with ``nvidia-smi``, "" where it answers or is not there.
    driver_cuda : (major, minor) or None
        The newest CUDA that the driver runs.
    torch_cuda : str or None
        The CUDA that torch was built for, None for a build for CPUs.
    jax_float64 : bool or None
    variables : dict
        The environment.
    cache : str
        What is wrong with the folder of the cache, "" where it can be written to.
    """

    python: str
    system: str
    cores: int
    memory: int
    blas: tuple[tuple[str, int], ...]
    packages: dict[str, str]
    broken: dict[str, str]
    cards: tuple[Card, ...]
    smi: str
    driver_cuda: Version | None
    torch_cuda: str | None
    jax_float64: bool | None
    variables: dict[str, str]
    cache: str


def look() -> Machine:
    """Gather all this; whatever fails is a fact, and no error."""
    loaded, broken = {}, {}
    packages = installed()
    for backend, module in LIBRARIES.items():
        try:
            loaded[backend] = import_module(module)
        except ModuleNotFoundError as error:
            if error.name != module:  # it is there, and something that it needs is not
                broken[backend] = in_one_line(error)
        except Exception as error:  # OSError of a missing .so, RuntimeError of a driver, AttributeError, ...
            broken[backend] = in_one_line(error)
    cards, smi = graphics_cards()
    torch, jax = loaded.get("torch"), loaded.get("jax")
    return Machine(
        python=f"{platform.python_version()} on {platform.platform()}",
        system=platform.system(),
        cores=usable_cores(),
        memory=total_memory(),
        blas=blas_threads(),
        packages=packages,
        broken=broken,
        cards=cards,
        smi=smi,
        driver_cuda=cuda_of_driver(),
        torch_cuda=None if torch is None else str(torch.version.cuda or "") or None,
        jax_float64=None if jax is None else bool(jax.config.jax_enable_x64),
        variables=dict(os.environ),
        cache=fault_of_cache(),
    )


def installed() -> dict[str, str]:
    """Versions of all distributions by lower-case name; one whose record is damaged has none."""
    found: dict[str, str] = {}
    for each in metadata.distributions():
        with contextlib.suppress(Exception):  # a folder without METADATA
            found.setdefault(str(each.metadata["Name"]).lower().replace("_", "-"), each.version)
    return found


def usable_cores() -> int:
    """Cores that this process may use: its affinity, cut by the quota of a container."""
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # not on this system
        cores = os.cpu_count() or 1
    with contextlib.suppress(OSError, ValueError):
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        cores = min(cores, max(1, round(int(quota) / int(period))))
    return cores


def total_memory() -> int:
    """Bytes of memory, 0 where the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 0


def blas_threads() -> tuple[tuple[str, int], ...]:
    """Libraries of matrix products and of OpenMP in this process, and their threads."""
    from threadpoolctl import threadpool_info

    return tuple(
        (f"{pool['internal_api']} {pool['version'] or ''}".strip(), int(pool["num_threads"]))
        for pool in threadpool_info()
    )


def graphics_cards() -> tuple[tuple[Card, ...], str]:
    """GPUs that ``nvidia-smi`` names, and what it says where it fails."""
    command = shutil.which("nvidia-smi")
    if command is None:
        return (), ""
    query = [command, "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    try:
        result = subprocess.run(query, capture_output=True, text=True, timeout=20, check=False)  # noqa: S603
    except (OSError, subprocess.SubprocessError) as error:
        return (), in_one_line(error)
    rows = [[part.strip() for part in line.split(",")] for line in result.stdout.splitlines()]
    cards = tuple(Card(*row) for row in rows if len(row) == len(Card._fields))
    said = " ".join((result.stdout + result.stderr).split())
    return cards, "" if cards and result.returncode == 0 else said or f"exit code {result.returncode}"


def cuda_of_driver() -> Version | None:
    """The newest CUDA that the installed driver runs, None where there is no driver."""
    name = "nvcuda.dll" if os.name == "nt" else "libcuda.so.1"
    number = ctypes.c_int(0)
    try:
        failed = ctypes.CDLL(name).cuDriverGetVersion(ctypes.byref(number))
    except (OSError, AttributeError):
        return None
    return None if failed or not number.value else (number.value // 1000, number.value % 1000 // 10)


def fault_of_cache() -> str:
    """What is wrong with the folder of the cache, "" where it can be made or written to."""
    folder = cache_folder()
    try:
        existing = next(each for each in (folder, *folder.parents) if each.exists())
    except (OSError, StopIteration) as error:
        return f"{folder}: {in_one_line(error)}"
    if not existing.is_dir():
        return f"{existing} is no folder"
    return "" if os.access(existing, os.W_OK | os.X_OK) else f"{existing} cannot be written to"


def devices_of(backend: str, /) -> list[str]:
    """Devices that a backend's library sees, each in words."""
    if backend == "torch":
        torch: Any = import_module("torch")
        seen = [f"cpu ({torch.get_num_threads()} threads)"]
        for k in range(torch.cuda.device_count()):
            one = torch.cuda.get_device_properties(k)
            seen.append(f"cuda:{k} {one.name}, {one.total_memory / 2**30:.0f} GiB, CUDA {torch.version.cuda}")
        return seen
    if backend == "cupy":
        runtime: Any = import_module("cupy").cuda.runtime
        versions = f"CUDA {_cuda(runtime.runtimeGetVersion())}, driver's {_cuda(runtime.driverGetVersion())}"
        found = [runtime.getDeviceProperties(k) for k in range(runtime.getDeviceCount())]
        return [
            f"cuda:{k} {each['name'].decode()}, {each['totalGlobalMem'] / 2**30:.0f} GiB, {versions}"
            for k, each in enumerate(found)
        ]
    if backend == "jax":
        jax: Any = import_module("jax")
        return [f"{each.platform}:{each.id} {each.device_kind}" for each in jax.devices()]
    if backend == "strict":
        import_module(LIBRARIES["strict"])
        return ["cpu", "device1", "no_float64"]
    return ["cpu"]


def _cuda(number: int) -> str:
    return f"{number // 1000}.{number % 1000 // 10}"
