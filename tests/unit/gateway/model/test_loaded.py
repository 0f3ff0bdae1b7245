from gateway.model import Config, Loaded


def test_nothing_is_hidden_unless_somebody_says_what():
    assert Loaded(Config(), ()).hide("a b") == "a b"
    assert Loaded(Config(), (), lambda text: text.replace("b", "${B}")).hide("a b") == "a ${B}"
