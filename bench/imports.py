"""The import of outputs of Amazon Bedrock, each of a video of ten minutes, beside a bare loop; they alternate."""

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
import orjson
from processes import Run, measure
from tables import spread, table

CLIP_S = 6.0
CLIPS = 100
OPTIONS = ("visual", "audio", "transcription")
FIRST, AGAIN, PLAIN = "harvester import", "the same again: all known", "json and sqlite3, no checks"
HERE = Path(__file__).parent


def write_outputs(folder: Path, files: int) -> int:
    """Write the files as Bedrock names them; return their bytes."""
    rng, total = np.random.default_rng(0), 0
    for number in range(files):
        vectors = rng.standard_normal((CLIPS * len(OPTIONS), 512)).astype(np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        segments = [
            {
                "embedding": vector,
                "embeddingOption": OPTIONS[position % len(OPTIONS)],
                "embeddingScope": "clip",
                "startSec": position // len(OPTIONS) * CLIP_S,
                "endSec": (position // len(OPTIONS) + 1) * CLIP_S,
            }
            for position, vector in enumerate(vectors)
        ]
        path = folder / f"{number:012x}" / "output.json"
        path.parent.mkdir()
        total += path.write_bytes(orjson.dumps({"data": segments}, option=orjson.OPT_SERIALIZE_NUMPY))
    return total


def compare(files: int, runs: int) -> str:
    """Return the result as Markdown."""
    measured: dict[str, list[Run]] = {name: [] for name in (PLAIN, FIRST, AGAIN)}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "outputs"
        folder.mkdir()
        total = write_outputs(folder, files)
        for number in range(runs):
            database, plain = Path(place) / f"{number}.db", Path(place) / f"plain {number}.db"
            command = [sys.executable, "-m", "harvester", "import", folder, "--model", "marengo3.0", "--db", database]
            measured[PLAIN].append(measure([sys.executable, HERE / "plain_import.py", folder, plain], {}))
            measured[FIRST].append(measure(command, {}))
            measured[AGAIN].append(measure(command, {}))
            for path in (database, plain):
                path.unlink()
    rows = [
        (
            name,
            spread([files / run.wall_s for run in of_name], ".0f"),
            spread([run.cpu_s * 1000 / files for run in of_name], ".0f"),
            spread([run.peak_bytes / 1e6 for run in of_name], ".0f"),
        )
        for name, of_name in measured.items()
    ]
    heads = ("", "files a second", "processor ms a file", "memory, MB")
    title = f"{files} outputs of Bedrock, each of ten minutes with three options ({total / files / 1e6:.1f} MB)"
    return f"## Import\n\n{title}; least, median and most of {runs} runs that alternate.\n\n{table(heads, rows)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=1000)
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    print(compare(arguments.files, arguments.runs))


if __name__ == "__main__":
    main()
