"""Research: what a notebook saved is listed with its figures, and its page is handed out sandboxed."""

from __future__ import annotations

from arbig.runtime.research import Archive


def test_what_was_saved_is_listed_newest_first_with_its_figures(web) -> None:
    archive = Archive.of(web.settings.data)
    first = archive.keep(
        "tearsheet", "MaRsi / au2512", "MaRsi: a month", {"sharpe": 1.5, "calmar": float("nan")}, "<p>1"
    )
    second = archive.keep("sweep", "MaRsi / au2512", "A search", {"trials": 12}, "<p>2")
    (archive.folder / "20200101-000000-by-hand.html").write_text("<p>3")
    (archive.folder / "not-ours.html").write_text("<p>4")
    with web.as_viewer() as viewer:
        items = viewer.get("/api/v1/research").json()["items"]
    assert {first.stem, second.stem} == {item["id"] for item in items[:2]}, "two within a second are two"
    by_id = {item["id"]: item for item in items}
    assert {"sharpe": 1.5, "calmar": None} == by_id[first.stem]["figures"]
    assert ("sweep", 12) == (by_id[second.stem]["kind"], by_id[second.stem]["figures"]["trials"])
    assert ("page", "by-hand") == (items[2]["kind"], items[2]["title"]) and len(items) == 3


def test_a_page_has_no_origin_and_only_the_console_may_frame_it(web) -> None:
    page = Archive.of(web.settings.data).keep("tearsheet", "策略", "标题", {}, "<script>1</script>")
    with web.as_program() as program:
        answer = program.get(f"/api/v1/research/{page.stem}")
        policies = answer.headers.get_list("content-security-policy")
        usual = program.get("/api/v1/research").headers
    assert answer.text == "<script>1</script>" and answer.headers["content-type"].startswith("text/html")
    console = web.settings.port("console")
    assert len(policies) == 1 and policies[0].startswith("sandbox allow-scripts; default-src 'none'")
    assert f"frame-ancestors http://127.0.0.1:{console} http://localhost:{console}" in policies[0]
    assert "allow-same-origin" not in policies[0] and "x-frame-options" not in answer.headers
    assert "frame-ancestors 'none'" in usual["content-security-policy"] and usual["x-frame-options"] == "DENY"


def test_nothing_outside_the_archive_is_handed_out(web) -> None:
    (web.settings.data / "secret.html").write_text("secret")
    with web.as_program() as program:
        for name, status in (("20250101-000000-gone", 404), ("..%2Fsecret", 404), ("secret", 422)):
            answer = program.get(f"/api/v1/research/{name}")
            assert answer.status_code == status and "secret" not in answer.text.replace(name, ""), name
    with web.http() as stranger:
        assert stranger.get("/api/v1/research").status_code == 401


def test_what_can_be_deployed_is_told_without_running_it(web) -> None:
    with web.as_viewer() as viewer:
        classes = viewer.get("/api/v1/strategy-classes").json()["classes"]
    (ma_rsi,) = [one for one in classes if one["class_name"] == "MaRsiStrategy"]
    first = ma_rsi["parameters"][0]
    assert ("fast_window", "integer", 10) == (first["name"], first["kind"], first["default"])
