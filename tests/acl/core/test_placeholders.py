import pytest

from acl.core.placeholders import parse_template, placeholder_advice, placeholder_problem
from tests.acl.core.policies import client, principal


def render(text, **values):
    attributes = {name.removeprefix("attr_"): v for name, v in values.items() if name.startswith("attr_")}
    template = parse_template(text)
    assert template is not None
    return template.render(
        client(values.get("clientid", ""), username="as sent by the client", cn=values.get("cn", "")),
        principal(values.get("username", ""), attributes=attributes),
    )


@pytest.mark.parametrize(
    ("text", "values", "rendered"),
    [
        ("${clientid}/up", {"clientid": "c"}, "c/up"),
        ("dev-${clientid}/up", {"clientid": "c"}, "dev-c/up"),
        ("a/${username}-x/+", {"username": "u"}, "a/u-x/+"),
        ("a/${cn}/#", {"cn": "n"}, "a/n/#"),
        ("a/${attr.site}/b", {"attr_site": "s"}, "a/s/b"),
        ("${cn}${clientid}/${cn}", {"cn": "n", "clientid": "c"}, "nc/n"),
        ("100%/%s/${cn}", {"cn": "50%d"}, "100%/%s/50%d"),
        ("a/${cn}", {"cn": "${clientid}", "clientid": "c"}, "a/${clientid}"),
        ("a/${cn}", {"cn": "$SYS"}, "a/$SYS"),
        ("x${cn}/a", {"cn": "$SYS"}, "x$SYS/a"),
        ("${clientid}${cn}", {"clientid": "c", "cn": "$"}, "c$"),
    ],
)
def test_values_are_put_in(text, values, rendered):
    assert render(text, **values) == rendered


@pytest.mark.parametrize(
    ("text", "values", "flaw"),
    [
        ("a/${cn}", {}, "placeholder ${cn} has no value"),
        ("a/${attr.site}", {"attr_other": "s"}, "placeholder ${attr.site} has no value"),
        ("a/${attr.site}", {"attr_site": ""}, "placeholder ${attr.site} has no value"),
        ("a/${cn}", {"cn": "+"}, "the value of placeholder ${cn} holds + # / or NUL"),
        ("a/${cn}", {"cn": "x#"}, "the value of placeholder ${cn} holds + # / or NUL"),
        ("a/${cn}", {"cn": "x/y"}, "the value of placeholder ${cn} holds + # / or NUL"),
        ("a/${cn}", {"cn": "x\0y"}, "the value of placeholder ${cn} holds + # / or NUL"),
        (
            "${clientid}/#",
            {"clientid": "$SYS"},
            "the value of placeholder ${clientid} begins with $ where the filter begins",
        ),
        ("${clientid}/${cn}", {"clientid": "c"}, "placeholder ${cn} has no value"),
    ],
)
def test_values_that_cannot_be_put_in(text, values, flaw):
    assert render(text, **values) is None
    template = parse_template(text)
    assert template is not None
    attributes = {name.removeprefix("attr_"): v for name, v in values.items() if name.startswith("attr_")}
    connection = client(values.get("clientid", ""), cn=values.get("cn", ""))
    assert template.flaw(connection, principal(attributes=attributes)) == flaw


def test_there_is_no_flaw_where_there_is_a_rendering():
    template = parse_template("a/${clientid}")
    assert template is not None
    assert template.flaw(client("c"), principal()) is None


def test_the_username_is_the_device_s_not_what_the_client_sent():
    template = parse_template("${username}/up")
    assert template is not None
    assert template.render(client("pump-17", username="root"), principal("pump-17")) == "pump-17/up"


@pytest.mark.parametrize("text", ["a/b", "+/#", "$SYS/a", "a/$b", "a/{clientid}", "%c/%u"])
def test_plain_filters_are_no_templates(text):
    assert parse_template(text) is None
    assert placeholder_problem(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "${clientid}",
        "dev-${username}/#",
        "a/${cn}",
        "${attr.Site_1.a-b}",
        "$SYS/${clientid}",
        "${cn}${cn}",
        "a/$${cn}{",
    ],
)
def test_known_placeholders_are_accepted(text):
    assert placeholder_problem(text) is None


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("${cert_common_name}/up", "${cn}"),
        ("a/${client_attrs.site}", "${attr.site}"),
        ("a/${ClientID}", "${clientid}"),
        ("a/${client_id}", "${clientid}"),
        ("a/${ clientid }", "${clientid}"),
    ],
)
def test_another_spelling_gets_a_hint(text, hint):
    problem = placeholder_problem(text)
    assert problem is not None
    assert problem.endswith(f"; you may mean {hint}.")


@pytest.mark.parametrize(
    "text", ["a/${peerhost}", "${}", "${attr.}", "${attr.a/b}", "${attr.a b}", "${${clientid}}"]
)
def test_unknown_placeholders_are_refused_and_the_known_ones_named(text):
    problem = placeholder_problem(text)
    assert problem is not None
    assert problem.endswith("is not known here; known are ${clientid}, ${username}, ${cn} and ${attr.name}.")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a/${clientid", "never closed"),
        ("a/${", "never closed"),
        ("$${clientid}/a", "“$${clientid}”: a first level that begins with $"),
        ("$SYS${cn}/a", "“$SYS${cn}”: a first level that begins with $"),
    ],
)
def test_other_problems_of_placeholders(text, words):
    problem = placeholder_problem(text)
    assert problem is not None
    assert words in problem


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("dev/%c", "“%c” is plain text here; if you mean a placeholder, write ${clientid}."),
        ("%u/#", "“%u” is plain text here; if you mean a placeholder, write ${username}."),
        ("a/b%", None),
    ],
)
def test_placeholders_of_other_brokers_get_advice(text, advice):
    assert placeholder_advice(text) == advice
