import yaml

from gateway.control.sources.last_words import way_of
from gateway.control.sources.sharing import contexts_of, shared
from gateway.control.sources.wanted import sources_of
from gateway.model import KubernetesAccess
from tests.unit.gateway.control.helpers import config_of

CONTEXTS = {
    "a": {"cluster": "one", "user": "me", "namespace": "shop"},
    "b": {"cluster": "one", "user": "me", "namespace": "store"},
    "other-user": {"cluster": "one", "user": "you"},
    "other-server": {"cluster": "two", "user": "me"},
}


def kubeconfig(path, current="b", **contexts):
    path.write_text(yaml.safe_dump({
        "current-context": current,
        "contexts": [{"name": name, "context": context} for name, context in (CONTEXTS | contexts).items()],
        "clusters": [{"name": name, "cluster": {"server": "http://127.0.0.1:1"}} for name in ("one", "two")],
        "users": [{"name": name, "user": {"token": name}} for name in ("me", "you")],
    }))  # fmt: skip
    return path


def config(*ways):
    """A PoP and a pool of each way."""
    pops = [f"  - {{name: p{n}, lat: {n}, lon: 0, kubernetes: {{{way}}}}}" for n, way in enumerate(ways)]
    backends = [f"      - {{pop: p{n}, kubernetes: {{namespace: shop, service: web, port: http}}}}" for n in range(len(ways))]
    return config_of(
        'listeners: [{name: web, bind: "127.0.0.1:0"}]\n'
        + "\n".join(["pops:", *pops, "services:", "  - name: shop", "    backends:", *backends])
        + "\nroutes: [{service: shop}]\n"
    )


def ways_of(config):
    return [source[0] for _, _, source in sources_of(config) if source is not None]


def test_contexts_of_one_cluster_and_user_are_one_way_and_others_are_not(tmp_path):
    file = kubeconfig(tmp_path / "config")
    more = f"kubeconfig: {file}, context: "
    found = ways_of(shared(config(more + "b", more + "other-user", more + "a", more + "other-server", f"kubeconfig: {file}")))
    one = KubernetesAccess(context="a", in_cluster=False, kubeconfig=file, also=("b", None))  # the current one is b
    assert found == [
        one,
        KubernetesAccess(context="other-user", in_cluster=False, kubeconfig=file),
        one,
        KubernetesAccess(context="other-server", in_cluster=False, kubeconfig=file),
        one,
    ]
    assert contexts_of(one) == ("a", "b", None)
    assert way_of(one) == way_of(KubernetesAccess(context="a", in_cluster=False, kubeconfig=file))  # what was written stays good


def test_two_kubeconfigs_are_two_ways_be_they_alike_or_not(tmp_path):
    one, two = kubeconfig(tmp_path / "one"), kubeconfig(tmp_path / "two")
    plain = config(f"kubeconfig: {one}, context: a", f"kubeconfig: {two}, context: a", "in_cluster: true")
    assert shared(plain) is plain


def test_what_cannot_be_read_or_is_not_there_stays_as_it_is_written(tmp_path):
    file = tmp_path / "none"
    plain = config(f"kubeconfig: {file}, context: a", f"kubeconfig: {file}, context: b")
    assert shared(plain) is plain
    for text in ("{", "", "[]", "{contexts: 5}", "{contexts: [{name: a, context: {cluster: x}}]}"):
        file.write_text(text)
        assert shared(plain) is plain
    kubeconfig(file, b={"cluster": "none", "user": "me"})
    assert shared(plain) is plain


def test_a_context_that_parts_is_a_way_of_its_own_at_the_next_look(tmp_path):
    file = kubeconfig(tmp_path / "config")
    plain = config(f"kubeconfig: {file}, context: a", f"kubeconfig: {file}, context: b")
    assert len(set(ways_of(shared(plain)))) == 1
    kubeconfig(file, b={"cluster": "two", "user": "me"})
    assert ways_of(shared(plain)) == ways_of(plain)
