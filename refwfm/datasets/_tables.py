"""Tables in files: CSV and Parquet, through pandas."""

from pathlib import Path
from typing import Any

ENDINGS = (".csv", ".csv.gz", ".tsv", ".parquet")


def is_table(path: Path, /) -> bool:
    """Whether a path is named like a table."""
    return path.name.lower().endswith(ENDINGS)


def read_frame(file: Path, /) -> Any:
    """The pandas data frame in a file.

    Raises
    ------
    FileNotFoundError, ModuleNotFoundError
        If there is no such file, or pandas or pyarrow is needed and not installed.
    ValueError
        If it is truncated or something else.
    """
    if not is_table(file):
        raise ValueError(f"{file} is no table that can be read: expected {', '.join(ENDINGS)}")
    if not file.is_file():
        raise FileNotFoundError(f"no such file: {file}")
    try:
        import pandas as pd
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f'reading {file} needs pandas: pip install "refwfm[tables]"') from error
    name = file.name.lower()
    try:
        if name.endswith(".parquet"):
            return pd.read_parquet(file)
        # pandas' own way drops digits.
        return pd.read_csv(file, sep="\t" if name.endswith(".tsv") else ",", float_precision="round_trip")
    except ImportError as error:
        raise ModuleNotFoundError(f'reading {file} needs pyarrow: pip install "refwfm[tables]"') from error
    except Exception as error:  # pandas and pyarrow can raise anything on a file of anything
        kind = "Parquet" if name.endswith(".parquet") else "CSV"
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"{file} is not a readable {kind} file ({reason})") from error
