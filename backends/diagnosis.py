"""What would fail on this machine, and the command that mends it: ``refwfm doctor``.

``machine.look`` gathers, each rule of ``RULES`` is a function of that record, and ``examine`` also computes
on every device (``probes``). A rule says one line in words for each fault.
"""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from refwfm.backends import DTYPES, ENVIRONMENT, INSTALL, BackendError, load
from refwfm.backends.machine import LIBRARIES, TASKS, Machine, devices_of
from refwfm.backends.probes import ROUNDING, Probe, in_one_line, probe

FAULT, ADVICE = "fault", "advice"

EXTRAS = {
    "matplotlib": ("figures", "pictures (--figure, reproduce)"),
    "anndata": ("data", "families of AnnData files (data build)"),
    "h5py": ("data", "HDF5 files"),
    "pooch": ("data", "downloads of data"),
    "pandas": ("tables", "tables (.csv, .parquet)"),
    "pyarrow": ("tables", "Parquet files"),
    "trimesh": ("meshes", "meshes (.ply, .obj, .stl)"),
    "scikit-image": ("photographs", "photographs (palettes)"),
    "scikit-learn": ("photographs", "photographs (palettes)"),
    "pillow": ("photographs", "photographs (palettes)"),
}
"""Packages that some commands need, the extra that brings each, and what needs it."""

TORCH_WHEELS = {13: "cu130", 12: "cu126"}
"""Folders of torch's index with builds for the major versions of CUDA."""


class Finding(NamedTuple):
    """A fault, or advice: what is the matter, in a line, and the command that mends it."""

    kind: str
    about: str
    words: str
    fix: str


class Computed(NamedTuple):
    """A backend's device in one dtype: what was computed there, or in words why nothing was."""

    backend: str
    dtype: str
    probes: tuple[Probe, ...]
    fault: str = ""

    @property
    def works(self) -> bool:
        """Whether everything ran, and is right to rounding."""
        return not self.fault and all(each.right for each in self.probes)


class Diagnosis(NamedTuple):
    """All that was found.

    Attributes
    ----------
    machine : Machine
    devices : dict
        What each backend's library sees, in words.
    computed : list of Computed
    findings : list of Finding
        Faults first.
    asked : str
        The backend that was asked for.
    works : bool
        Whether that one does, in every dtype that it has.
    """

    machine: Machine
    devices: dict[str, list[str]]
    computed: list[Computed]
    findings: list[Finding]
    asked: str
    works: bool


def examine(machine: Machine, asked: str | None = None, /) -> Diagnosis:
    """Judge a machine, and compute on every device that its backends see.

    Parameters
    ----------
    machine : Machine
        From ``machine.look``.
    asked : str, optional
        Name of a backend; by default the variable REFWFM_BACKEND, else numpy.
    """
    asked = asked or machine.variables.get(ENVIRONMENT) or "numpy"
    devices = {name: _devices(name, machine) for name in INSTALL}
    names = dict.fromkeys([*_names(devices), asked])
    computed = [_computed(name, dtype) for name in names for dtype in DTYPES if _has(name, dtype)]
    findings = [each for rule in RULES for each in rule(machine)]
    findings += _of_computations(machine, computed, asked, findings)
    findings.sort(key=lambda each: each.kind != FAULT)
    works = all(each.works for each in computed if each.backend == asked)
    return Diagnosis(machine, devices, computed, findings, asked, works)


def _devices(name: str, machine: Machine) -> list[str]:
    if name in machine.broken:
        return [f"does not load: {machine.broken[name]}"]
    try:
        return devices_of(name)
    except ModuleNotFoundError:
        return ["not installed"]
    except Exception as error:  # no driver, or one that is too old: each library has errors of its own
        return [f"none: {in_one_line(error)}"]


