"""Make of a decoded body the result to store: the id, the model and the name of the input, as given or found."""

from dataclasses import dataclass, replace
from pathlib import Path

from harvester.api.decode.bedrock import is_of_bedrock
from harvester.domain.errors import InvalidTaskId
from harvester.domain.tasks.embeddings import MEDIA, MediaMetadata, TaskEmbeddings
from harvester.domain.tasks.given_model import BEDROCK_MODELS, makes_vectors_of, models_of
from harvester.domain.tasks.imported import ENDPOINT, ImportedResult, ResultSource
from harvester.domain.tasks.models import ResultSigns, infer_model
from harvester.domain.tasks.outcomes import Empty, Failed, Outcome, Processing, Retrieved
from harvester.domain.tasks.records import Attempt
from harvester.domain.tasks.task_id import content_task_id, is_same_id, validate_task_id
from harvester.service.body_files import default_name, path_text
from harvester.service.body_reading import UnusableBodyError

IMPORTED = "imported"
"""The outcome in the task's attempts."""

MAX_PATH_CHARACTERS = 500

_REWRITE = " Write the file again as valid JSON, or embed the input again."


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """What the user says about the bodies: each value is for those that do not say it themselves.

    `replaces`: store also the results of tasks that are harvested already.
    """

    model: str | None = None
    name: str | None = None
    task_id: str | None = None
    replaces: bool = False


@dataclass(frozen=True, slots=True)
class DecodedFile:
    """The outcome of a body from a file. `read_at_ms` is Unix milliseconds, `sha256` is hexadecimal."""

    path: Path
    outcome: Outcome
    sha256: str
    file_bytes: int
    read_at_ms: int
    duration_ms: int


def result_to_store(file: DecodedFile, options: ImportOptions) -> ImportedResult:
    """Return the result in a file. Raises UnusableBodyError with a sentence about what is missing or wrong."""
    embeddings = _embeddings(file.outcome)
    _refuse_query(embeddings)
    source: ResultSource = "bedrock" if is_of_bedrock(embeddings) else "file"
    metadata = _with_name(_with_model(embeddings, source, options.model), file.path, options.name)
    attempt = Attempt(
        at_ms=file.read_at_ms,
        endpoint=ENDPOINT,
        outcome=IMPORTED,
        message=path_text(file.path)[:MAX_PATH_CHARACTERS],
        bytes=file.file_bytes,
        duration_ms=file.duration_ms,
    )
    return ImportedResult(
        task_id=_task_id(embeddings.received_id, options.task_id, file.sha256),
        source=source,
        embeddings=replace(embeddings, metadata=metadata),
        attempt=attempt,
        replaces=options.replaces,
    )


def _embeddings(outcome: Outcome) -> TaskEmbeddings:
    match outcome:
        case Retrieved():
            return outcome.embeddings
        case Processing():
            raise UnusableBodyError(f"The task had not finished ({outcome.status}): only a ready one has embeddings.")
        case Failed():
            raise UnusableBodyError(f"The task has failed and has no embeddings: {outcome.message}")
        case Empty():
            raise UnusableBodyError("It holds no embeddings.")
        case _:
            remedy = _REWRITE if outcome.code == "json_invalid" else ""
            raise UnusableBodyError(_of_file(str(outcome.message)) + remedy)


def _of_file(sentence: str) -> str:
    """Return a sentence of the decoder, which speaks of an answer, as one about a file that has been named."""
    answer = "The answer "
    return f"It {sentence.removeprefix(answer)}" if sentence.startswith(answer) else sentence


def _refuse_query(embeddings: TaskEmbeddings) -> None:
    """Raise UnusableBodyError for the answer to a query, which has an input type but neither an id nor segments.

    Of queries only a text has an input type that no task has. Any other vector of a query has no place in its input,
    whereas each vector of a task has a scope, an option or a time.
    """
    input_type = embeddings.metadata.input_type
    if embeddings.received_id is not None or input_type is None:
        return
    places = (*embeddings.options, *embeddings.scopes, *embeddings.starts)
    if input_type in MEDIA and any(place is not None for place in places):
        return
    raise UnusableBodyError(
        f"It is the answer of POST /embed-v2 to a query ({input_type[:64]}), not the result of a task: keep it where"
        " you search, and import the results of tasks."
    )


def _task_id(received: str | None, given: str | None, sha256: str) -> str:
    if received is not None and given is not None and not is_same_id(received, given):
        raise UnusableBodyError(f"It is of the task {received[:128]}, and --task-id says {given}.")
    task_id = received or given or content_task_id(sha256)
    try:
        return validate_task_id(task_id)
    except InvalidTaskId as error:
        raise UnusableBodyError(error.sentence) from None


def _with_model(embeddings: TaskEmbeddings, source: ResultSource, given: str | None) -> MediaMetadata:
    metadata, dim = embeddings.metadata, embeddings.dim
    signs = ResultSigns(embeddings.options, embeddings.scopes, dim, embeddings.uncertainties is not None)
    inferred = infer_model(metadata, signs)
    if metadata.model_name is not None or (given is None and inferred is not None and source != "bedrock"):
        return metadata
    if given is None:
        possible = [name for name in models_of(dim) if source != "bedrock" or name in BEDROCK_MODELS]
        raise UnusableBodyError(f"It names no model: add --model {' or '.join(possible)} ({dim} numbers a vector).")
    if source == "bedrock" and given.lower().replace("-retrieval-", "") not in BEDROCK_MODELS:
        raise UnusableBodyError(f"It comes from Bedrock, which has {' and '.join(BEDROCK_MODELS)}, not {given}.")
    if not makes_vectors_of(given, dim):
        raise UnusableBodyError(f"Its vectors of {dim} numbers are of {' or '.join(models_of(dim))}, not of {given}.")
    if inferred not in (None, given):
        raise UnusableBodyError(
            f"Its content is of {inferred}, not of {given}: import it without --model, or with that."
        )
    return replace(metadata, given_model=given)


def _with_name(metadata: MediaMetadata, path: Path, given: str | None) -> MediaMetadata:
    if metadata.input_filename is not None or metadata.input_url is not None:
        return metadata
    return replace(metadata, input_filename=given or default_name(path))
