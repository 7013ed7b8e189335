from harvester.domain.limits.endpoint import Endpoint
from harvester.domain.planning.feasibility import Budget, assess
from harvester.domain.tasks.task import DAY_MS, TaskState
from harvester.domain.tasks.task_reports import StatusReport
from harvester.reports.status import as_json
from harvester.web.metrics import Metrics
from harvester.web.status import status_document
from tests.support.web_builders import NOW, SeenHarvest

REPORT = StatusReport(
    at_ms=NOW,
    counts=dict.fromkeys(TaskState, 2),
    nearest_deadline=None,
    deadlines=[(NOW + 60_000, 100), (NOW + DAY_MS, 100)],
    oldest_open_task_id=None,
    oldest_open_added_at_ms=None,
    last_errors=[],
    segments=7,
    video_seconds=42.0,
    file_bytes=4096,
    blocked_until_ms={},
)

FORECAST = assess(REPORT.deadlines, NOW, Budget(1.0, 1.0))


def test_it_has_everything_that_the_command_prints() -> None:
    harvest = SeenHarvest()

    document = status_document(REPORT, FORECAST, harvest, Metrics())

    printed = as_json(REPORT, harvest.database, FORECAST, {})
    assert {name: document[name] for name in printed if name != "throttle"} | {"throttle": {}} == printed | {
        "throttle": {}
    }
    assert set(printed["throttle"]) <= set(document["throttle"])


def test_it_tells_what_only_the_daemon_knows() -> None:
    harvest, metrics = SeenHarvest(), Metrics()
    harvest.progress.requests[Endpoint.STATUS] = 3
    harvest.progress.conditions["api"] = "most requests fail"
    harvest.throttle.blocked[Endpoint.STATUS] = 1.5
    metrics.answered(Endpoint.STATUS, "ready", 0.1, 10)

    document = status_document(REPORT, FORECAST, harvest, metrics)

    assert document["throttle"] == {
        "requests_per_minute": 60,
        "burst": 1,
        "blocked_until_ms": {"status": NOW + 1500, "retrieve": None, "list": None},
    }
    assert document["conditions"] == {"api": "most requests fail"}
    assert document["requests"]["sent"] == {"status": 3, "retrieve": 0, "list": 0}
    assert document["requests"]["ended"] == {"status": {"ready": 1}, "retrieve": {}, "list": {}}
    assert document["uptime_s"] == 10
