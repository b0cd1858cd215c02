"""The ONNX Runtime backend."""

from typing import Any

from refiner.core.devices import default_threads
from refiner.core.errors import missing_extra
from refiner.inference.backends.base import Array, Backend, network_key
from refiner.inference.backends.cache import load_or_compile
from refiner.models.files.refiner_file import RefinerFile


def open_onnx(name: str, refiner: RefinerFile, device: str, threads: int | None) -> Backend:
    """Open the ONNX Runtime backend; see :func:`refiner.inference.backends.registry.open_backend`.

    Raises:
        DeviceError: the extra ``onnx`` is not installed.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise missing_extra("onnx") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or default_threads()

    def convert() -> bytes:
        from refiner.inference.backends.export import to_onnx

        return to_onnx(refiner.network())

    def load(content: bytes) -> Any:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])

    session = load_or_compile(network_key(refiner, "onnx"), convert, load)

    def run(images: Array) -> Array:
        refined: Array = session.run(None, {"images": images})[0]
        return refined

    return Backend(name, run)
