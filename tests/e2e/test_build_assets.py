"""`make kube-assets`: what it finds, what it says, what it leaves when Go fails. The real build is `make kube-assets` itself."""

from pathlib import Path

import pytest

from tests.e2e.assets import build

# Plays `go build -o FOLDER/ PACKAGE...`: makes a program of each package, then ends with the status $GO_STATUS.
GO = """#!/bin/sh
echo "go: downloading example.org v1" >&2
while [ "$1" != -o ]; do shift; done
folder=$2; shift 2
for package in "$@"; do
  name=${package##*/}; [ "$name" = . ] && name=etcd
  echo "#!/bin/sh" > "$folder/$name"; chmod +x "$folder/$name"; echo "$package" >&2
done
exit ${GO_STATUS:-0}
"""


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, a Go that builds at once, and nothing named in the environment."""
    go = tmp_path / "bin" / "go"
    go.parent.mkdir()
    go.write_text(GO)
    go.chmod(0o755)
    monkeypatch.setenv("PATH", str(go.parent), prepend=":")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("KUBEBUILDER_ASSETS", raising=False)
    return build.cache()


def test_builds_all_three_and_then_nothing(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert build.locate() is None
    assert build.main() == 0
    assert build.locate() == cache
    assert sorted(path.name for path in cache.iterdir()) == sorted(build.PROGRAMS), "and nothing half built"
    assert "built in" in capsys.readouterr().out
    assert build.main() == 0
    assert capsys.readouterr().out == f"kube-assets: there already: {cache}\n"


def test_builds_only_what_is_missing(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert build.main() == 0
    (cache / "kube-apiserver").unlink()
    capsys.readouterr()
    assert build.main() == 0
    assert "building kube-apiserver (" in capsys.readouterr().out


def test_a_failed_build_leaves_no_program(cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("GO_STATUS", "2")
    assert build.main() == 1
    assert list(cache.iterdir()) == []
    said = capsys.readouterr()
    assert "FAILED" in said.out
    assert "go: downloading example.org v1" in said.err, "what Go said last"


def test_no_go_is_one_loud_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(build, "find_go", lambda: None)
    assert build.main() == 3
    (line,) = capsys.readouterr().out.splitlines()
    assert "NO GO ON THIS MACHINE" in line


def test_kubebuilder_assets_is_used_when_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    named = tmp_path / "named"
    named.mkdir()
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(named))
    monkeypatch.setattr(build, "find_go", lambda: None)
    assert build.main() == 3
    assert "lacks etcd, kube-apiserver, kube-controller-manager; using the cache" in capsys.readouterr().out
    for name in build.PROGRAMS:
        (named / name).touch(mode=0o755)
    assert build.main() == 0
    assert build.locate() == named
