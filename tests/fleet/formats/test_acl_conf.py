"""acl.conf: the grammar, and what becomes of each condition."""

import pytest

from exhookadmin.fleet.records import Kind
from tests.fleet.reading import errors, findings, reading, rules, shown

FORTY = "{'or', [" + ", ".join(f'{{user, "{number}"}}' for number in range(40)) + "]}"
EXAMPLE = """\
{allow, {username, {re, "^dashboard$"}}, subscribe, ["$SYS/#"]}.
{allow, {ipaddr, "127.0.0.1"}, all, ["$SYS/#", "#"]}.
{deny,  all, subscribe, ["$SYS/#", {eq, "#"}, {eq, "+/#"}]}.
{allow, all, publish, ["up/${clientid}/#"]}.
{allow, {'and', [{username, "svc"}, {ipaddrs, ["10.0.0.0/8", "192.168.0.0/16"]}]}, all, ["cmd/#"]}.
{deny,  all, {publish, [{qos, 2}, {retain, true}]}, ["#"]}.
{allow, {client_attr, "role", "admin"}, all, ["#"]}.
{allow, {listener, "ssl:default"}, subscribe, ["${username}/#"]}.
{allow, {'or', [{clientid, {re, "^gw-"}}, {username, "gateway"}]},
        {subscribe, [{qos, [0, 1]}]}, ["down/+/cmd"]}.
{deny, all}.
"""


def read(content, **options):
    return reading("emqx-acl-conf", content, **options)


def lines(content, **options):
    return [shown(rule) for rule in rules(read(content, **options))]


def test_the_example_as_rules_in_their_order():
    found = read(EXAMPLE)
    assert errors(found) == []
    assert [(rule.line, rule.priority, shown(rule)) for rule in rules(found)] == [
        (1, 0, "device dashboard: allow subscribe $SYS/#"),
        (2, -1, "everyone: allow all $SYS/# from 127.0.0.1/32"),
        (2, -1, "everyone: allow all # from 127.0.0.1/32"),
        (3, -2, "everyone: deny subscribe $SYS/#"),
        (3, -2, "everyone: deny subscribe eq #"),
        (3, -2, "everyone: deny subscribe eq +/#"),
        (4, -3, "everyone: allow publish up/${clientid}/#"),
        (5, -4, "device svc: allow all cmd/# from 10.0.0.0/8,192.168.0.0/16"),
        (11, -9, "everyone: deny all #"),
    ]


