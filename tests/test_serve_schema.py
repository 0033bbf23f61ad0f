"""The API of `serve` against its own description, by schemathesis: whatever is sent, it answers as OpenAPI says."""

import hypothesis
import pytest
import schemathesis
from hypothesis import HealthCheck
from hypothesis import strategies as st
from schemathesis import GenerationMode, checks

from recolor_fast.serve import colorizers, work
from recolor_fast.serve.app import application
from recolor_fast.serve.desk import Desks
from tests.serving import file_of, gray_photograph, served

GRAY = file_of(gray_photograph())
# Random bytes are no image, and random text is no hint: valid by the schema, and refused for good reasons. What is bad
# by the schema may be nothing in a form: an empty list, say.
EXCLUDED = {
    False: [checks.positive_data_acceptance],
    True: [checks.positive_data_acceptance, checks.negative_data_rejection],
}
MODES = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)


def hold(tmp_path, examples: int) -> set[str]:
    """Send `examples` good and as many bad requests to each operation; the operations.

    AssertionError for an answer that is not described.
    """
    config = schemathesis.Config()
    seen = set()
    desks = Desks(tmp_path / "state")
    try:
        with served(application(work.Work(colorizers.models(threads=1)), desks=desks)) as port:
            schema = schemathesis.openapi.from_url(f"http://127.0.0.1:{port}/openapi.json", config=config)
            for found in schema.get_all_operations():
                operation = found.ok()
                seen.add(operation.label)

                @hypothesis.settings(
                    max_examples=examples, deadline=None, derandomize=True, suppress_health_check=[*HealthCheck]
                )
                @hypothesis.given(case=st.one_of(*(operation.as_strategy(generation_mode=mode) for mode in MODES)))
                def holds(case: schemathesis.Case) -> None:
                    if case.media_type == "application/octet-stream":
                        case.body = GRAY  # so that options are looked at
                    case.call_and_validate(excluded_checks=EXCLUDED[case.media_type == "multipart/form-data"])

                holds()
    finally:
        desks.close()
    return seen


def test_answers_are_as_described(tmp_path):
    seen = hold(tmp_path, 6)
    assert seen >= {"POST /color", "GET /health", "GET /metrics", "GET /desk", "POST /desk/photographs"}


@pytest.mark.slow
def test_many_answers_are_as_described(tmp_path):
    hold(tmp_path, 500)
