"""Where the data files are: in the folder ``REFWFM_DATA``, or downloaded from their home."""

import os
from pathlib import Path
from typing import NamedTuple

MODELNET40 = "http://modelnet.cs.princeton.edu/ModelNet40.zip"


class Source(NamedTuple):
    """A file or folder of data: what it is, its checksum, and its home."""

    what: str
    sha256: str | None
    """None for a folder, and for a file that was not available."""
    url: str | None
    """A public address that serves this very file, or None where there is none."""
    original: str
    """Where the data come from, for a file that was assembled."""


def _mnist(name: str, sha256: str) -> Source:
    return Source(
        what="a file of MNIST, handwritten digits",
        sha256=sha256,
        url=f"https://ossci-datasets.s3.amazonaws.com/mnist/{name}",
        original="LeCun, Cortes, Burges, http://yann.lecun.com/exdb/mnist/",
    )


def _given(what: str, sha256: str | None, original: str) -> Source:
    return Source(what, sha256, None, original)


REGISTRY: dict[str, Source] = {
    "us_cities/us_cities_top100_boundaries.geojson.gz": Source(
        what="the limits of the 100 most populous cities of the contiguous US, assembled into one file",
        sha256="e51a2cafe82bc0a6baecf68e1c4fa2706a3af4b678d16115c0f27582a1be175b",
        url=None,
        original="US Census TIGER/Line 2019 places, https://www2.census.gov/geo/tiger/TIGER2019/PLACE/",
    ),
    "merfish_hypothalamus/merfish_hypothalamus.npz": Source(
        what="two MERFISH sections of the mouse hypothalamic preoptic region, assembled into one file",
        sha256="8ab6c4b9935bbbe716ad0f632418bacb0882e42ff74cceee9ba69446df79e4a5",
        url=None,
        original="Moffitt et al. 2018, https://doi.org/10.5061/dryad.8t8s248",
    ),
    "pbmc68k_reduced/10x_pbmc68k_reduced.h5ad": Source(
        what="700 of the 10x Genomics fresh 68k PBMC cells, as published with scanpy",
        sha256="e71d41e737c941559b7c57c9243bdb3d2c889c2adfdf00e3422ac6b46783676f",
        url="https://raw.githubusercontent.com/scverse/scanpy/f03d4f40594a1f1b3216212dc60273c809882a4c/"
        "src/scanpy/datasets/10x_pbmc68k_reduced.h5ad",
        original="Zheng et al. 2017, https://www.10xgenomics.com/datasets",
    ),
    "mnist/train-images-idx3-ubyte.gz": _mnist(
        "train-images-idx3-ubyte.gz", "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"
    ),
    "mnist/train-labels-idx1-ubyte.gz": _mnist(
        "train-labels-idx1-ubyte.gz", "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"
    ),
    "mnist/t10k-images-idx3-ubyte.gz": _mnist(
        "t10k-images-idx3-ubyte.gz", "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"
    ),
    "mnist/t10k-labels-idx1-ubyte.gz": _mnist(
        "t10k-labels-idx1-ubyte.gz", "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"
    ),
    "usps/usps.h5": _given(
        "the images of USPS in one HDF5 file",
        "734f88c541104a956d88be2c95d03b4a463ffd74ccc2ba9c80841fb98e3fcb36",
        "https://www.kaggle.com/datasets/bistaumanga/usps-dataset",
    ),
    "letters_az/az_letters_sample.npz": _given(
        "a sample of the A-Z handwritten letters, assembled into one file",
        "3f441589ba4f70cba8272d1f6bca7d2653e58279577ce9b6d70e99075547d4c8",
        "https://www.kaggle.com/datasets/ashishguptajiit/handwritten-az",
    ),
    "shapes_modelnet10_voxels/modelnet10_chair_monitor_vox32.npz": _given(
        "chairs and monitors of ModelNet10 as voxels, assembled into one file",
        "ea087f9561cc9f42714ce731ce6877c3993ab1a795301cd92b7d1add20f8fe5b",
        "http://3dvision.princeton.edu/projects/2014/3DShapeNets/ModelNet10.zip",
    ),
    "shapes_shapenetpart/shapenetpart_chair_table_2048.npz": _given(
        "chairs and tables of ShapeNetPart, assembled into one file",
        "5d993c14c19c5e4dfa46ee337568bad47976bbfcc485f6b94ee4ce2999e790e8",
        "https://shapenet.cs.stanford.edu/media/shapenetcore_partanno_segmentation_benchmark_v0.zip",
    ),
    "shapes_modelnet40_airplane/modelnet40_airplanes.npz": _given(
        "airplanes of ModelNet40, assembled into one file",
        "415605fe8977b03fb845f3ce5bc124bde7acd4b34dbde7b6a7902d64ab20e611",
        MODELNET40,
    ),
    "seqfish_cortex/seqfish_visual_cortex.npz": _given(
        "a seqFISH section of the mouse visual cortex, assembled into one file",
        "599fa9efa6cbd736524ee1272261a2a57cc795e611efbbfc2c023197ce3b9787",
        "Zhu et al. 2018, https://bitbucket.org/qzhudfci/smfishhmrf-py",
    ),
    "organoid_screen": _given(
        "the folder with the tables of the organoid drug screen (.csv, .parquet or .h5ad), cells in rows",
        None,
        "Ramos Zapatero et al. 2023, https://doi.org/10.17632/hc8gxwks3p.1",
    ),
    "ModelNet40": _given("the folder in ModelNet40.zip", None, MODELNET40),
    "ShapeNetCore.v2.PC15k": _given(
        "the folder in ShapeNetCore.v2.PC15k.zip", None, "https://github.com/stevenygd/PointFlow"
    ),
    **{
        f"emnist/emnist-letters-{part}-{kind}-ubyte.gz": _given(
            "a file in the folder gzip of EMNIST's gzip.zip",
            None,
            "https://www.nist.gov/itl/products-and-services/emnist-dataset",
        )
        for part in ("train", "test")
        for kind in ("images-idx3", "labels-idx1")
    },
}
"""Relative path -> source. The path is the file's place under ``REFWFM_DATA`` and in the cache."""


