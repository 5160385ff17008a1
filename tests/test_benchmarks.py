"""The benchmarks run, in a version of a few calls each, and say what they should. No timing is judged."""

import itertools
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import devices, figures, h2load, http2_client, machine, processes, report
from benchmarks.__main__ import main
from benchmarks.bench import TINY, Bench, new_bench
from benchmarks.checks import ALLOW, DENY, require
from benchmarks.figures import Figure, alternate, at_least, at_most, ratio, skipped
from benchmarks.load import Sample, WrongAnswer
from benchmarks.measurements import MEASUREMENTS
from benchmarks.processes import Child
from benchmarks.servers import running

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs Linux’s /proc")


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with new_bench(TINY, tmp_path_factory.mktemp("benchmarks")) as made:
        yield made


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Child]:
    with running(tmp_path_factory.mktemp("bare"), machine.cores()) as servers:
        yield servers.bare("asynchronous")


# How many lines each has, and what one of them begins with.
LINES = {
    "authorize": (29, "authorize, grpcio ÷ bare grpc.aio"),
    "logins": (4, "login, token, first time, grpcio ÷ HTTP view, SQLite"),
    "storm": (4, "authorize during a storm of logins ÷ alone, grpcio"),
    "rules": (2, "authorize, time with 10,000 rules ÷ with 10, grpcio"),
    "fleet-size": (3, "memory of 200 devices above idle"),
    "workers": (3, "calls for each CPU second, 2 workers ÷ 1, native"),
    "hooks": (12, "session.subscribed, native: recorded ÷ answered only"),
    "changes": (6, "commit → effective in all workers, PostgreSQL: median"),
    "recording": (5, "facts, from the spool to rows ÷ plain COPY"),
    "imports": (4, "import of 500 devices with tokens ÷ plain bulk insert"),
    "explorer": (2, "the log’s first page, time with 2,000 events ÷ with 200"),
}


def test_every_measurement_is_tried_here() -> None:
    assert MEASUREMENTS.keys() == LINES.keys()


@pytest.mark.slow
@pytest.mark.parametrize("name", LINES)
def test_measures_what_it_says(name: str, bench: Bench) -> None:
    measured = MEASUREMENTS[name](bench)
    count, begins = LINES[name]
    assert len(measured) == count
    assert any(figure.text.startswith(begins) for figure in measured)
    assert len({figure.text for figure in measured}) == count, "two lines say the same"
    for figure in measured:
        if figure.value is None:
            assert figure.note, f"{figure.text}: skipped without a reason"
            assert "Go" in figure.text
        else:
            # A ratio of nothing is what a storm of a moment yields, and memory that was freed meanwhile.
            assert figure.value >= 0 or figure.unit == "MB", figure.text


def test_every_reply_is_compared_with_the_expected_one(bare: Child) -> None:
    question = devices.authorize("pump-0000001", "some/topic")
    sample = http2_client.load(bare.port, devices.AUTHORIZE, iter([question] * 500), ALLOW)
    assert sample.calls == 500
    with pytest.raises(WrongAnswer, match="not the expected reply"):
        http2_client.load(bare.port, devices.AUTHORIZE, iter([question]), DENY)


def test_a_call_that_ends_in_an_error_is_no_answer(bare: Child) -> None:
    with pytest.raises(WrongAnswer, match="without a reply"):
        http2_client.load(bare.port, "/emqx.exhook.v3.HookProvider/NoSuchMethod", iter([b""]), ALLOW)


def test_more_calls_than_the_first_flow_control_window_holds(bare: Child) -> None:
    # 64 kB each way is what HTTP/2 begins with; the client has to notice that the server gives more.
    question = devices.authorize("pump-0000001", "a-long-topic/" * 100)
    sample = http2_client.load(bare.port, devices.AUTHORIZE, iter([question] * 400), ALLOW, connections=1)
    assert sample.calls == 400


def test_a_load_that_is_given_a_time_ends(bare: Child) -> None:
    question = itertools.repeat(devices.authorize("pump-0000001", "some/topic"))
    sample = http2_client.load(bare.port, devices.AUTHORIZE, question, ALLOW, 0.1, bare.cpu_seconds)
    assert sample.calls > 0
    assert sample.seconds >= 0.1


