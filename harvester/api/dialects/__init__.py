"""The versions of the API: where they differ, each has a module of its own.

What is the same for both is read in `harvester.api.decode` and `harvester.api.responses`: a body of one version is
accepted from the other, too, so that retrievals are decoded whatever the version.
"""

from collections.abc import Mapping

from harvester.api.dialects.dialect import Dialect
from harvester.api.dialects.v1 import V1
from harvester.api.dialects.v2 import V2
from harvester.domain.tasks.task import ApiVersion

DIALECTS: Mapping[ApiVersion, Dialect] = {"v1": V1(), "v2": V2()}

__all__ = ["DIALECTS", "Dialect"]