def test_the_example_says_what_cannot_be_kept_of_each_rule():
    found = findings(read(EXAMPLE))
    assert [(one.kind, one.line) for one in found] == [
        (Kind.DENY_WIDER, 6),
        (Kind.ALLOW_LOST, 7),
        (Kind.ALLOW_LOST, 8),
        (Kind.ALLOW_LOST, 9),
        (Kind.ALLOW_LOST, 9),
    ]
    words = [one.reason for one in found]
    assert "QoS 2 and the condition retain true" in words[0]
    assert "client attribute “role”" in words[1]
    assert "listener “ssl:default”" in words[2]
    assert "QoS 0 or 1 and the client id pattern “^gw-”" in words[3]
    assert [shown(rule) for rule in found[0].instead] == ["everyone: deny publish #"]
    assert not any(one.instead for one in found[1:])


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        # conditions
        ('{allow, {user, "a"}, all, ["t"]}.', ["device a: allow all t"]),
        ('{allow, {username, "a"}, all, ["t"]}.', ["device a: allow all t"]),
        ('{allow, {client, "c"}, all, ["t"]}.', ["client id c: allow all t"]),
        ('{allow, {clientid, <<"c">>}, all, [<<"t">>]}.', ["client id c: allow all t"]),
        ('{allow, {clientid, {re, "^c$"}}, all, ["t"]}.', ["client id c: allow all t"]),
        ('{allow, {ipaddr, "::1"}, all, ["t"]}.', ["everyone: allow all t from ::1/128"]),
        ('{allow, {ipaddr, "10.1.2.3/8"}, all, ["t"]}.', ["everyone: allow all t from 10.0.0.0/8"]),
        (
            '{deny, {username, {re, "^(a|b\\\\.c)$"}}, all, ["t"]}.',
            ["device a: deny all t", "device b.c: deny all t"],
        ),
        # joined
        (
            '{deny, {\'or\', [{username, "a"}, {clientid, "c"}]}, all, ["t"]}.',
            ["device a: deny all t", "client id c: deny all t"],
        ),
        (
            '{deny, {\'and\', [{username, "a"}, {clientid, "c"}]}, all, ["t"]}.',
            ["device a and client id c: deny all t"],
        ),
        (
            '{deny, {\'and\', [{\'or\', [{user, "a"}, {user, "b"}]}, {ipaddr, "10.0.0.0/8"}]}, all, ["t"]}.',
            ["device a: deny all t from 10.0.0.0/8", "device b: deny all t from 10.0.0.0/8"],
        ),
        (
            '{deny, {\'and\', [{ipaddr, "10.0.0.0/8"}, {ipaddrs, ["10.1.0.0/16", "1.0.0.1"]}]}, all, ["t"]}.',
            ["everyone: deny all t from 10.1.0.0/16"],
        ),
        ("{deny, {'and', []}, all, [\"t\"]}.", ["everyone: deny all t"]),
        ("{deny, {'or', []}, all, [\"t\"]}.", []),
        ('{deny, {\'and\', [{user, "a"}, {user, "b"}]}, all, ["t"]}.', []),
        ('{deny, {ipaddrs, []}, all, ["t"]}.', []),
        # actions
        ('{allow, all, {all, []}, ["t"]}.', ["everyone: allow all t"]),
        ('{allow, all, {publish, [{qos, [0,1,2]}, {retain, all}]}, ["t"]}.', ["everyone: allow publish t"]),
        ('{allow, all, {publish, [{qos, 0}, {qos, [1, 2]}]}, ["t"]}.', ["everyone: allow publish t"]),
        ('{allow, all, {publish, [{qos, []}]}, ["t"]}.', []),
        ('{allow, all, {subscribe, [{retain, true}]}, ["t"]}.', ["everyone: allow subscribe t"]),
        # topics
        ("{allow, all, publish, []}.", []),
        ("{allow, all, publish, all}.", ["everyone: allow publish #"]),
        ("{allow, all}.", ["everyone: allow all #"]),
        ('{allow, all, all, ["eq a/#"]}.', ["everyone: allow all eq a/#"]),
        ('{allow, all, all, [{eq, <<"a/#">>}]}.', ["everyone: allow all eq a/#"]),
        ('{allow, all, all, ["${cert_common_name}/x"]}.', ["everyone: allow all ${cn}/x"]),
        (
            '{allow, all, all, ["a-${clientid}-${username}/x"]}.',
            ["everyone: allow all a-${clientid}-${username}/x"],
        ),
        ('{allow, all, all, ["%c/%u"]}.', ["everyone: allow all %c/%u"]),
        # writing
        ("{'allow', 'all', 'all', [\"t\"]}.", ["everyone: allow all t"]),
        ('{allow,all,all,["a" %x\n]}. % y', ["everyone: allow all a"]),
        (
            '{allow, all, all, ["gr\\\\x{f6}\\\\337e/\\\\"q\\\\""]}.'.replace("\\\\", "\\"),
            ['everyone: allow all größe/"q"'],
        ),
        ('{allow, all, all, [<<"größe"/utf8>>]}.', ["everyone: allow all größe"]),
        ("", []),
        ("%% only a comment", []),
    ],
)
def test_rule(rule, expected):
    found = read(rule)
    assert errors(found) == []
    assert [shown(one) for one in rules(found)] == expected
    assert findings(found, Kind.ALLOW_LOST, Kind.DENY_WIDER) == []


@pytest.mark.parametrize("effect", ["allow", "deny"])
@pytest.mark.parametrize(
    ("rest", "wider"),
    [
        ('{username, {re, "^dev-"}}, all, ["t"]', "everyone: {} all t"),
        ('{username, {re, "dashboard"}}, all, ["t"]', "everyone: {} all t"),
        ('{username, {re, "^a.c$"}}, all, ["t"]', "everyone: {} all t"),
        ('{username, {re, ".*"}}, all, ["t"]', "everyone: {} all t"),
        ('{username, {re, "^\\\\d$"}}, all, ["t"]', "everyone: {} all t"),
        ('{clientid, {re, "^gw-[0-9]+$"}}, all, ["t"]', "everyone: {} all t"),
        ('{client_attr, "role", "admin"}, all, ["t"]', "everyone: {} all t"),
        ('{client_attr, "role", {re, "^a"}}, all, ["t"]', "everyone: {} all t"),
        ('{zone, "z1"}, all, ["t"]', "everyone: {} all t"),
        ('{zone, default}, all, ["t"]', "everyone: {} all t"),
        ('{zone, {re, "^z"}}, all, ["t"]', "everyone: {} all t"),
        ('{listener, "tcp:default"}, all, ["t"]', "everyone: {} all t"),
        ('{listener, {re, "^tcp:"}}, all, ["t"]', "everyone: {} all t"),
        ("{security_profile, legacy}", "everyone: {} all #"),
        ('{\'and\', [{user, "a"}, {zone, "z"}]}, all, ["t"]', "device a: {} all t"),
        ('all, {publish, [{qos, 1}]}, ["t"]', "everyone: {} publish t"),
        ('all, {all, [{retain, false}]}, ["t"]', "everyone: {} all t"),
        ('all, all, ["a/${zone}/b"]', "everyone: {} all a/+/b"),
        ('all, all, ["a/x-${client_attrs.site}/b"]', "everyone: {} all a/+/b"),
        ('all, all, [{eq, "a/${clientid}"}]', "everyone: {} all a/+"),
    ],
)
def test_what_cannot_be_kept_is_reported_and_never_guessed(effect, rest, wider):
    found = read(f"{{{effect}, {rest}}}.")
    assert errors(found) == []
    assert rules(found) == []
    [one] = findings(found, Kind.ALLOW_LOST, Kind.DENY_WIDER)
    assert one.line == 1
    if effect == "allow":
        assert (one.kind, one.instead) == (Kind.ALLOW_LOST, ())
    else:
        assert one.kind == Kind.DENY_WIDER
        assert [shown(rule) for rule in one.instead] == [wider.format(effect)]


