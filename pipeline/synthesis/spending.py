"""A budget that holds whatever is in flight: the most a request can take is set aside before it leaves."""

from __future__ import annotations

from dataclasses import dataclass

from gristmill.pipeline.synthesis.settings import Budget


@dataclass(slots=True)
class Spending:
    """What was spent, may have been, and is set aside, of a share of a budget.

    A request is asked if what was spent, the most that lost requests can have taken, what is set aside and
    the most that it can take stay within the share of tokens and of money, where the budget bounds them.
    """

    budget: Budget
    share: float = 1.0
    spent_in: int = 0
    spent_out: int = 0
    lost_in: int = 0
    lost_out: int = 0
    set_aside: int = 0
    set_aside_money: float = 0.0

    @property
    def money(self) -> float:
        return self.budget.cost(self.spent_in + self.lost_in, self.spent_out + self.lost_out)

    def fits(self, most_in: int, most_out: int) -> bool:
        """Whether a request may leave now."""
        tokens, money = self.budget.tokens, self.budget.money
        if tokens is not None:
            used = self.spent_in + self.spent_out + self.lost_in + self.lost_out + self.set_aside
            if used + most_in + most_out > int(tokens * self.share):
                return False
        if money is not None:
            used_money = self.money + self.set_aside_money
            return used_money + self.budget.cost(most_in, most_out) <= money * self.share
        return True

    def reserve(self, most_in: int, most_out: int) -> None:
        self.set_aside += most_in + most_out
        self.set_aside_money += self.budget.cost(most_in, most_out)

    def release(self, most_in: int, most_out: int) -> None:
        self.set_aside -= most_in + most_out
        self.set_aside_money -= self.budget.cost(most_in, most_out)

    def spend(self, tokens_in: int, tokens_out: int) -> None:
        self.spent_in += tokens_in
        self.spent_out += tokens_out

    def lose(self, most_in: int, most_out: int) -> None:
        """Count a request that did not come back as if it had taken the most it can."""
        self.lost_in += most_in
        self.lost_out += most_out


def most_tokens_in(prompt: str) -> int:
    """The most tokens that a prompt can be: no tokenizer makes more of it than bytes, and 64 for the chat's
    form."""
    return len(prompt.encode("utf-8", "replace")) + 64
