"""`harvester simulate`: serves a stand-in for the API on this machine."""

from typing import cast

import typer

from harvester.cli.simulate_options import (
    Age,
    Api,
    ClipLength,
    CrossVersion,
    Dimension,
    Duration,
    EmbeddingOptions,
    ExpectedKey,
    ExpiryForm,
    FailedRatio,
    Failures,
    FaultRules,
    Fused,
    Gzip,
    HeaderScheme,
    Host,
    Media,
    ModelName,
    ModelNames,
    Port,
    PrintIds,
    Processing,
    RequestLog,
    RequestsPerDay,
    RequestsPerMinute,
    Seed,
    Speed,
    Spread,
    StartAt,
    Tasks,
    TruncatedRatio,
    Uncertainty,
    UnknownStatus,
)
from harvester.domain.errors import UsageError
from harvester.simulator import Simulator, SimulatorClock, SimulatorSettings
from harvester.simulator.faults.files import load_faults
from harvester.simulator.models import Medium
from harvester.simulator.rfc3339 import parse_ms
from harvester.simulator.serving import serve_until_stopped


def simulate(  # noqa: PLR0913  # one for each option
    *,
    host: Host = "127.0.0.1",
    port: Port = 8080,
    tasks: Tasks = 20,
    print_ids: PrintIds = False,
    seed: Seed = 0,
    duration_s: Duration = "20,120",
    processing_s: Processing = "20,0.5",
    failed_ratio: FailedRatio = 0.0,
    clip_length_s: ClipLength = 6.0,
    model: ModelName = "marengo3.0",
    options: EmbeddingOptions = "",
    api: Api = "v1",
    media: Media = "video",
    models: ModelNames = "marengo3.0,marengo3.5",
    dimension: Dimension = 512,
    uncertainty: Uncertainty = False,
    fused: Fused = False,
    failures: Failures = "",
    truncated_ratio: TruncatedRatio = 0.0,
    expiry: ExpiryForm = "gone",
    cross_version: CrossVersion = "lists",
    unknown_status: UnknownStatus = 404,
    spread_s: Spread = 0.0,
    age_s: Age = 0.0,
    start_at: StartAt = "",
    speed: Speed = 1.0,
    requests_per_minute: RequestsPerMinute = 0,
    requests_per_day: RequestsPerDay = 0,
    header_scheme: HeaderScheme = "older",
    gzip: Gzip = True,
    key: ExpectedKey = "",
    faults: FaultRules = None,
    log: RequestLog = None,
) -> None:
    """Serve a stand-in for the TwelveLabs API.

    Use it to rehearse without spending quota.

    Example: harvester simulate --port 8080 --tasks 20 --print-ids > ids.txt
    """
    shortest, longest = _one_or_two("--duration-s", duration_s)
    median, sigma = _one_or_two("--processing-s", processing_s)
    settings = SimulatorSettings(
        tasks=tasks,
        seed=seed,
        duration_s=(shortest, shortest if longest is None else longest),
        processing_median_s=median,
        processing_sigma=sigma or 0.0,
        failed_ratio=failed_ratio,
        clip_length_s=clip_length_s,
        model_name=model,
        options=_names(options),
        api=api,
        media=cast("tuple[Medium, ...]", _names(media)),  # the settings check them
        models=_names(models),
        dimension=dimension,
        uncertainty=uncertainty,
        fused=fused,
        failures=_names(failures),
        truncated_ratio=truncated_ratio,
        expiry=expiry,
        cross_version=cross_version,
        unknown_status=unknown_status,
        spread_s=spread_s,
        age_s=age_s,
        requests_per_minute=requests_per_minute,
        requests_per_day=requests_per_day,
        header_scheme=header_scheme,
        gzip=gzip,
        key=key,
    )
    simulator = Simulator(
        settings,
        clock=_clock(start_at, speed),
        host=host,
        port=port,
        log_file=log,
        faults=load_faults(faults) if faults else (),
    )
    _serve(simulator, host, port, print_ids=print_ids)


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _one_or_two(option: str, text: str) -> tuple[float, float | None]:
    first, comma, second = text.partition(",")
    try:
        return float(first), float(second) if comma else None
    except ValueError:
        raise UsageError(
            f"{option} cannot be read: {text!a}.", remedy="Give one number, or two with a comma between them."
        ) from None


def _clock(start_at: str, speed: float) -> SimulatorClock:
    try:
        return SimulatorClock(parse_ms(start_at) / 1000 if start_at else None, speed=speed)
    except ValueError as error:
        raise UsageError(str(error), remedy="See --start-at and --speed.") from None


def _serve(simulator: Simulator, host: str, port: int, *, print_ids: bool) -> None:
    if print_ids and simulator.settings.tasks:
        typer.echo("\n".join(simulator.catalogue.ids()))
    try:
        serve_until_stopped(simulator, _announce)
    except OSError as error:
        raise _unusable(error, host, port) from error
    typer.echo(f"Stopped after {len(simulator.requests)} requests.", err=True)
    if simulator.faults.served:
        served = ", ".join(f"{times} {kind}" for kind, times in sorted(simulator.faults.served.items()))
        typer.echo(f"Faults served: {served}.", err=True)


def _announce(simulator: Simulator) -> None:
    key = "'the key given with --key'" if simulator.settings.key else "rehearsal"
    typer.echo(
        f"Listening on {simulator.base_url} with {simulator.settings.tasks} tasks. Ctrl-C stops it.\n"
        "In another terminal:\n\n"
        f"  export TWELVELABS_API_KEY={key}\n"
        f"  export HARVESTER_API__BASE_URL={simulator.base_url}\n"
        "  harvester add --file ids.txt   # the output of --print-ids\n"
        "  harvester backfill\n",
        err=True,
    )


def _unusable(error: OSError, host: str, port: int) -> UsageError:
    if error.filename is not None:
        return UsageError(
            f"The request log {error.filename} cannot be written: {error.strerror}.",
            remedy="Give another --log.",
        )
    return UsageError(
        f"Cannot listen on port {port} of {host}: {error.strerror}.",
        remedy="Give another --port (0 picks a free one) or --host.",
    )
