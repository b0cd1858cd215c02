import json
import subprocess
import sys
from pathlib import Path

from click.testing import CliRunner

from refiner.commands import COMMANDS, main


def test_environment_prints_what_a_bug_report_needs() -> None:
    result = CliRunner().invoke(main, ["environment"])
    assert result.exit_code == 0
    assert "processor" in result.stdout
    assert "torch" in result.stdout


def test_environment_as_json() -> None:
    facts = json.loads(CliRunner().invoke(main, ["environment", "--json"]).stdout)
    assert facts["command"] == "environment"
    assert facts["version"]
    assert facts["environment"]["processor"]["name"]


def test_help_lists_every_command_without_importing_anything_heavy() -> None:
    code = (
        "import sys; from refiner.commands import main\n"
        "try: main(['--help'], prog_name='refiner')\n"
        "except SystemExit as stop: assert stop.code == 0\n"
        "heavy = {'torch', 'torchvision', 'cv2', 'albumentations', 'h5py', 'scipy', 'numpy'} & sys.modules.keys()\n"
        "assert not heavy, heavy"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert all(name in printed for name in COMMANDS)


def test_an_unknown_command_is_wrong_use() -> None:
    assert CliRunner().invoke(main, ["refinee"]).exit_code == 2


def test_arguments_are_read_before_anything_heavy_is_imported(tmp_path: Path) -> None:
    """A wrong name is reported at once, and modules for workers can be imported in the meantime."""
    code = (
        "import sys; from refiner.commands import main\n"
        f"try: main(['refine', {str(tmp_path)!r}, 'out', '--refiner', 'nothing'], prog_name='refiner')\n"
        "except SystemExit as stop: assert stop.code == 2\n"
        "heavy = {'torch', 'cv2', 'albumentations', 'h5py', 'scipy'} & sys.modules.keys()\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "nothing is neither a refiner file" in done.stderr
