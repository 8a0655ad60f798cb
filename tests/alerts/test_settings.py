"""config/alerts.yaml: a bad one is one line, a secret stands nowhere."""

from __future__ import annotations

import os

import pytest

from arbig.alerts.targets import targets_of
from arbig.runtime.alerting import alert_variables, load_alerts, wants_alerts
from arbig.runtime.programs import programs_of
from arbig.runtime.settings import SettingsError
from arbig.runtime.supervisor import configuration

TOKEN = "a1b2c3d4e5f6a7b8c9d0"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("targets: {a: {url: 'json://h', kinds: [halts]}}", "targets.a.kinds.0: found 'halts', expected one of"),
        ("targets: {a: {url: 'json://h', quiet: '9-17'}}", "targets.a.quiet: found '9-17', expected hours from-to"),
        ("targets: {a: {url: 'nonsense'}}", "targets.a.url: not an address that apprise knows"),
        ("targets: {a: {kinds: [halt]}}", "targets.a.url: missing"),
        ("languages: en", "languages: unknown key. Did you mean: language?"),
        ("targets: {a: {url: '${env:ARBIG_NO_SUCH}'}}", "nothing is there; write e.g. export ARBIG_NO_SUCH=..."),
        (f"targets: {{a: {{url: 'dingtalk://{TOKEN}'}}}}", "targets.a.url: a secret must not stand in this file"),
        (f"targets: {{a: {{url: 'mailto://me:{TOKEN}@example.com'}}}}", "a secret must not stand in this file"),
    ],
)
def test_a_bad_file_is_one_line_with_the_mend(house, text, line):
    with pytest.raises(SettingsError) as refused:
        targets_of(load_alerts(house(text)))
    assert line in str(refused.value) and TOKEN not in str(refused.value) and "\n" not in str(refused.value)


def test_every_kind_of_receiver_is_taken_by_reference_and_shown_masked(house, monkeypatch, tmp_path):
    file = tmp_path / "word"
    file.write_text(TOKEN)
    file.chmod(0o600)
    monkeypatch.setenv("ARBIG_ALERT_WORD", TOKEN)
    settings = house(
        "targets:\n"
        "  ding: {url: 'dingtalk://${env:ARBIG_ALERT_WORD}'}\n"
        "  wecom: {url: 'wecombot://${env:ARBIG_ALERT_WORD}'}\n"
        "  telegram: {url: 'tgram://123456789:${env:ARBIG_ALERT_WORD}/12315544'}\n"
        f"  mail: {{url: 'mailtos://me:${{file:{file}}}@example.com?smtp=smtp.example.com&to=you@example.com'}}\n"
        "  hook: {url: 'json://127.0.0.1:9999/alerts'}\n"
    )
    targets = targets_of(load_alerts(settings))
    assert {name: target.masked for name, target in targets.items()} == {
        "ding": "dingtalk://***",
        "wecom": "wecombot://***",
        "telegram": "tgram://***",
        "mail": "mailtos://***",
        "hook": "json://127.0.0.1:9999/alerts",
    }
    assert TOKEN not in repr(load_alerts(settings))


def test_no_other_process_is_told_the_address(house, monkeypatch):
    monkeypatch.setitem(os.environ, "ARBIG_ALERT_WORD", TOKEN)
    settings = house("targets: {ding: {url: 'dingtalk://${env:ARBIG_ALERT_WORD}'}}")
    assert alert_variables(settings) == ("ARBIG_ALERT_WORD",)
    sections = configuration(settings).split("[program:")
    hidden = {part.split("]")[0] for part in sections[1:] if 'ARBIG_ALERT_WORD=""' in part}
    assert hidden == {program.name for program in programs_of(settings)} - {"alerts"}


def test_without_a_target_no_process_runs_for_it(house):
    settings = house("targets: {}")
    assert not wants_alerts(settings)
    assert "alerts" not in [program.name for program in programs_of(settings)]