def locate(relative_path: str, /) -> Path:
    """Path of a data file, or folder, on this machine, downloaded first if that is needed and possible.

    With the environment variable ``REFWFM_DATA`` set, the file is taken from that folder and nothing
    is downloaded; what lies there is the user's choice and its checksum is not compared. Otherwise
    the file comes from its home, once, with its checksum compared, into the user's cache folder.

    Parameters
    ----------
    relative_path : str
        A key of ``REGISTRY``.

    Returns
    -------
    Path
        An existing file or folder.

    Raises
    ------
    KeyError
        If the path is not in the registry.
    FileNotFoundError
        If it is not under ``REFWFM_DATA``, or no home serves this very file.
    ModuleNotFoundError
        If it would have to be downloaded and pooch is not installed.
    OSError
        If the download fails, or what arrived has another checksum (nothing is kept then).
    """
    source = REGISTRY[relative_path]
    folder = os.environ.get("REFWFM_DATA")
    if folder:
        path = Path(folder) / relative_path
        if not path.exists():
            raise FileNotFoundError(
                f"REFWFM_DATA is {folder}, but there is no file {path} ({source.what}; {source.original})"
            )
        return path
    if source.url is None:
        raise FileNotFoundError(
            f"{relative_path} is {source.what}; no public address serves this very file (original data: "
            f"{source.original}). Set REFWFM_DATA to a folder that holds it"
        )
    return _download(relative_path, source)


def _download(relative_path: str, source: Source) -> Path:
    try:
        import pooch
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f'downloading {relative_path} needs pooch: pip install "refwfm[data]", '
            "or set REFWFM_DATA to a folder that holds the file"
        ) from error
    path = Path(pooch.os_cache("refwfm")) / relative_path
    logger = pooch.get_logger()
    level = logger.level
    logger.setLevel("WARNING")  # pooch announces every download on stderr
    try:
        # pooch downloads to a temporary file, compares the checksum and only then renames it.
        found: str = pooch.retrieve(
            source.url,
            known_hash=f"sha256:{source.sha256}",
            fname=path.name,
            path=path.parent,
            # Not streamed: a refused download would leave its connection open.
            downloader=pooch.HTTPDownloader(timeout=30, stream=False),
        )
    except ValueError as error:  # pooch's word for a wrong checksum
        raise OSError(f"{source.url} no longer serves the expected file: its SHA-256 differs") from error
    except OSError as error:  # includes every error of requests
        raise OSError(
            f"could not download {source.url} ({type(error).__name__}); fetch it by hand into "
            f"{relative_path} under a folder and set REFWFM_DATA to that folder"
        ) from error
    finally:
        logger.setLevel(level)
    return Path(found)
