"""Reader of MATLAB files as plain Python values: version 5 with SciPy, version 7.3 (HDF5) with h5py.

Structures become dictionaries, cells become lists and characters become text. Numbers become arrays with MATLAB's
order of axes, which version 7.3 stores reversed. Objects and functions are refused, and nothing is evaluated.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from refiner.core.errors import DataError
from refiner.core.files import check_regular
from refiner.data.store.hdf5 import open_hdf5, stored_values
from refiner.images.io import MAX_BYTES

MAX_DEPTH = 8
"""Deepest nesting of structures and cells; a deeper file is damaged, or its references form a cycle."""


def read_mat(path: Path, names: Sequence[str]) -> dict[str, Any]:
    """Read variables of a MATLAB file.

    Args:
        path: the file.
        names: names of the variables.

    Returns:
        Values by name; a variable that the file lacks is left out.

    Raises:
        DataError: the file is missing, truncated, damaged, too large, or not a MATLAB file.
    """
    import h5py
    from scipy.io import loadmat

    # Check the file before a library parses it.
    try:
        check_regular(path)
        if path.stat().st_size > MAX_BYTES:
            raise ValueError(f"it has {path.stat().st_size:,} bytes, at most {MAX_BYTES:,} are read")
        # Version 7.3 is HDF5; SciPy reads the older ones.
        if h5py.is_hdf5(path):
            with open_hdf5(path) as file:
                return {name: _from_hdf5(file, name, MAX_DEPTH) for name in names if name in file}
        variables = loadmat(path, variable_names=list(names), appendmat=False)
        return {name: _from_array(variables[name], MAX_DEPTH) for name in names if name in variables}
    except DataError:
        raise
    except Exception as error:  # SciPy and h5py raise many kinds of errors for a damaged file
        if isinstance(error, OSError) and error.strerror:  # an error of the system: missing, or no permission
            raise DataError(f"{path} cannot be read ({error.strerror})") from error
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{path} is damaged or not a MATLAB file ({reason}); download it again") from error


def _from_array(value: Any, depth: int) -> Any:
    """Convert a value that SciPy read from version 5."""
    if depth == 0:
        raise ValueError("structures are nested without end")
    if not isinstance(value, np.ndarray) or type(value).__name__ == "MatlabFunction":
        raise ValueError(f"it holds a {type(value).__name__}; expected numbers, text, cells or structures")
    # A structure array becomes a dictionary, or a list of them.
    if value.dtype.names:
        rows = [
            {name: _from_array(part, depth - 1) for name, part in zip(value.dtype.names, row, strict=True)}
            for row in value.ravel().tolist()
        ]
        return rows[0] if len(rows) == 1 else rows
    # A cell array becomes a list, and text becomes a string.
    if value.dtype == object:
        return [_from_array(part, depth - 1) for part in value.ravel(order="F")]
    if value.dtype.kind == "U":
        texts = [str(text) for text in value.ravel()]
        return "" if not texts else texts[0] if len(texts) == 1 else texts
    return value


def _from_hdf5(parent: Any, name: str, depth: int) -> Any:
    """Convert a named child of an HDF5 group."""
    import h5py

    if not isinstance(parent.get(name, getlink=True), h5py.HardLink):
        raise ValueError(f"{name} is in another file; expected it in this one")
    return _from_node(parent[name], depth)


def _from_node(node: Any, depth: int) -> Any:
    """Convert a group or data set of a version 7.3 file, whose axes are stored reversed."""
    import h5py

    # Limit the depth, since a damaged file may refer to itself.
    if depth == 0:
        raise ValueError("structures are nested without end")
    if isinstance(node, h5py.Group):
        return {name: _from_hdf5(node, name, depth - 1) for name in node}
    # A data set of references is a cell array.
    values = stored_values(node)
    if h5py.check_ref_dtype(node.dtype):
        return [_from_node(node.file[reference], depth - 1) for reference in values.ravel()]
    kind = node.attrs.get("MATLAB_class", b"")
    if node.attrs.get("MATLAB_empty", 0):  # the stored values are the dimensions
        return {b"cell": [], b"char": ""}.get(kind, np.zeros(tuple(int(part) for part in values.ravel())))
    # Text is stored as numbers of characters.
    if kind == b"char":
        rows = ["".join(map(chr, row)) for row in np.atleast_2d(values.T)]
        return rows[0] if len(rows) == 1 else rows
    return values.T
