"""Builds the extension modules. VARIANT picks flags (each has its own build folder, normal-3.13 too), ROOMS the packages."""
import os
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

FLAGS = {
    "normal": ["-O2"],      # asan: CPython's own flags bring -fwrapv, which hides signed overflow from UBSan
    "asan": ["-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined", "-fno-omit-frame-pointer", "-fno-wrapv"],
    "tsan": ["-O1", "-fsanitize=thread", "-fno-omit-frame-pointer"],
    "gcov": ["-O0", "--coverage", "-fprofile-update=atomic"],
}
variant = os.environ.get("VARIANT", "normal")
flags = FLAGS[variant.partition("-")[0]]
rooms = os.environ.get("ROOMS", "routing_core geoip gateway/dataplane").split()
# An error for us alone: a compiler that knows one more warning keeps no user from a release.
warnings = ["-Wall", "-Wextra", *(["-Werror"] if os.environ.get("ISOCHRONE_STRICT") == "1" else [])]
headers = ["routing_core/atomic.h", "gateway/dataplane/http1/_octets.h"]
options = {"include_dirs": [os.path.dirname(one) for one in headers], "depends": headers, "libraries": ["m"], "extra_link_args": flags}
modules = [Extension(".".join(path.with_suffix("").parts), [str(path)], extra_compile_args=[*flags, "-g", *warnings], **options)
           for room in rooms for path in sorted(Path(room).rglob("*.pyx"))]
if variant in ("asan", "tsan"):
    modules.append(Extension("planted", ["tests/checks/planted.pyx"], extra_compile_args=[*flags, "-g", "-w"], **options))
class Build(build_ext):
    def run(self):      # the C is written here and not above: an sdist needs none
        self.parallel = self.parallel or len(os.sched_getaffinity(0))
        compiled = cythonize(   # emit_linenums: debuggers, sanitizers, gcov and perf then speak of .pyx lines
            [Extension(module.name, module.sources, depends=module.depends) for module in self.extensions], nthreads=self.parallel,
            include_path=["."], build_dir=f"build/c-{variant}", emit_linenums=True, compiler_directives={"language_level": 3,
            "auto_pickle": False, "autotestdict": False, "cdivision": True, "warn.maybe_uninitialized": True})
        for mine, made in zip(self.extensions, compiled, strict=True):
            mine.sources, mine.depends = made.sources, made.depends
        # gcov would count what Cython adds behind the last function into whatever lines of the source come next.
        for source in Path("build/c-gcov").rglob("*.c") if variant == "gcov" else ():
            before, mark, after = source.read_text().partition("/* #### Code section: init_constants ### */\n")
            if mark and not after.startswith("#line"):
                source.write_text(f'{before}{mark}#line 1 "cython_module"\n{after}')
        super().run()
setup(ext_modules=modules, cmdclass={"build_ext": Build})
