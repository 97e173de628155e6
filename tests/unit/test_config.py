"""Settings: where they may come from, which one wins, and what is said of a wrong one."""

import dataclasses
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.config import Config, StandaloneConfig
from daemon.settings import ConfigError, Setting, environment_file, load, settings_of, shown

REQUIRED = {"INPLACED_MANIFESTS": "/m"}
SETTINGS = settings_of(StandaloneConfig)
NAMES = [setting.name for setting in SETTINGS]
BY_NAME = {setting.name: setting for setting in SETTINGS}


def loaded(*argv: str, **environ: str) -> StandaloneConfig:
    return load(StandaloneConfig, "inplaced standalone", argv, REQUIRED | environ)


def refusal(*argv: str, **environ: str) -> str:
    with pytest.raises(ConfigError) as caught:
        loaded(*argv, **environ)
    return str(caught.value)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "inplaced.yaml"


# One setting of each kind: what a flag, the environment and a file say, and what it is by default.
KINDS = [
    ("node_name", ("flag", "env", "file"), ("flag", "env", "file"), "localhost"),
    (
        "node_labels",
        ("a=1,b=2", "a=env", "{a: file}"),
        ({"a": "1", "b": "2"}, {"a": "env"}, {"a": "file"}),
        {},
    ),
    ("runtime", ("/f,/g", "/e", "[/y, /z]"), (("/f", "/g"), ("/e",), ("/y", "/z")), ()),
    ("allowed_uids", ("1000,0", "1", "[2, 3]"), ((1000, 0), (1,), (2, 3)), ()),
    ("host_root", ("/f", "/e", "/y"), (Path("/f"), Path("/e"), Path("/y")), Path("/")),
    ("pull_workers", ("3", "4", "5"), (3, 4, 5), 2),
    ("pull_backoff", ("0.5", "2", "3.5"), (0.5, 2.0, 3.5), 1.0),
    ("measure_images", ("false", "false", "false"), (False, False, False), True),
    ("docker_config", ("/f", "/e", "/y"), (Path("/f"), Path("/e"), Path("/y")), None),
    ("log_level", ("debug", "error", "warning"), ("debug", "error", "warning"), "info"),
]


@pytest.mark.parametrize(("name", "told", "values", "default"), KINDS, ids=[kind[0] for kind in KINDS])
def test_a_flag_wins_over_the_environment_over_the_file_over_the_default(
    name: str, told: tuple[str, str, str], values: tuple[Any, Any, Any], default: Any, file: Path
) -> None:
    setting = BY_NAME[name]
    file.write_text(f"{setting.flag[2:]}: {told[2]}\n", encoding="utf-8")
    by_file, by_env, by_flag = ("--config", str(file)), {setting.variable: told[1]}, (setting.flag, told[0])

    found = [
        getattr(loaded(*by_file, *by_flag, **by_env), name),
        getattr(loaded(*by_file, **by_env), name),
        getattr(loaded(*by_file), name),
        getattr(loaded(), name),
    ]

    assert found == [*values, default]


def test_a_false_and_an_empty_value_also_win_over_lower_layers() -> None:
    made = loaded("--listen", "", "--docker-config", "", "--runtime", "", INPLACED_DOCKER_CONFIG="/e")

    assert (made.listen, made.docker_config, made.runtime) == ("", None, ())


def test_the_file_may_be_named_by_the_environment_and_a_flag_wins(file: Path, tmp_path: Path) -> None:
    file.write_text("pull-workers: 3", encoding="utf-8")
    other = tmp_path / "other.yaml"
    other.write_text("pull-workers: 4", encoding="utf-8")

    by_environment = loaded(INPLACED_CONFIG=str(file))
    by_flag = loaded("--config", str(other), INPLACED_CONFIG=str(file))
    by_none = loaded("--config", "", INPLACED_CONFIG=str(file))

    assert [made.pull_workers for made in (by_environment, by_flag, by_none)] == [3, 4, 2]


