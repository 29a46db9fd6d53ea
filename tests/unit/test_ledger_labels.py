"""What a model was labelled outlives it, and the operator, in its row."""

from modelward_operator.api.costledger import CostLedgerSpec
from modelward_operator.ledger.account import Account
from modelward_operator.ledger.book import LABEL_CHARACTERS, LABELS
from modelward_operator.ledger.sighting import Sighting
from modelward_operator.pricing.facts import Rate
from modelward_operator.pricing.money import NANO

NOW = 1_795_600_000


def test_labels_are_written_with_the_row_and_read_again() -> None:
    account = Account("risk", (), NOW)
    account.book.note_labels("fraud", {"team": "mine"})
    account.book.observe("fraud", [Sighting("u", "fraud", "a", NOW - 600, None, Rate(NANO, "USD"))], NOW)
    objects = [{**obj, "metadata": {**obj["metadata"], "resourceVersion": "1"}} for obj in account.due(NOW)]
    again = Account("risk", objects, NOW)
    assert {"fraud": {"team": "mine"}} == again.book.labels
    assert all(CostLedgerSpec.model_validate(obj["spec"]) for obj in objects)


def test_no_more_than_a_row_holds_are_kept() -> None:
    account = Account("risk", (), NOW)
    account.book.note_labels("fraud", {f"l{number:03}": "x" for number in range(100)})
    assert len(account.book.labels["fraud"]) == LABELS


def test_those_that_budgets_ask_for_are_kept_whatever_else_is_put_before_them() -> None:
    account = Account("risk", (), NOW)
    many = {f"a{number:03}/{'x' * 60}": "y" * 63 for number in range(100)}
    account.book.note_labels("fraud", {**many, "team": "mine"}, {"team"})
    kept = account.book.labels["fraud"]
    assert "mine" == kept["team"]
    assert sum(map(len, [*kept, *kept.values()])) <= LABEL_CHARACTERS, "thousands of models must fit into an object"
