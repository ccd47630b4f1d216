"""What several schemas are made of."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["Asked", "Problem", "Report", "Wrong"]


class Asked(BaseModel):
    """The base of what is sent: a member that does not exist is refused."""

    model_config = ConfigDict(extra="forbid")


class Report(BaseModel):
    """The base of what is answered."""


class Wrong(Report):
    """One thing that is wrong with a request."""

    where: str
    problem: str


class Problem(Report):
    """What is wrong, as RFC 9457 has it."""

    type: str
    title: str
    status: int
    detail: str = Field(description="A sentence for people.")
    code: str = Field(description="A word for programs.")
    problems: list[Wrong] | None = Field(
        default=None, description="What is wrong with each part of the request."
    )
