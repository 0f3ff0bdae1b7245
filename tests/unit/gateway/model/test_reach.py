from gateway.model import Backend, Service, reachable_services


def service(name, *others):
    return Service(name=name, backends=(Backend(pop="fra"),), on_unavailable=others)


def test_those_named_come_first_then_who_stands_in_for_them_each_once():
    services = [service("a", "b", "c"), service("b", "d"), service("c", "d"), service("d"), service("e")]
    assert reachable_services(services, ["a"]) == ["a", "b", "c", "d"]
    assert reachable_services(services, ["c", "a", "c"]) == ["c", "a", "d", "b"]
    assert reachable_services(services, []) == []


def test_a_circle_and_a_name_that_is_nobodys_end():
    assert reachable_services([service("a", "b"), service("b", "a", "x")], ["a"]) == ["a", "b", "x"]
