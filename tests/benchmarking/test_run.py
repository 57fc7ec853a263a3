import csv
import json

import numpy as np
import pytest
from benchmark_cases import tiny_case, tiny_method

from diffclip_geo.benchmarking import benchmark, methods, run
from diffclip_geo.benchmarking.records import Records
from diffclip_geo.benchmarking.run import table_files, tabulate
from diffclip_geo.benchmarking.tables import compare, summary_table
from diffclip_geo.errors import OptionError

QUICK = {"shots": (2, 4), "seeds": 2}


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setitem(methods.METHODS, "ours", tiny_method())


def cells(path):
    return [line for line in map(json.loads, path.read_text().splitlines()) if "run" not in line]


def test_the_table_holds_every_cell(tmp_path):
    results = benchmark([tiny_case()], tmp_path / "acc", methods=("ours", "multiscale-svm"), **QUICK)
    files = table_files(tmp_path / "acc")
    assert len(cells(files[0])) == 2 * 2 * 2 * 2
    rows = list(csv.DictReader(files[2].open()))
    assert {(row["split"], row["shots"], row["method"]) for row in rows} == {
        (split, shots, method)
        for split in ("random", "group")
        for shots in "24"
        for method in ("ours", "multiscale-svm")
    }
    setting = results.settings()[0]
    row = results.row(setting, "ours")
    assert float(rows[0]["oa_mean"]) == pytest.approx(np.mean([100 * cell["oa"] for cell in row.cells]), abs=1e-3)
    text = files[1].read_text()
    assert "town, random split, 2 shots per class" in text and "Against the best peer" in text
    assert f"{row.percent('oa')[0]:.1f} ± {row.percent('oa')[1]:.1f}" in text
    page = files[3].read_text()
    assert page.startswith("<!doctype html>") and "multiscale-svm" in page and "http" not in page
    names = [line["class"] for line in csv.DictReader(files[4].open())]
    assert set(names) == {"grass", "road", "tree"}
    one, other = (results.row(setting, name) for name in ("ours", "multiscale-svm"))
    expected = [100 * (a["oa"] - b["oa"]) for a, b in zip(one.cells, other.cells, strict=True)]
    assert compare(one, other).oa == pytest.approx(expected)
    versus = list(csv.DictReader(files[5].open()))
    assert len(versus) == 4 and versus[0]["against"] == "multiscale-svm"


def test_a_killed_run_goes_on_and_ends_alike(tmp_path, monkeypatch):
    whole = benchmark([tiny_case()], tmp_path / "whole", methods=("multiscale-svm", "spectra-svm"), **QUICK)
    count = 0
    original = run.score

    def killed(*arguments):
        nonlocal count
        count += 1
        if count == 7:
            raise KeyboardInterrupt
        return original(*arguments)

    monkeypatch.setattr(run, "score", killed)
    with pytest.raises(KeyboardInterrupt):
        benchmark([tiny_case()], tmp_path / "acc", methods=("multiscale-svm", "spectra-svm"), **QUICK)
    lines = tmp_path / "acc.jsonl"
    assert len(cells(lines)) == 6
    with lines.open("a") as file:
        file.write('{"scene": "town", "spl')  # cut off while being written
    done = []
    monkeypatch.setattr(run, "score", original)
    resumed = benchmark(
        [tiny_case()], tmp_path / "acc", methods=("multiscale-svm", "spectra-svm"), say=done.append, **QUICK
    )
    assert len(done) == 10
    for a, b in zip(whole.rows, resumed.rows, strict=True):
        assert [(c["oa"], c["right"]) for c in a.cells] == [(c["oa"], c["right"]) for c in b.cells]
    before = lines.read_bytes()
    benchmark([tiny_case()], tmp_path / "acc", methods=("multiscale-svm", "spectra-svm"), say=done.append, **QUICK)
    assert len(done) == 10 and lines.read_bytes() == before


