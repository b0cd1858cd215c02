"""Backends that run a refiner network: PyTorch, OpenVINO and ONNX Runtime."""
