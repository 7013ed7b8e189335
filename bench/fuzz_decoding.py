"""Fuzz the decoder, guided by coverage: `make fuzz SECONDS=60`.

Needs atheris. A finding is written beside the corpus; `--again FILE` tries it again.
"""

import argparse
import random
import resource
import sys
import zlib
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["harvester"]):
    from bench.decoding_promises import TOKENS, check, check_with_memory, mutated, seeds

ADDRESS_SPACE_BYTES = 4 * 1024 * 1024 * 1024
"""Bytes: no input may exhaust the machine's memory; a MemoryError is a finding as well."""

MAX_INPUT_BYTES = 8 * 1024
"""Bytes: many small inputs find more than few large ones."""

MEASURED = 8
"""Inputs: one in this many is checked for memory too, which takes several times as long."""


def _as_word(token: str) -> str:
    escaped = "".join(f"\\x{byte:02x}" for byte in token.encode())
    return f'"{escaped}"\n'


def _mutate(data: bytes, max_size: int, seed: int) -> bytes:
    rng = random.Random(seed)  # noqa: S311  # the same seed must give the same input
    odd = mutated(data, rng) if rng.random() < 0.7 else None
    return atheris.Mutate(data, len(data) + 64) if odd is None or len(odd) > max_size else odd


def _try(data: bytes) -> None:
    if zlib.crc32(data) % MEASURED:
        check(data)
    else:
        check_with_memory(data)


def fuzz(folder: Path, seconds: int) -> None:
    """Fuzz for some time, or until a finding; ends the process, with exit code 77 for a finding."""
    corpus = folder / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    for name, seed in seeds().items():
        (corpus / f"seed-{name}").write_bytes(seed)
    words = folder / "tokens.dict"
    words.write_text("".join(map(_as_word, TOKENS)))
    arguments = [
        f"-max_total_time={seconds}",
        f"-max_len={MAX_INPUT_BYTES}",
        f"-dict={words}",
        f"-artifact_prefix={folder}/found-",
        "-timeout=20",
        "-rss_limit_mb=1024",
        "-print_final_stats=1",
    ]
    atheris.Setup([sys.argv[0], *arguments, str(corpus)], _try, custom_mutator=_mutate)
    atheris.Fuzz()


def main() -> None:
    """Fuzz, or try one finding again."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--folder", type=Path, default=Path(".fuzz"), help="of the corpus and of what is found")
    parser.add_argument("--again", type=Path, help="a finding: check this input alone")
    options = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE_BYTES, ADDRESS_SPACE_BYTES))
    if options.again is not None:
        check_with_memory(options.again.read_bytes())
    else:
        fuzz(options.folder, options.seconds)


if __name__ == "__main__":
    main()
