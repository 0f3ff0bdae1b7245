import os
import signal
import subprocess
import sys

import pytest


def run(program, *words, env=None):
    return subprocess.run([sys.executable, "-c", program, *words], capture_output=True, text=True, timeout=20, env=env)


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGTERM, 0), (signal.SIGINT, 0), (signal.SIGHUP, 7), (signal.SIGUSR1, 7), (signal.SIGUSR2, 7)]
)
def test_held_signals_end_in_order_or_do_nothing(number, status):
    program = f"import os, sys; from gateway import signals; signals.hold(); os.kill(os.getpid(), {int(number)}); sys.exit(7)"
    done = run(program)
    assert (done.returncode, done.stderr) == (status, "")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2])
def test_an_end_under_way_keeps_its_status(number):
    """To the last moment, in which Python has given its handlers back."""
    program = f"""if True:
        import os, sys
        from gateway import signals
        signals.hold()
        class Late:
            def __del__(self, kill=os.kill, pid=os.getpid()):
                kill(pid, {int(number)})
        sys.late = Late()
        signals.drop()
        os.kill(os.getpid(), {int(number)})
        sys.exit(7)
    """
    done = run(program)
    assert (done.returncode, done.stderr) == (7, "")


@pytest.mark.parametrize(("word", "is_held"), [("serve", True), ("check", False)])
def test_they_are_held_before_anything_is_imported_and_for_serve_alone(word, is_held):
    """At the first import of the command line itself: what is there by then, and what SIGHUP would do."""
    program = """if True:
        import os, signal, sys
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # nohup leaves it ignored
        before = set(sys.modules)
        class Look:
            def find_spec(self, name, path=None, target=None):
                if name == "gateway.cli":
                    print(sorted(set(sys.modules) - before), signal.getsignal(signal.SIGHUP) is signal.SIG_IGN)
                    sys.stdout.flush()
                    os._exit(0)
        sys.meta_path.insert(0, Look())
        from gateway.__main__ import main
        main()
    """
    done = run(program, word)
    assert done.stdout == f"['gateway', 'gateway.__main__', 'gateway.signals'] {is_held}\n", done.stderr


@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 1, 2)])
def test_a_closed_standard_stream_is_nobody_elses(closed):
    program = f"""if True:
        import os, sys
        out = os.dup(1)
        for number in {closed}:
            os.close(number)
        from gateway.__main__ import fill_standard
        fill_standard()
        os.write(out, " ".join(os.readlink(f"/proc/self/fd/{{number}}") for number in {closed}).encode())
    """
    assert run(program).stdout == " ".join(["/dev/null"] * len(closed))


@pytest.mark.parametrize("closed", ["1", "2", "0 1 2"])
def test_a_command_does_its_work_where_nobody_can_read_it(tmp_path, closed):
    """And nothing goes to the stream that is open instead."""
    shut = " ".join(f"{number}>&-" for number in closed.split())
    command = [sys.executable, "-m", "gateway", "check", "-c", "docs/examples/kubernetes.yaml"]  # it has warnings
    ran = subprocess.run(["sh", "-c", f'exec "$@" {shut}', "sh", *command], capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stderr
    assert all(line.startswith("warning: ") for line in ran.stderr.splitlines())
    assert "warning: " not in ran.stdout


def test_what_standard_output_cannot_write_is_escaped():
    """As standard error does: an error of a source, say, of which the words are somebody else's."""
    program = """if True:
        import sys
        from gateway import cli
        from gateway.__main__ import main
        cli._run = lambda command, args: print("caf\\xe9")
        sys.argv = ["isochrone", "check"]
        main()
    """
    assert run(program, env=os.environ | {"PYTHONIOENCODING": "ascii"}).stdout == "caf\\xe9\n"


def test_the_installed_command_begins_there():
    with open(os.path.join(os.path.dirname(__file__), "../../../pyproject.toml")) as file:
        assert 'isochrone = "gateway.__main__:main"' in file.read()
