"""`aerosweep confirm` and `aerosweep leaderboard`: what a search's scores are worth."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from rich.console import Console

from trainable.redaction import redacted

if TYPE_CHECKING:
    from analysis.evidence.confirmation import Confirmation
    from search.config.search_config import SearchConfig
    from search.run.confirm import ConfirmOutcome
    from search.run.search_state import SearchView
    from trainable.record.record_types import TrialSnapshot

_SHOWN_TRIALS: Final = 15
_LOG_WIDTH: Final = 160


def log_console() -> Console:
    """The console to print on; a log has no edge that a table would have to keep to."""
    console = Console()
    return console if console.is_terminal else Console(width=_LOG_WIDTH)


def printer(console: Console) -> Callable[[str], None]:
    """Prints lines as they are, but for passwords."""
    return lambda line: console.print(redacted(line), markup=False, highlight=False, soft_wrap=True)


def confirm_search(config: "SearchConfig", address: str | None, console: Console) -> int:
    """Run a confirmation, show what it says, and return the exit code."""
    from aerosweep.terminal.image_progress import ImageProgress
    from aerosweep.terminal.progress import make_view

    view: SearchView = make_view(console)
    try:
        from search.run.confirm import run_confirmation

        with ImageProgress("decoding", console, view.say) as on_decode:
            outcome = run_confirmation(config, address=address, view=view, say=view.say, on_decode=on_decode)
    finally:
        view.close()
    confirmation = read_confirmation(config)
    if confirmation is not None:
        show_confirmation(confirmation, config.objectives, console)
        _write(confirmation, config)
    return _close(config, outcome, confirmation is not None, console)


def _close(config: "SearchConfig", outcome: "ConfirmOutcome", measured: bool, console: Console) -> int:
    from aerosweep.closing import on_folder

    say = printer(console)
    if measured:
        say(f"confirmation {config.folder}/confirm/confirmed.csv, claims.csv")
    elif not outcome.left:
        say("nothing could be measured: every run diverged or failed; MLflow and end.json of each run have the reasons")
    if outcome.left:
        say(f"stopped early ({outcome.interrupted or 'not all runs ended'}) with {outcome.left} runs to go")
        say(f"continue     {on_folder('confirm', config.folder)}")
    if outcome.signal is not None:
        return 128 + outcome.signal
    return 0 if measured or outcome.left else 1


def read_confirmation(config: "SearchConfig") -> "Confirmation | None":
    """What the confirmation of a search says so far, or None where nothing has been measured."""
    from aerosweep.terminal.confirmation_view import confirmed_trials
    from analysis.evidence.confirmation import judge
    from search.decide.confirm_plan import FOLDER, confirmed_candidates
    from trainable.record.storage import Storage
    from trainable.record.trial_record import load_trials

    folder = Storage(config.folder)
    runs = load_trials(folder.child(FOLDER))
    chosen = confirmed_candidates(load_trials(folder), runs, config.confirm)
    trials = confirmed_trials(folder, chosen, runs)
    return judge(trials, config.objectives, config.confirm.relevant_gain) if trials else None


def show_confirmation(confirmation: "Confirmation", objectives: Sequence[str], console: Console) -> None:
    """Show confirmed scores, then the claims, then what else is to be known."""
    from aerosweep.terminal import confirmation_view as view

    console.print(view.confirmed_table(confirmation, objectives))
    if confirmation.claims:
        console.print()
        console.print(view.claims_table(confirmation, objectives))
    say = printer(console)
    for reason in view.reasons(confirmation, objectives):
        say(reason)
    console.print()
    for note in view.closing_notes(confirmation, objectives):
        say(f"note: {note}")
    console.print()


def _write(confirmation: "Confirmation", config: "SearchConfig") -> None:
    from aerosweep.terminal.confirmation_view import claims_csv, confirmed_csv
    from search.decide.confirm_plan import FOLDER
    from trainable.record.storage import Storage

    folder = Storage(config.folder).child(FOLDER)
    for name, data in (("confirmed.csv", confirmed_csv(confirmation)), ("claims.csv", claims_csv(confirmation))):
        if folder.read(name) != data:
            folder.write(name, data)


def show_leaderboard(trials: "Sequence[TrialSnapshot]", objectives: Sequence[str], console: Console) -> None:
    """Show a search's dev scores, and its losses at equal effort."""
    from aerosweep.terminal.leaderboard_table import leaderboard_table
    from aerosweep.terminal.loss_comparison import loss_table
    from search.project.leaderboard import leaderboard

    console.print(leaderboard_table(leaderboard(trials, objectives), _SHOWN_TRIALS))
    table = loss_table(trials)
    if table is not None:
        console.print()
        console.print(table)
    console.print()
