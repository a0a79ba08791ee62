"""`zdiffsync safe-to-destroy`: for tools that prune ZFS snapshots, and people who do."""

from dataclasses import asdict

import click

from zdiffsync.cli.context import App, pass_app
from zdiffsync.config.config import Config
from zdiffsync.errors import ExitCode, UsageError
from zdiffsync.maintain.memory import CheckMemory
from zdiffsync.maintain.safety import Safety, Verdict


@click.command("safe-to-destroy")
@click.argument("snapshots", nargs=-1, required=True)
@pass_app
def safe_to_destroy(app: App, snapshots: tuple[str, ...]) -> int:
    """Tell whether the state of SNAPSHOTS is backed up, so that they may be destroyed."""
    if wrong := [name for name in snapshots if "@" not in name]:
        raise UsageError(f"{wrong[0]} is no snapshot; write it like 'tank/data@zrepl_1'")
    configs = list(app.configs.values())
    covered = {name for name in snapshots if any(_covers(config, name) for config in configs)}

    def concerned(config: Config) -> list[str]:
        # Of a dataset that is backed up nowhere now, each remote may be the one that has it.
        return [name for name in snapshots if name not in covered or _covers(config, name)]

    return app.on_each_remote(
        lambda one: _judge(one, concerned(one.config)), concerns=lambda config: bool(concerned(config))
    )


def _covers(config: Config, snapshot: str) -> bool:
    return any(item.includes(snapshot.partition("@")[0]) for item in config.dataset)


def _judge(app: App, snapshots: list[str]) -> int:
    with app.reading() as reading:
        repository = reading.store.opened.identifier
        safety = Safety(
            repository, reading.config.host, reading.catalog, reading.store.data,
            CheckMemory(reading.config.state, repository),
        )  # fmt: skip
        verdicts = [safety.judge(name) for name in snapshots]
    fine = all(each.safe and not each.needed for each in verdicts)
    code = ExitCode.DONE if fine else ExitCode.INCOMPLETE
    app.emit({"snapshots": [asdict(each) for each in verdicts], "exit_code": int(code)})
    app.say("\n".join(map(_line, verdicts)))
    return code


def _line(verdict: Verdict) -> str:
    if not verdict.safe:
        return f"not safe  {verdict.snapshot}: {verdict.reason}"
    if verdict.needed:
        return f"needed    {verdict.snapshot}: is point {verdict.point}, but {verdict.reason}"
    return f"safe      {verdict.snapshot}: is point {verdict.point}"
