"""MATLAB files of both kinds, as plain Python values: version 5 by SciPy, version 7.3 (HDF5) by h5py.

Structures become dictionaries, cells lists, characters text, and numbers arrays with MATLAB's order of axes
(version 7.3 stores them reversed). Objects and functions are refused; nothing is evaluated.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from refiner.core.errors import DataError
from refiner.core.files import check_regular
from refiner.data.store.hdf5 import stored_values
from refiner.images.io import MAX_BYTES

MAX_DEPTH = 8
"""Structures and cells within each other; deeper ones are damage, or references that lead in circles."""


def read_mat(path: Path, names: Sequence[str]) -> dict[str, Any]:
    """Read some variables of a MATLAB file; those that it lacks are left out.

    Raises:
        DataError: the file is missing, truncated, damaged, too large, or no MATLAB file.
    """
    import h5py
    from scipy.io import loadmat

    try:
        check_regular(path)
        if path.stat().st_size > MAX_BYTES:
            raise ValueError(f"{path.stat().st_size:,} bytes, at most {MAX_BYTES:,} are read")
        if h5py.is_hdf5(path):
            with h5py.File(path, "r") as file:
                return {name: _from_hdf5(file, name, MAX_DEPTH) for name in names if name in file}
        variables = loadmat(path, variable_names=list(names), appendmat=False)
        return {name: _from_array(variables[name], MAX_DEPTH) for name in names if name in variables}
    except Exception as error:  # whatever a damaged file makes SciPy and h5py trip over: there is no list of it
        if isinstance(error, OSError) and error.strerror:  # the system's own: it is missing, or not ours to read
            raise DataError(f"{path}: cannot be read ({error.strerror})") from error
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{path}: is a damaged MATLAB file, or none ({reason}); fetch it again") from error


def _from_array(value: Any, depth: int) -> Any:
    """A value as SciPy reads version 5."""
    if depth == 0:
        raise ValueError("structures within structures without end")
    if not isinstance(value, np.ndarray) or type(value).__name__ == "MatlabFunction":
        raise ValueError(f"a {type(value).__name__}, expected numbers, text, cells or structures")
    if value.dtype.names:
        rows = [
            {name: _from_array(part, depth - 1) for name, part in zip(value.dtype.names, row, strict=True)}
            for row in value.ravel().tolist()
        ]
        return rows[0] if len(rows) == 1 else rows
    if value.dtype == object:
        return [_from_array(part, depth - 1) for part in value.ravel(order="F")]
    if value.dtype.kind == "U":
        texts = [str(text) for text in value.ravel()]
        return "" if not texts else texts[0] if len(texts) == 1 else texts
    return value


def _from_hdf5(parent: Any, name: str, depth: int) -> Any:
    """A named child of an HDF5 group."""
    import h5py

    if not isinstance(parent.get(name, getlink=True), h5py.HardLink):
        raise ValueError(f"{name} lies in another file; expected it in this one")
    return _from_node(parent[name], depth)


def _from_node(node: Any, depth: int) -> Any:
    """A group or data set of a version 7.3 file; its axes come reversed."""
    import h5py

    if depth == 0:
        raise ValueError("structures within structures without end")
    if isinstance(node, h5py.Group):
        return {name: _from_hdf5(node, name, depth - 1) for name in node}
    values = stored_values(node)
    if h5py.check_ref_dtype(node.dtype):
        return [_from_node(node.file[reference], depth - 1) for reference in values.ravel()]
    kind = node.attrs.get("MATLAB_class", b"")
    if node.attrs.get("MATLAB_empty", 0):  # its values are its dimensions
        return {b"cell": [], b"char": ""}.get(kind, np.zeros(tuple(int(part) for part in values.ravel())))
    if kind == b"char":
        rows = ["".join(map(chr, row)) for row in np.atleast_2d(values.T)]
        return rows[0] if len(rows) == 1 else rows
    return values.T
