"""The HDF5 store: layout, writing, reading."""
