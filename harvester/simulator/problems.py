"""Refusals as the API words them: status, code and message."""

from collections.abc import Mapping


class ApiProblem(Exception):  # noqa: N818  # an answer, not a failure of the stand-in
    """An answer other than success; the handlers raise it and one middleware writes it as JSON, by the version."""

    def __init__(self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.headers = dict(headers or {})


def invalid_parameter(name: str, reason: str) -> ApiProblem:
    """400: a parameter is invalid; `reason` is a sentence."""
    return ApiProblem(400, "parameter_invalid", f"The {name} parameter is invalid. {reason}")


def key_refused() -> ApiProblem:
    """401: no key, or another than the expected one."""
    return ApiProblem(
        401,
        "api_key_invalid",
        "API Key is either invalid or expired. Check your API key or generate a new one from the dashboard.",
    )


def missing_parameter(name: str) -> ApiProblem:
    """400: a required parameter is missing."""
    return ApiProblem(400, "parameter_not_provided", f"The {name} parameter is required but was not provided.")


def unknown_parameter(name: str) -> ApiProblem:
    """400: there is no such parameter."""
    return ApiProblem(400, "parameter_unknown", f"The {name} parameter is not supported.")


def unknown_task(task_id: str, collection: str) -> ApiProblem:
    """404: the task never existed, is past its retention, or belongs to the other version."""
    return ApiProblem(404, "resource_not_exists", f"Resource with id {task_id} does not exist in {collection}.")


def too_many_requests(limit: str, until: str, retry_after_s: int, headers: Mapping[str, str]) -> ApiProblem:
    """429: `limit` reads like `100req/1day`, `until` is RFC 3339."""
    return ApiProblem(
        429,
        "too_many_requests",
        f"You have exceeded the rate limit ({limit}). Please try again later after {until}.",
        {"retry-after": str(retry_after_s), **headers},
    )
