"""What computes a refiner: torch, OpenVINO, ONNX Runtime, and which is fastest."""
