"""All claims, in the order of the articles; `statements` says what a claim is."""

from pipeline.analysis.claims_a import CLAIMS_A
from pipeline.analysis.claims_b import CLAIMS_B
from pipeline.analysis.claims_c import CLAIMS_C
from pipeline.analysis.claims_d import CLAIMS_D, CLAIMS_K
from pipeline.analysis.statements import Claim

CLAIMS: tuple[Claim, ...] = (*CLAIMS_A, *CLAIMS_B, *CLAIMS_C, *CLAIMS_D, *CLAIMS_K)


def by_id(name: str) -> Claim:
    """The claim of this id. Raises KeyError if there is none."""
    return {claim.id: claim for claim in CLAIMS}[name]


def compared_by(measure: str, study: str) -> set[str]:
    """The techniques that any claim compares by `measure` in `study`."""
    return {
        side.technique
        for claim in CLAIMS
        if study in claim.studies
        for statement in claim.statements
        if statement.measure == measure
        for side in statement.sides
    }
