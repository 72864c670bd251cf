"""What every section of a config has: unknown keys are refused, values do not change."""

from typing import Any

from pydantic import BaseModel, ConfigDict, ValidatorFunctionWrapHandler, field_validator


class Section(BaseModel):
    """A part of a config: unknown keys are refused, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*", mode="wrap")
    @classmethod
    def _truth_is_no_number(cls, given: Any, check: ValidatorFunctionWrapHandler) -> Any:
        """Refuse what pydantic would take for 1: `hours: yes` is no hour."""
        checked = check(given)
        if isinstance(given, bool) and not isinstance(checked, bool):
            raise ValueError("must be a number")  # noqa: TRY004 (pydantic collects these)
        return checked
