"""Builds the extension modules. VARIANT picks flags (each variant has its own build folder), ROOMS the packages."""
import os
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

FLAGS = {
    "normal": ["-O2"],
    # CPython's own flags bring -fwrapv, which hides signed overflow from UBSan.
    "asan": ["-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined", "-fno-omit-frame-pointer", "-fno-wrapv"],
    "tsan": ["-O1", "-fsanitize=thread", "-fno-omit-frame-pointer"],
    "gcov": ["-O0", "--coverage", "-fprofile-update=atomic"],
}
variant = os.environ.get("VARIANT", "normal")
rooms = os.environ.get("ROOMS", "routing_core geoip gateway/dataplane").split()
sources = [path for room in rooms for path in sorted(Path(room).glob("*.pyx"))]
planted = [Path("tests/checks/planted.pyx")] if variant in ("asan", "tsan") else []
modules = [
    Extension(
        ".".join(path.with_suffix("").parts) if path not in planted else "planted", [str(path)], include_dirs=["routing_core"],
        depends=["routing_core/atomic.h"], libraries=["m"], extra_link_args=FLAGS[variant],
        extra_compile_args=[*FLAGS[variant], "-g", "-Wall", "-Wextra", "-Werror" if path not in planted else "-w"])
    for path in [*sources, *planted]
]
compiled = cythonize(
    modules, include_path=["."], build_dir=f"build/c-{variant}",
    emit_linenums=True,     # debuggers, sanitizers, gcov and perf then speak of .pyx lines
    compiler_directives={"language_level": 3, "auto_pickle": False, "autotestdict": False, "cdivision": True,
                         "warn.maybe_uninitialized": True},
)
# gcov would count what Cython adds behind the last function into whatever lines of the source come next.
for source in Path("build/c-gcov").rglob("*.c") if variant == "gcov" else ():
    before, mark, after = source.read_text().partition("/* #### Code section: init_constants ### */\n")
    if mark and not after.startswith("#line"):
        source.write_text(f'{before}{mark}#line 1 "cython_module"\n{after}')
setup(ext_modules=compiled)
