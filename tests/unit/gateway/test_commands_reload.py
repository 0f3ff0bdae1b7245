from gateway.cli import main
from tests.unit.gateway.admin_api import admin_api


def test_what_came_of_it_is_said_as_check_says_it(capsys):
    with admin_api() as api:
        said = {"reloaded": True, "generation": 1, "table": {"generation": 9}, "warnings": ["x.yaml:7: routes: never matches"]}
        api.answers = [(200, said)]
        assert main(["reload", "--admin", api.url]) == 0
        assert api.asked == [("POST", "/reload")]
        output = capsys.readouterr()
        assert (output.out, output.err) == ("reloaded: table 9\n", "warning: x.yaml:7: routes: never matches\n")
        api.answers = [
            (409, {"reloaded": False, "error": "reload refused: nothing has changed", "faults": ["x.yaml:1: pops: no", "x.yaml:2: y"]})
        ]
        assert main(["reload", "--admin", api.url]) == 2
        refused = f"isochrone: {api.url} refuses: reload refused: nothing has changed"
        assert capsys.readouterr().err == f"x.yaml:1: pops: no\nx.yaml:2: y\n{refused}\n"


def test_another_refusal_is_one_line(capsys):
    with admin_api() as api:
        api.answers = [(403, {"error": "Host: must be"})]
        assert main(["reload", "--admin", api.url]) == 1
        assert capsys.readouterr().err == f"isochrone: {api.url} refuses: Host: must be\n"
