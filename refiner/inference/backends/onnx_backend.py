"""Refining by ONNX Runtime."""

from typing import Any

from refiner.core.devices import default_threads
from refiner.core.errors import missing_extra
from refiner.inference.backends import cache
from refiner.inference.backends.base import Array, Backend, at_multiples, network_key
from refiner.models.refiner_file import RefinerFile


def open_onnx(name: str, refiner: RefinerFile, device: str, threads: int | None) -> Backend:
    """Prepare ONNX Runtime for many batches; see :func:`refiner.inference.backends.registry.open_backend`."""
    try:
        import onnxruntime
    except ImportError as error:
        raise missing_extra("onnx") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or default_threads()

    def make() -> bytes:
        from refiner.inference.backends.export import to_onnx

        return to_onnx(refiner.network())

    def use(content: bytes) -> Any:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])

    session = cache.from_compiled(network_key(refiner, "onnx"), make, use)

    def run(images: Array) -> Array:
        refined: Array = session.run(None, {"images": images})[0]
        return refined

    return Backend(name, at_multiples(run, refiner.architecture.unshuffle))
