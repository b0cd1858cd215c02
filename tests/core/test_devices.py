import sys
import time
import types

import pytest

from refiner.core import devices, environment
from refiner.core.errors import DeviceError


def test_environment_names_what_a_bug_report_needs() -> None:
    facts = environment.environment()
    assert facts["processor"]["name"]
    assert facts["processor"]["cores"] >= 1
    assert facts["versions"]["torch"]
    assert facts["versions"]["simgan-refiner"]


def test_bf16_is_not_even_tried_where_it_is_emulated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "processor", lambda: {"name": "old", "cores": 2, "features": ["avx2"]})
    assert devices.choose_precision("cpu", lambda precision: pytest.fail("tried")) == "fp32"


@pytest.mark.parametrize(
    ("limit", "features"),
    [
        ("", "avx2 avx512f avx512_bf16 amx_bf16 amx_int8"),
        ("DEFAULT", "avx2 avx512f avx512_bf16 amx_bf16 amx_int8"),
        ("AVX512_CORE_AMX", "avx2 avx512f avx512_bf16 amx_bf16 amx_int8"),
        ("avx512_core_bf16", "avx2 avx512f avx512_bf16"),
        ("AVX512_CORE_VNNI", "avx2 avx512f"),
        ("AVX2_VNNI_2", "avx2"),
        ("SSE41", ""),
    ],
)
def test_a_processor_has_what_onednn_is_not_held_back_from(
    limit: str, features: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", limit)
    monkeypatch.delenv("DNNL_MAX_CPU_ISA", raising=False)
    monkeypatch.setattr(environment.Path, "exists", lambda path: True)
    cpuinfo = "model name\t: A\nflags\t\t: fpu amx_int8 amx_bf16 avx2 avx512_bf16 avx512f\n"
    monkeypatch.setattr(environment.Path, "read_text", lambda path, errors: cpuinfo)
    found = environment.processor.__wrapped__()
    assert found["name"] == (f"A (held to {limit.upper()})" if limit else "A")
    assert found["features"] == features.split()


@pytest.mark.parametrize(("slow", "chosen"), [("fp32", "bf16"), ("bf16", "fp32"), (None, "bf16")])
def test_where_bf16_is_native_the_trial_decides(slow: str, chosen: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "processor", lambda: {"name": "new", "cores": 2, "features": ["amx_bf16"]})
    trial = {slow: 0.05}
    assert devices.choose_precision("cpu", lambda precision: time.sleep(trial.get(precision, 0.005))) == chosen


def test_devices() -> None:
    assert devices.resolve_device("cpu") == "cpu"
    assert devices.resolve_device("auto") in ("cpu", "cuda")


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere torch is asked")
def test_torch_is_asked_for_a_card_only_where_there_is_a_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr(devices.Path, "exists", lambda path: False)
    for driver, device in ((True, "cuda"), (False, "cpu")):
        monkeypatch.setattr(devices, "_is_loadable", lambda library, driver=driver: driver)
        assert devices.resolve_device("auto") == device


def test_a_device_that_is_absent_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(DeviceError, match="the device is cuda, but no CUDA device"):
        devices.resolve_device("cuda")


def test_freed_memory_is_kept_where_there_is_glibc(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[int, int] = {}
    library = types.SimpleNamespace(mallopt=asked.__setitem__)
    monkeypatch.setattr(devices.ctypes, "CDLL", lambda name: library)
    devices.keep_freed_memory()
    assert asked == {-3: 2**25, -1: 2**31 - 1}  # M_MMAP_THRESHOLD, M_TRIM_THRESHOLD
    monkeypatch.setattr(devices.ctypes, "CDLL", lambda name: types.SimpleNamespace())
    devices.keep_freed_memory()
