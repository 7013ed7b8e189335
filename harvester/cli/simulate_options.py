"""The options of `harvester simulate`."""

from pathlib import Path
from typing import Annotated, Literal

import typer

Host = Annotated[str, typer.Option(help="Listen on this address.")]
Port = Annotated[int, typer.Option(min=0, max=65535, help="Listen here; 0 picks a free port.")]
Tasks = Annotated[int, typer.Option(min=0, help="Tasks that exist from the start.")]
PrintIds = Annotated[bool, typer.Option("--print-ids", help="Write their ids to stdout.")]
Seed = Annotated[int, typer.Option(min=0, help="The same seed and id give the same vectors.")]
Duration = Annotated[str, typer.Option(metavar="S[,S]", help="Length of each video, or the shortest and the longest.")]
Processing = Annotated[str, typer.Option(metavar="MEDIAN[,SIGMA]", help="Processing time, log-normal.")]
FailedRatio = Annotated[float, typer.Option(min=0, max=1, help="Part of the tasks that fail.")]
ClipLength = Annotated[float, typer.Option(min=2, max=10, help="Length of a clip.")]
ModelName = Annotated[
    Literal["marengo3.0", "Marengo-retrieval-2.7"],
    typer.Option(help="Model of tasks of version 1: 512 or 1024 dimensions."),
]
EmbeddingOptions = Annotated[
    str, typer.Option(metavar="LIST", help="Options of tasks of version 1, e.g. visual,audio,transcription.")
]
Api = Annotated[Literal["v1", "v2", "both"], typer.Option(help="The version that made the tasks; both answer.")]
Media = Annotated[str, typer.Option(metavar="LIST", help="Media of tasks of version 2: video,audio,document,image.")]
ModelNames = Annotated[str, typer.Option(metavar="LIST", help="Models of tasks of version 2.")]
Dimension = Annotated[int, typer.Option(help="Length of the vectors of marengo3.5: 128, 256 or 512.")]
Uncertainty = Annotated[bool, typer.Option("--uncertainty", help="With uncertainties, where marengo3.5 has them.")]
Fused = Annotated[bool, typer.Option("--fused", help="With fused vectors of videos and audio, in version 2.")]
Failures = Annotated[str, typer.Option(metavar="LIST", help="Why tasks of version 2 fail; default: all reasons.")]
TruncatedRatio = Annotated[float, typer.Option(min=0, max=1, help="Part of the results of marengo3.5 that are cut.")]
ExpiryForm = Annotated[
    Literal["gone", "failed", "mixed"], typer.Option(help="What version 2 answers after seven days.")
]
CrossVersion = Annotated[
    Literal["none", "lists", "all"], typer.Option(help="What a version tells about tasks of the other.")
]
UnknownStatus = Annotated[int, typer.Option(help="What version 1 answers for an unknown id: 404 or 400.")]
Spread = Annotated[float, typer.Option(min=0, help="Spread the creation times over this.")]
Age = Annotated[float, typer.Option(min=0, help="Make every task this much older.")]
StartAt = Annotated[str, typer.Option(metavar="RFC3339", help="Set the clock; default: now.")]
Speed = Annotated[float, typer.Option(min=0, help="Run the clock this many times as fast.")]
RequestsPerMinute = Annotated[int, typer.Option(min=0, help="Limit; 0 is none.")]
RequestsPerDay = Annotated[int, typer.Option(min=0, help="Limit; 0 is none.")]
HeaderScheme = Annotated[Literal["older", "newer", "tokens"], typer.Option(help="Which rate limit headers to send.")]
Gzip = Annotated[bool, typer.Option(help="Compress for clients that accept it.")]
ExpectedKey = Annotated[str, typer.Option(help="The key to expect; default: any.")]
FaultRules = Annotated[
    Path | None,
    typer.Option(metavar="FILE", readable=False, help="Misbehave by these rules; see docs/faults.example.toml."),
]
RequestLog = Annotated[
    Path | None, typer.Option(readable=False, help="Append each request to this file, as JSON lines.")
]