def test_the_stub_finds_out_who_allows_everything(bare: Child) -> None:
    question = devices.authorize("pump-0000001", "some/topic")
    require(bare.port, devices.AUTHORIZE, question, allow=True)
    with pytest.raises(WrongAnswer, match="should have been denied"):
        require(bare.port, devices.AUTHORIZE, question, allow=False)


def test_a_server_that_does_not_start_shows_its_log(tmp_path: Path) -> None:
    with pytest.raises(processes.ProcessFailed, match="no such thing"):
        processes.start(["sh", "-c", "echo no such thing >&2; exit 1"], tmp_path / "log", machine.cores())


H2LOAD_SAID = """
finished in 1.50s, 4666.67 req/s, 1.24MB/s
requests: 7000 total, 7000 started, 7000 done, 7000 succeeded, {failed} failed, 0 errored, 0 timeout
status codes: 7000 2xx, 0 3xx, {wrong} 4xx, 0 5xx
"""


def test_h2loads_report_is_read() -> None:
    sample = h2load.sample_of(H2LOAD_SAID.format(failed=0, wrong=0), cpu_seconds=0.5)
    assert sample == Sample(7000, 1.5, 0.5)
    assert sample.per_cpu_second == 14_000


@pytest.mark.parametrize("problem", [{"failed": 1, "wrong": 0}, {"failed": 0, "wrong": 1}, None])
def test_h2loads_failures_are_not_counted_as_speed(problem: dict[str, int] | None) -> None:
    with pytest.raises(WrongAnswer):
        h2load.sample_of(H2LOAD_SAID.format(**problem) if problem else "Segmentation fault", 0.5)


def test_a_ratio_is_the_median_of_the_rounds() -> None:
    ours = [Sample(100, 1, 1), Sample(300, 1, 1), Sample(1000, 2, 1)]
    theirs = [Sample(100, 1, 1), Sample(100, 1, 1), Sample(100, 1, 1)]
    figure = ratio("ours ÷ theirs", at_least(2), ours, theirs)
    assert (figure.value, figure.by_clock, figure.met) == (3, 3, True)
    assert figure.spread == (1, 3, 10)
    assert ratio("", at_most(2), ours, theirs).met is False


def test_runs_take_turns_and_every_other_round_goes_backwards() -> None:
    order: list[str] = []

    def run(name: str) -> Sample:
        order.append(name)
        return Sample(1, 1)

    samples = alternate(2, {"a": lambda: run("a"), "b": lambda: run("b")})
    assert order == ["a", "b", "b", "a"]
    assert [len(each) for each in samples.values()] == [2, 2]


def test_the_table_says_what_was_met_missed_and_left_out() -> None:
    lines = figures.table(
        [
            Figure("fast", at_least(2), 2.5),
            Figure("slow", at_most(10), 11.0, unit="ms"),
            Figure("so so", None, 1.0),
            skipped("go", at_least(1), "no Go toolchain is installed"),
        ]
    ).splitlines()
    assert [line[0] for line in lines[1:]] == ["✓", "✗", "·", "s"]
    assert "11.0 ms" in lines[2]
    assert lines[4].endswith("no Go toolchain is installed")


def test_results_go_between_the_markers_of_the_documentation() -> None:
    found = {"authorize": [Figure("fast", at_least(2), 2.5)]}
    text = f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n"
    after = report.write_into_documentation(found, {"cores": "2"}, text)
    assert "cores 2" in after
    assert "| fast | ≥ 2 | 2.50 |  | ✓ |" in after
    assert "old" not in after
    assert after.startswith("before\n")
    assert after.endswith("after\n")
    with pytest.raises(ValueError, match="results begin"):
        report.write_into_documentation(found, {}, "no markers")


def test_the_documentation_has_the_markers() -> None:
    text = report.DOCUMENT.read_text()
    assert text.index(report.BEGIN) < text.index(report.END)


def test_results_are_json() -> None:
    stored = json.loads(figures.results({"rules": [Figure("slow", at_most(10), 11.0)]}, {"cores": "2"}))
    assert stored["machine"] == {"cores": "2"}
    assert stored["figures"]["rules"][0]["met"] is False


def test_an_unknown_name_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["autorize"])
    assert "there is no measurement “autorize”" in capsys.readouterr().err


def test_the_readme_explains_every_measurement() -> None:
    text = (processes.ROOT / "benchmarks" / "README.md").read_text()
    assert [line[4:] for line in text.splitlines() if line.startswith("### ")] == list(MEASUREMENTS)