WRONG = [
    ("pull_workers", "0"),
    ("pull_workers", "65"),
    ("pull_workers", "-1"),
    ("pull_workers", "1.5"),
    ("pull_workers", ""),
    ("pull_workers", "many"),
    ("pull_workers", "9" * 5000),
    ("pull_backoff", "nan"),
    ("pull_backoff", "inf"),
    ("pull_backoff", "-inf"),
    ("pull_backoff", "0"),
    ("pull_backoff", ""),
    ("shutdown_grace", "nan"),
    ("disk_reserve_percent", "-0.1"),
    ("disk_reserve_percent", "95.1"),
    ("default_ttl_seconds", "2147483648"),
    ("measure_images", "maybe"),
    ("measure_images", ""),
    ("log_level", "loud"),
    ("log_level", "INFO "),
    ("log_format", ""),
    ("node_name", ""),
    ("node_name", "../etc"),
    ("node_name", "Node 1"),
    ("node_name", "n" * 254),
    ("node_labels", "a"),
    ("node_labels", "=b"),
    ("node_labels", "a=1,a=2"),
    ("runtime", "relative.sock"),
    ("runtime", "tcp://1.2.3.4:5"),
    ("allowed_uids", "-1"),
    ("allowed_uids", "4294967295"),  # which chown(2) takes for "no change"
    ("allowed_uids", "1000,web"),
    ("host_root", ""),
    ("state", ""),
    ("state", "line\nbreak"),
    ("socket", "bell\a"),
    ("listen", "10231"),
    ("listen", "localhost:http"),
    ("listen", "::1:10231"),
]


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_a_wrong_value_is_refused_with_its_place_and_what_is_allowed(
    name: str, value: str, file: Path
) -> None:
    setting = BY_NAME[name]
    quoted = '"' + "".join(f"\\x{ord(char):02x}" for char in value) + '"'
    file.write_text(f"\n{setting.flag[2:]}: {quoted}", encoding="utf-8")

    texts = {
        setting.flag: refusal(f"{setting.flag}={value}"),
        setting.variable: refusal(**{setting.variable: value}),
        f"{file}:2: {setting.flag[2:]}": refusal("--config", str(file)),
    }

    for place, text in texts.items():
        assert text.startswith(f"{place}: ")
        assert text.endswith(f"is not allowed. {setting.meta.description} Allowed: {setting.allowed}.")
        assert len(text) < 500


def test_a_value_is_quoted_so_that_it_can_be_recognised() -> None:
    assert "'0' is not allowed" in refusal("--pull-workers", "0")
    assert "Allowed: a whole number, at least 1, at most 64." in refusal("--pull-workers", "0")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("pull-wokers: 3", ":1: unknown setting 'pull-wokers', did you mean 'pull-workers'?"),
        ("x: 3", ":1: unknown setting 'x'; allowed are node-name, "),
        ("[pull-workers]", ": a mapping of setting names to values is wanted"),
        ("pull-workers", ": a mapping of setting names to values is wanted"),
        ("pull-workers: 1\npull_workers: 2", ":2: pull-workers is set twice"),
        ("pull-workers: [[1]]", ":1: pull-workers: a value, a list of values or a mapping"),
        ("node-labels: {a: {b: c}}", ":1: node-labels: a value, a list of values or a mapping"),
        ("node-labels: [a]", ":1: node-labels: ['a'] is not allowed"),
        ("pull-workers: [1]", ":1: pull-workers: ['1'] is not allowed"),
        ("runtime: {a: b}", ":1: runtime: {'a': 'b'} is not allowed"),
        ("? [a]\n: b", ": unknown setting"),
        ("a: b: c", ": mapping values are not allowed here"),
        ("--- 1\n--- 2", ": expected a single document"),
        ("pull-workers: !!int x", ":1: pull-workers: 'x' is not allowed"),
        ("state: !!python/object/apply:os.system [x]", ":1: state: ['x'] is not allowed"),
        ("a: &x [*x]", ":1: unknown setting 'a'"),
        ("runtime: &x [*x]", ":1: runtime: a value, a list of values or a mapping"),
        ("[" * 100_000, ": maximum recursion depth"),
        ("\x01", ": unacceptable character"),
    ],
)
def test_a_wrong_file_is_refused_with_the_reason(content: str, words: str, file: Path) -> None:
    file.write_text(content, encoding="utf-8")

    text = refusal("--config", str(file))

    assert str(file) in text
    assert words in text
    assert "\n" not in text


@pytest.mark.parametrize("content", ["", "# nothing", "---", "null", "{}"])
def test_an_empty_file_sets_nothing(content: str, file: Path) -> None:
    file.write_text(content, encoding="utf-8")

    assert loaded("--config", str(file)) == loaded()


def test_a_null_in_the_file_leaves_a_setting_to_its_default(file: Path) -> None:
    file.write_text("docker-config: null\npull-workers: ~\nnode-labels:\n", encoding="utf-8")

    assert loaded("--config", str(file)) == loaded()


def test_values_in_the_file_are_taken_as_they_are_written(file: Path) -> None:
    file.write_text("node-name: 007\nnode-labels: {gpu: true, on: 2026-05-01}\n", encoding="utf-8")

    made = loaded("--config", str(file))

    assert made.node_name == "007"
    assert made.node_labels == {"gpu": "true", "on": "2026-05-01"}


def test_a_file_that_is_absent_a_directory_no_text_or_huge_is_refused(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with (tmp_path / "huge").open("wb") as huge:
        huge.truncate(10**10)

    texts = {name: refusal("--config", str(tmp_path / name)) for name in ("absent", ".", "binary", "huge")}

    assert "No such file" in texts["absent"]
    assert "Is a directory" in texts["."]
    assert "can't decode" in texts["binary"]
    assert "larger than the 262144 bytes" in texts["huge"]


def test_aliases_do_not_multiply_in_a_message(file: Path) -> None:
    layers = [f"&l{number} [{', '.join([f'*l{number - 1}'] * 9)}]" for number in range(1, 9)]
    file.write_text(f"runtime: [&l0 [x], {', '.join(layers)}]", encoding="utf-8")

    assert refusal("--config", str(file)).endswith(
        ":1: runtime: a value, a list of values or a mapping of values is wanted"
    )


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (("--no-such",), "unrecognized arguments: --no-such"),
        (("--pull-worker", "3"), "unrecognized arguments"),
        (("stray",), "unrecognized arguments: stray"),
        (("--pull-workers",), "--pull-workers: expected one argument"),
    ],
)
def test_wrong_words_on_the_command_line_are_refused(argv: Sequence[str], words: str) -> None:
    text = refusal(*argv)

    assert words in text
    assert text.endswith("see inplaced standalone --help")