def test_more_methods_and_seeds_add_to_the_table(tmp_path):
    benchmark([tiny_case()], tmp_path / "acc", methods=("multiscale-svm",), shots=(2,), seeds=1)
    results = benchmark([tiny_case()], tmp_path / "acc", methods=("spectra-svm",), shots=(2,), seeds=2)
    assert [(row.method, len(row.cells)) for row in results.rows] == [("spectra-svm", 2), ("multiscale-svm", 1)] * 2
    fresh = benchmark([tiny_case()], tmp_path / "acc", methods=("spectra-svm",), shots=(2,), seeds=1, overwrite=True)
    assert [(row.method, len(row.cells)) for row in fresh.rows] == [("spectra-svm", 1)] * 2


def test_two_classes_add_their_scores(tmp_path):
    benchmark([tiny_case(classes=2)], tmp_path / "acc", methods=("ours", "spectra-svm"), shots=(4,), seeds=1)
    rows = list(csv.DictReader((tmp_path / "acc.csv").open()))
    assert all(
        0 <= float(row[f"{name}_mean"]) <= 100 for row in rows for name in ("acc", "auc", "sensitivity", "specificity")
    )
    assert "AUC" in (tmp_path / "acc.txt").read_text()


def test_the_facts_of_a_run_tell_no_path_or_host(tmp_path):
    benchmark([tiny_case()], tmp_path / "acc", methods=("spectra-svm",), shots=(2,), seeds=1)
    (facts,), _ = Records(tmp_path / "acc.jsonl").read()
    assert set(facts) == {"started", "command", "commit", "processor", "cores", "threads", "device", "versions"}
    assert facts["cores"] >= 1 and facts["versions"]["numpy"] == np.__version__


def test_published_figures_stand_beside(tmp_path):
    quoted = tmp_path / "published.csv"
    quoted.write_text("scene,split,shots,method,oa,aa,source\ntown,random,2,DiffCLIP,81.5,79.25,a paper\n")
    benchmark([tiny_case()], tmp_path / "acc", methods=("spectra-svm",), shots=(2,), seeds=1, published=quoted)
    assert "DiffCLIP [a paper]" in (tmp_path / "acc.txt").read_text()
    last = list(csv.DictReader((tmp_path / "acc.csv").open()))[-1]
    assert (last["method"], last["oa_mean"], last["aa_mean"], last["source"]) == (
        "DiffCLIP",
        "81.500",
        "79.250",
        "a paper",
    )
    quoted.write_text("scene,oa\ntown,1\n")
    with pytest.raises(OptionError, match=r"published\.csv: is not a table of published figures"):
        benchmark([tiny_case()], tmp_path / "acc", published=quoted)


def test_a_table_of_no_cells_has_headings_only(tmp_path):
    tabulate(tmp_path / "acc")
    assert (tmp_path / "acc.csv").read_text().count("\n") == 1


def test_wrong_options_stop_before_any_work(tmp_path):
    for options, fault in (
        ({"methods": ("forest",)}, "method 'forest': is not known"),
        ({"splits": ("spatial",)}, "split 'spatial': is not known"),
        ({"shots": (0,)}, "must be at least 1"),
    ):
        with pytest.raises(OptionError, match=fault):
            benchmark([tiny_case()], tmp_path / "acc", **options)
    with pytest.raises(OptionError, match="has no scene"):
        benchmark([], tmp_path / "acc")
    with pytest.raises(OptionError, match="names in common"):
        benchmark([tiny_case(), tiny_case()], tmp_path / "acc")
    assert not list(tmp_path.iterdir())


def test_the_best_peer_is_taken_on_the_seeds_that_a_method_has(tmp_path):
    benchmark([tiny_case()], tmp_path / "acc", methods=("spectra-svm", "multiscale-svm"), shots=(2,), seeds=3)
    results = benchmark([tiny_case()], tmp_path / "acc", methods=("ours",), shots=(2,), seeds=1)
    setting = results.settings()[0]
    ours = results.row(setting, "ours")
    peers = [results.row(setting, name) for name in ("spectra-svm", "multiscale-svm")]
    best = max(100 * row.cells[0]["oa"] for row in peers)
    line = summary_table(results)[1]
    assert line[:5] == [*map(str, setting), "ours", "1"]
    assert line[6].startswith(f"{best:.1f} ")
    assert line[7] == f"{100 * ours.cells[0]['oa'] - best:+.1f} ± 0.0"
