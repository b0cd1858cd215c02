"""The module ``openvino``, imported without its telemetry.

The telemetry would report every import to the vendor from a forked process. A module of its own lets worker processes
import OpenVINO ahead by this name.
"""

import sys

sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # openvino then runs without it

import openvino as openvino  # noqa: E402