def _names(devices: dict[str, list[str]]) -> Iterator[str]:
    """Names of backends with every kind of device that they see."""
    for library, seen in devices.items():
        kinds = {words.partition(" ")[0].partition(":")[0] for words in seen}
        if library in ("numpy", "strict") and "cpu" in kinds:
            yield library
        if library == "torch":
            yield from (f"torch:{kind}" for kind in ("cpu", "cuda") if kind in kinds)
        if library == "jax":
            yield from (f"jax:{kind}" for kind, word in (("cpu", "cpu"), ("cuda", "gpu")) if word in kinds)
        if library == "cupy" and "cuda" in kinds:
            yield library


def _has(name: str, dtype: str) -> bool:
    return not (name.endswith(":no_float64") and dtype == "float64")


def _computed(name: str, dtype: str) -> Computed:
    try:
        return Computed(name, dtype, tuple(probe(load(name, dtype=dtype))))
    except Exception as error:  # BackendError, or whatever a library raises when a device is first used
        return Computed(name, dtype, (), in_one_line(error))


def _of_computations(
    machine: Machine, computed: list[Computed], asked: str, known: list[Finding]
) -> Iterator[Finding]:
    """What did not work, where no rule has said why already."""
    for each in computed:
        library = each.backend.partition(":")[0]
        chosen = each.backend == machine.variables.get(ENVIRONMENT)  # then a rule has looked at it
        about = (library, ENVIRONMENT) if chosen else (library,)
        said = any(found.about in about and found.kind == FAULT for found in known)
        if each.fault and not said and (each.backend == asked or each.dtype == DTYPES[0]):
            fix = _fix_of_start(machine, library, each.fault)
            yield Finding(FAULT, library, f"{each.backend} does not start: {each.fault}", fix)
        for part in each.probes:
            if part.epsilons is None:
                words = f"{part.name} fails on {each.backend} in {each.dtype}: {part.fault}"
                yield Finding(FAULT, library, words, "refwfm train --backend numpy")
            elif not part.right:
                words = (
                    f"{part.name} on {each.backend} in {each.dtype} is off by {part.epsilons:.3g} machine "
                    f"epsilons, more than {ROUNDING:g}: the device multiplies with fewer digits"
                )
                fix = {"torch": "unset TORCH_ALLOW_TF32_CUBLAS_OVERRIDE", "cupy": "unset CUPY_TF32"}
                fix["jax"] = "export JAX_DEFAULT_MATMUL_PRECISION=highest"
                yield Finding(FAULT, library, words, fix.get(library, f"export {ENVIRONMENT}=numpy"))


def _fix_of_start(machine: Machine, library: str, fault: str) -> str:
    """What helps where a backend does not start."""
    if library not in INSTALL:
        chosen = machine.variables.get(ENVIRONMENT, "").partition(":")[0] == library
        return f"unset {ENVIRONMENT}" if chosen else "refwfm doctor --backend numpy"
    if "not installed" in fault:
        return _cupy_for(machine) if library == "cupy" else INSTALL[library]
    instead = f"export {ENVIRONMENT}={library if library in ('torch', 'jax') else 'numpy'}"
    instead += ":cpu" if library in ("torch", "jax") else ""
    return instead if machine.driver_cuda else f"{instead}  # there is no NVIDIA driver"


# Rules, each a function of the machine


def broken_libraries(machine: Machine, /) -> Iterator[Finding]:
    """Libraries that are installed and fail when they are imported."""
    for backend, words in machine.broken.items():
        packages = _cupys(machine) if backend == "cupy" else [LIBRARIES[backend].replace("_", "-")]
        fix = f"pip install --force-reinstall {' '.join(packages or ['cupy'])}"
        yield Finding(FAULT, backend, f"{backend} is installed and does not load: {words}", fix)


def silent_driver(machine: Machine, /) -> Iterator[Finding]:
    """``nvidia-smi`` that is there and names no GPU."""
    if machine.smi:
        words = f"nvidia-smi is there and names no GPU: {machine.smi[:150]}"
        yield Finding(FAULT, "driver", words, "sudo modprobe nvidia  # in a container: docker run --gpus all")