def test_a_required_setting_says_where_it_can_be_given() -> None:
    with pytest.raises(ConfigError, match=r"--manifests \(or INPLACED_MANIFESTS\) is required"):
        load(StandaloneConfig, "inplaced standalone", [], {})


@pytest.mark.parametrize(
    "argv",
    [
        ("--credential-provider-config", "/c"),
        ("--credential-provider-bin-dir", "/b"),
        ("--pull-backoff", "10", "--pull-backoff-max", "5"),
    ],
)
def test_settings_that_contradict_each_other_are_refused_with_both_names(argv: Sequence[str]) -> None:
    assert len(re.findall(r"--[a-z-]+", refusal(*argv))) == 2


ANY_TEXT = (
    st.text(max_size=30)
    | st.from_regex(r"-?[0-9]{1,12}(\.[0-9]{1,3})?(e[0-9]{1,3})?")
    | st.sampled_from(
        ["nan", "inf", "-inf", "true", "/", "a=b", "unix:///x", ":1", "\x00", "\udcff", "\u0661", "\xb2"]
    )
)


@given(st.sampled_from(SETTINGS), ANY_TEXT, st.booleans())
def test_any_text_for_any_setting_is_either_taken_or_refused(
    setting: Setting, text: str, by_flag: bool
) -> None:
    argv, environ = ([f"{setting.flag}={text}"], {}) if by_flag else ([], {setting.variable: text})

    try:
        made = load(StandaloneConfig, "inplaced standalone", argv, REQUIRED | environ)
    except ConfigError:
        return  # that it is no other error is what is tested

    again = {setting.variable: setting.written(getattr(made, setting.name))}
    assert load(StandaloneConfig, "inplaced standalone", [], REQUIRED | again) == made


@given(
    st.binary(max_size=60)
    | st.text(st.sampled_from("pul-worers: 1{}[]&*!|>\n\"'#,?%@"), max_size=60).map(str.encode)
)
def test_any_file_is_either_taken_or_refused(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    file = tmp_path_factory.mktemp("any") / "config"
    file.write_bytes(content)

    with suppress(ConfigError):  # that it is no other error is what is tested
        assert loaded("--config", str(file)).manifests == Path("/m")


def test_help_lists_every_setting_with_unit_range_and_default(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        loaded("--help")

    text = " ".join(capsys.readouterr().out.split())
    assert ended.value.code == 0
    for setting in SETTINGS:
        default = setting.written(setting.default) or "none"
        tail = "Required." if setting.is_required else f"Default: {default}."
        words = f"{setting.flag} VALUE {setting.meta.description} Allowed: {setting.allowed}. {tail}"
        assert re.sub(r"\s|-", "", words) in re.sub(r"\s|-", "", text)


NUMBERS = [setting for setting in SETTINGS if setting.kind in (int, float)]
UNITS = re.compile(r"seconds|percent|MiB|at the same time|multiple", re.IGNORECASE)


@pytest.mark.parametrize("setting", NUMBERS, ids=lambda setting: setting.name)
def test_every_number_has_a_unit_and_two_bounds(setting: Setting) -> None:
    assert UNITS.search(str(setting.meta.description))
    assert re.fullmatch(r"a (whole )?number, (at least|above) [\d.]+, at most [\d.]+", setting.allowed)


@pytest.mark.parametrize("kind", [Config, StandaloneConfig])
def test_the_environment_file_without_its_comment_signs_is_the_default(kind: type[Config]) -> None:
    text = environment_file(kind, {"manifests": "/m"})

    lines = [line.removeprefix("#") for line in text.splitlines() if "INPLACED_" in line]
    environ = dict(line.split("=", 1) for line in lines)

    assert load(kind, "inplaced", [], environ) == load(kind, "inplaced", [], REQUIRED)
    assert len(environ) == len(dataclasses.fields(kind))


def test_only_given_settings_are_in_force_in_the_environment_file() -> None:
    text = environment_file(StandaloneConfig, {"manifests": "/m"})

    assert [line for line in text.splitlines() if line and not line.startswith("#")] == [
        "INPLACED_MANIFESTS=/m"
    ]


def test_all_settings_are_shown_as_plain_values() -> None:
    view = shown(loaded("--node-labels", "a=b", "--runtime", "/r"))

    assert view.keys() == {name.replace("_", "-") for name in NAMES}
    assert (view["node-labels"], view["runtime"], view["manifests"]) == ({"a": "b"}, ("/r",), "/m")
    assert view["docker-config"] is None
