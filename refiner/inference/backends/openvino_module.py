"""OpenVINO without its telemetry, which would tell its makers of every import, from a process forked off ours."""

import sys

sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # it then does without

import openvino as openvino  # noqa: E402