def hidden_cards(machine: Machine, /) -> Iterator[Finding]:
    """GPUs that a variable hides."""
    hidden = machine.variables.get("CUDA_VISIBLE_DEVICES")
    if machine.cards and hidden in ("", "-1"):
        words = f"CUDA_VISIBLE_DEVICES={hidden!r} hides {len(machine.cards)} GPU(s) from every library"
        yield Finding(FAULT, "driver", words, "unset CUDA_VISIBLE_DEVICES")


def torch_without_cuda(machine: Machine, /) -> Iterator[Finding]:
    """Builds of torch for CPUs, or for a newer CUDA than the driver's, beside an NVIDIA driver."""
    version = machine.packages.get("torch")
    if machine.driver_cuda is None or version is None or "torch" in machine.broken:
        return
    major, minor = machine.driver_cuda
    wheels = TORCH_WHEELS[max(12, min(major, 13))]
    fix = f"pip install --force-reinstall torch --index-url https://download.pytorch.org/whl/{wheels}"
    if machine.torch_cuda is None:
        words = f"torch {version} is a build for CPUs, and this machine has a driver for CUDA {major}.{minor}"
        yield Finding(FAULT, "torch", words, fix)
    elif int(machine.torch_cuda.partition(".")[0]) > major:
        words = (
            f"torch {version} needs CUDA {machine.torch_cuda}, and the driver runs {major}.{minor} at most"
        )
        yield Finding(FAULT, "torch", words, fix)


def two_cupys(machine: Machine, /) -> Iterator[Finding]:
    """Several packages that all install the folder ``cupy``."""
    found = _cupys(machine)
    if len(found) > 1:
        words = f"{len(found)} packages are CuPy and overwrite each other: {', '.join(found)}"
        fix = f"pip uninstall -y {' '.join(found)} && {_cupy_for(machine)}"
        yield Finding(FAULT, "cupy", words, fix)


def cupy_of_another_cuda(machine: Machine, /) -> Iterator[Finding]:
    """CuPy for another CUDA than the driver's."""
    found = _cupys(machine)
    built = re.fullmatch(r"cupy-cuda(\d\d)x", found[0]) if len(found) == 1 else None
    if machine.driver_cuda is None or built is None:
        return
    (major, minor), wanted = machine.driver_cuda, int(built[1])
    if wanted != major and major in (12, 13):
        # A newer driver runs programs of an older CUDA, if its libraries are there, too: they seldom are.
        kind = FAULT if wanted > major else ADVICE
        words = f"{found[0]} is for CUDA {wanted}, and the driver is for CUDA {major}.{minor}"
        yield Finding(kind, "cupy", words, f"pip uninstall -y {found[0]} && {_cupy_for(machine)}")


def jax_without_plugin(machine: Machine, /) -> Iterator[Finding]:
    """JAX without its plugin for CUDA, or with that of another CUDA, beside an NVIDIA driver."""
    if machine.driver_cuda is None or "jax" not in machine.packages:
        return
    major, minor = machine.driver_cuda
    wanted = max(12, min(major, 13))
    plugins = [name for name in machine.packages if re.fullmatch(r"jax-cuda\d\d-plugin", name)]
    fix = f'pip install "refwfm[jax-cuda{wanted}]"'
    if not plugins:
        words = f"jax {machine.packages['jax']} has no plugin for CUDA, and this machine has a driver for it"
        yield Finding(FAULT, "jax", words, fix)
    elif all(int(name[8:10]) > major for name in plugins):
        words = f"{plugins[0]} needs a newer CUDA than the driver's {major}.{minor}"
        yield Finding(FAULT, "jax", words, f"pip uninstall -y {plugins[0]} && {fix}")


def chosen_backend(machine: Machine, /) -> Iterator[Finding]:
    """REFWFM_BACKEND that names what is not there."""
    chosen = machine.variables.get(ENVIRONMENT)
    if not chosen:
        return
    library = chosen.partition(":")[0]
    if library not in INSTALL:
        words = f"{ENVIRONMENT}={chosen} names no backend; those are {', '.join(INSTALL)}"
        yield Finding(FAULT, ENVIRONMENT, words, f"unset {ENVIRONMENT}")
        return
    try:
        load(chosen)
    except BackendError as error:
        fix = _fix_of_start(machine, library, str(error))
        yield Finding(FAULT, ENVIRONMENT, f"{ENVIRONMENT}={chosen}: {in_one_line(error)}", fix)
    except Exception as error:  # what a library raises when its device is first used
        words = f"{ENVIRONMENT}={chosen}: {in_one_line(error)}"
        yield Finding(FAULT, ENVIRONMENT, words, f"export {ENVIRONMENT}=numpy")


