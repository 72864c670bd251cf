"""The arguments of losses, checked where they are given."""


def require(holds: bool, rule: str, value: object, remedy: str) -> None:
    """Check an argument.

    Raises:
        ValueError: With the rule, the value and the remedy, where the rule does not hold.
    """
    if not holds:
        raise ValueError(f"{rule}; got {value}. {remedy}.")