def test_a_client_attribute_is_kept_where_the_operator_maps_it():
    content = '{allow, all, all, ["a/${client_attrs.site}/b"]}.'
    assert lines(content, attributes={"site": "place"}) == ["everyone: allow all a/${attr.place}/b"]


def test_a_deny_of_all_topics_also_denies_the_hidden_ones_that_a_later_rule_allows():
    content = (
        '{allow, {user, "a"}, all, ["$early/x"]}.\n'
        '{deny, {ipaddr, "10.0.0.0/8"}, all, all}.\n'
        '{allow, all, subscribe, ["$SYS/#", {eq, "$other/a"}, "${clientid}/x", "plain"]}.\n'
        '{deny, all, all, ["$denied/#"]}.\n'
    )
    assert lines(content)[1:4] == [
        "everyone: deny all # from 10.0.0.0/8",
        "everyone: deny all $SYS/# from 10.0.0.0/8",
        "everyone: deny all $other/# from 10.0.0.0/8",
    ]


def test_an_allow_of_all_topics_leaves_the_hidden_ones_out_and_says_so():
    [remark] = findings(read("{allow, all}."), Kind.REMARK)
    assert "$SYS/#" in remark.reason


def test_the_first_priority_is_the_operators_choice():
    assert [rule.priority for rule in rules(read(EXAMPLE, priority=500))][-1] == 491


def test_each_rule_says_where_it_comes_from():
    assert rules(read("\n\n{deny, all}.", name="acl.conf"))[0].note == "acl.conf, line 3"


@pytest.mark.parametrize(
    ("content", "line", "reason"),
    [
        ("{allow, all}", 1, "cut off"),
        ("{allow, all", 1, "cut off"),
        ("{allow, all}.\n{deny, all", 2, "cut off"),
        ("{allow, all} {deny, all}.", 1, "full stop"),
        ("{allow all}.", 1, "expected"),
        ("{allow, all]}.", 1, "expected"),
        ("allow.", 1, "a rule is"),
        ("{maybe, all}.", 1, "allow or deny"),
        ('{"allow", all}.', 1, "allow or deny"),
        ("{allow}.", 1, "a rule is"),
        ("{allow, all, all, [], []}.", 1, "a rule is"),
        ('{allow, {username, "x"}}.', 1, "only all"),
        ("{allow, nobody, all, []}.", 1, "condition"),
        ('{allow, {usrname, "x"}, all, []}.', 1, "this condition is not known"),
        ("{allow, {username, x}, all, []}.", 1, "double quotes"),
        ("{allow, {username, 7}, all, []}.", 1, "double quotes"),
        ('{allow, {ipaddr, "10.0.0.0/33"}, all, []}.', 1, "no CIDR"),
        ('{allow, {ipaddr, "localhost"}, all, []}.', 1, "no CIDR"),
        ('\n{allow, all, write, ["t"]}.', 2, "publish, subscribe or all"),
        ('{allow, all, {publish, [{qos, 3}]}, ["t"]}.', 1, "QoS"),
        ('{allow, all, {publish, [{qos, true}]}, ["t"]}.', 1, "QoS"),
        ('{allow, all, {publish, [{retain, maybe}]}, ["t"]}.', 1, "option"),
        ('{allow, all, {publish, qos}, ["t"]}.', 1, "list"),
        ('{allow, all, all, "t"}.', 1, "topics"),
        ('{allow, all, all, ["a/#/b"]}.', 1, "# is only allowed as the last level"),
        ('{allow, all, all, ["$share/g/t"]}.', 1, "inner filter"),
        ('{allow, all, all, [""]}.', 1, "empty"),
        ('{allow, all, all, ["${clientid"]}.', 1, "never closed"),
        ('{allow, all, all, ["t]}.', 1, "not closed"),
        ("{allow, all, all, [t]}.", 1, "double quotes"),
        ("{allow, all}. #", 1, "no Erlang term"),
        ("{Allow, all}.", 1, "no Erlang term"),
        ("#{a => 1}.", 1, "no Erlang term"),
        ('{allow, all, all, ["\\x{d800}"]}.', 1, "no character"),
        ("[" * 100 + "]" * 100 + ".", 1, "too deeply"),
        (f"{{allow, {{'and', [{FORTY}, {FORTY}]}}, all, [\"t\"]}}.", 1, "combinations"),
    ],
)  # fmt: skip
def test_what_is_no_acl_conf_is_an_error_at_its_line(content, line, reason):
    [(at, text)] = errors(read(content))
    assert at == line
    assert reason in text
