"""Run the pip that the interpreter keeps for its virtual environments, in one that was made without it, which takes half the time."""

import ensurepip
import pathlib
import runpy
import sys
import sysconfig

FOLDERS = (sysconfig.get_config_var("WHEEL_PKG_DIR"), pathlib.Path(ensurepip.__file__).parent / "_bundled")
WHEELS = [str(wheel) for folder in FOLDERS if folder for wheel in pathlib.Path(folder).glob("pip-*.whl")]
if not WHEELS:
    sys.exit(f"{sys.executable} has no pip for virtual environments; on Debian and Ubuntu the package python3-venv brings it")
sys.path.insert(0, WHEELS[0])
sys.argv[0] = "pip"
runpy.run_module("pip", run_name="__main__")
