"""The HDF5 store: its layout, writer and reader."""