def data_folder(machine: Machine, /) -> Iterator[Finding]:
    """REFWFM_DATA that names no folder."""
    named = machine.variables.get("REFWFM_DATA")
    if named and not Path(named).is_dir():
        words = f"REFWFM_DATA={named} is no folder"
        yield Finding(FAULT, "REFWFM_DATA", words, f"mkdir -p {named}  # or: unset REFWFM_DATA")


def threads(machine: Machine, /) -> Iterator[Finding]:
    """More threads than cores, over all processes of a job here; a number of threads that is none."""
    asked = machine.variables.get("OMP_NUM_THREADS")
    if asked and not re.fullmatch(r"\s*0*[1-9]\d*\s*(,.*)?", asked):  # of nested loops, a list
        words = f"OMP_NUM_THREADS={asked} is no number of threads; libraries take as many as they like"
        yield Finding(ADVICE, "threads", words, f"export OMP_NUM_THREADS={machine.cores}")
        return
    counts = [machine.variables.get(name, "") for name in TASKS]
    processes = max([int(text) for text in counts if text.isdecimal()], default=1)
    largest = max([count for _, count in machine.blas], default=1)
    if processes * largest > machine.cores:
        words = f"{processes} process(es) of {largest} threads on {machine.cores} core(s)"
        fix = f"export OMP_NUM_THREADS={max(1, machine.cores // processes)}"
        yield Finding(ADVICE, "threads", words, fix)


def missing_extras(machine: Machine, /) -> Iterator[Finding]:
    """Packages that some commands need."""
    missing: dict[str, list[str]] = {}
    for package, (extra, _) in EXTRAS.items():
        if package not in machine.packages:
            missing.setdefault(extra, []).append(package)
    for extra, packages in missing.items():
        needed = ", ".join(dict.fromkeys(EXTRAS[package][1] for package in packages))
        words = f"{', '.join(packages)} not installed, for {needed}"
        yield Finding(ADVICE, "extras", words, f'pip install "refwfm[{extra}]"')


def float64_of_jax(machine: Machine, /) -> Iterator[Finding]:
    """JAX that makes float32 of float64, as it does by default."""
    if machine.jax_float64 is False:
        words = (
            "JAX makes float32 of float64 in scripts of your own (refwfm's --dtype float64 turns that off)"
        )
        yield Finding(ADVICE, "jax", words, "export JAX_ENABLE_X64=1")


def cache(machine: Machine, /) -> Iterator[Finding]:
    """A folder of the cache that cannot be written to."""
    if machine.cache:
        words = f"nothing is kept in the cache, and computed again each time: {machine.cache}"
        yield Finding(ADVICE, "cache", words, "export REFWFM_CACHE=FOLDER  # one that can be written to")


RULES: tuple[Callable[[Machine], Iterator[Finding]], ...] = (
    broken_libraries,
    silent_driver,
    hidden_cards,
    torch_without_cuda,
    two_cupys,
    cupy_of_another_cuda,
    jax_without_plugin,
    chosen_backend,
    data_folder,
    threads,
    missing_extras,
    float64_of_jax,
    cache,
)


def _cupys(machine: Machine) -> list[str]:
    return sorted(name for name in machine.packages if re.fullmatch(r"cupy(-cuda\d+x|-rocm-[\d-]+)?", name))


def _cupy_for(machine: Machine) -> str:
    if machine.driver_cuda is None:
        return INSTALL["cupy"]
    major = max(12, min(machine.driver_cuda[0], 13))
    return f'pip install "refwfm[cupy{major}]"'
