"""The command line for SLOs, run as its users run it."""

from pathlib import Path
from textwrap import dedent

import pytest
from typer.testing import CliRunner

from app.cli import cli
from tests.servers import run_command

SLOTH = dedent("""\
    version: prometheus/v1
    service: shop
    slos:
      - name: checkout
        objective: 99.9
        sli:
          events:
            error_query: sum(rate(requests_total{code=~"5.."}[{{.window}}]))
            total_query: sum(rate(requests_total[{{.window}}]))
        alerting: {name: CheckoutFails}
    """)


@pytest.mark.parametrize("command", ["import", "rules", "export", "adopt"])
def test_the_help_of_each_command_gives_an_example(command: str) -> None:
    ran = CliRunner().invoke(cli, ["slo", command, "--help"])

    assert ran.exit_code == 0
    assert f"reliability-studio slo {command}" in ran.output


async def test_slos_go_in_once_and_out_as_openslo_and_as_rules(empty_database_url: str, tmp_path: Path) -> None:
    settings = {"DATABASE_URL": empty_database_url}
    (tmp_path / "shop.yaml").write_text(SLOTH)

    code, _, err = await run_command("slo", "import", "--dry-run", str(tmp_path / "shop.yaml"), settings=settings)
    assert (code, "Would be: 1 created." in err) == (0, True), err
    code, _, err = await run_command("slo", "import", str(tmp_path / "shop.yaml"), settings=settings)
    assert (code, "+ shop/checkout" in err, "Done: 1 created." in err) == (0, True, True), err

    code, exported, _ = await run_command("slo", "export", settings=settings)
    assert (code, exported.startswith("apiVersion: openslo/v1\n")) == (0, True)
    (tmp_path / "again.yaml").write_text(exported)
    code, _, err = await run_command("slo", "import", str(tmp_path / "again.yaml"), settings=settings)
    assert (code, "Done: 1 unchanged." in err) == (0, True), err

    code, rules, _ = await run_command("slo", "rules", "--format", "prometheusrule", settings=settings)
    assert (code, "kind: PrometheusRule" in rules, "alert: CheckoutFails" in rules) == (0, True, True)


async def test_what_is_wrong_is_said_with_file_and_line(tmp_path: Path, empty_database_url: str) -> None:
    path = tmp_path / "shop.yaml"
    path.write_text(SLOTH.replace("99.9", "100"))

    code, _, err = await run_command("slo", "import", str(path), settings={"DATABASE_URL": empty_database_url})

    assert code == 1
    assert f"Error: {path}:5: slos[0].objective: an objective of 100 % leaves no error budget" in err
    assert "Nothing was imported: 1 problem." in err


async def test_files_refer_to_each_other_and_are_imported_together(empty_database_url: str, tmp_path: Path) -> None:
    metric = "{metricSource: {type: Prometheus, spec: {query: 'QUERY'}}}"
    ratio = f"{{good: {metric.replace('QUERY', 'ok_total')}, total: {metric.replace('QUERY', 'all_total')}}}"
    (tmp_path / "sli.json").write_text('{"apiVersion": "openslo/v1", "kind": "Service", "metadata": {"name": "shop"}}')
    (tmp_path / "a.yaml").write_text(
        "%YAML 1.1\n---\napiVersion: openslo/v1\nkind: SLI\n"
        f"metadata: {{name: answers}}\nspec: {{ratioMetric: {ratio}}}\n"
    )
    (tmp_path / "b.yaml").write_text(
        "apiVersion: openslo/v1\nkind: SLO\nmetadata: {name: found}\nspec:\n"
        "  service: shop\n  indicatorRef: answers\n  objectives: [{target: 0.9}]\n  colour: red\n"
    )
    files = [str(tmp_path / name) for name in ("sli.json", "a.yaml", "b.yaml")]
    code, _, err = await run_command("slo", "import", *files, settings={"DATABASE_URL": empty_database_url})
    assert (code, f'{files[2]}:8: spec.colour: "colour" is not known here' in err) == (1, True), err
    assert "indicatorRef" not in err


def test_a_file_that_is_not_there_and_a_word_that_is_not_known_are_said() -> None:
    ran = CliRunner().invoke(cli, ["slo", "import", "nowhere.yaml"])
    assert (ran.exit_code, ran.output) == (2, "Error: nowhere.yaml cannot be read: No such file or directory.\n")
    ran = CliRunner().invoke(cli, ["slo", "rules", "--dialect", "nobl9"])
    assert (ran.exit_code, ran.output) == (2, 'Error: --dialect must be one of sloth, pyrra, not "nobl9".\n')


async def test_adopting_without_a_prometheus_says_what_to_set(empty_database_url: str) -> None:
    code, _, err = await run_command("slo", "adopt", settings={"DATABASE_URL": empty_database_url})
    assert (code, err) == (1, "Error: No Prometheus is configured. Set PROMETHEUS_URL.\n")
