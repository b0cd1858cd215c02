"""Jobs over many images: refinement of a folder or a store by several processes, which may be interrupted."""
