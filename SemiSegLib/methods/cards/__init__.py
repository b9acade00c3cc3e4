"""The cards of all methods, in the order in which a person should read them."""

from __future__ import annotations

from SemiSegLib.errors import ConfigError, did_you_mean, explain
from SemiSegLib.methods.cards.adversarial import ADVERSARIAL_CARDS
from SemiSegLib.methods.cards.cross import CROSS_CARDS
from SemiSegLib.methods.cards.dual import DUAL_CARDS
from SemiSegLib.methods.cards.latent import LATENT_CARDS
from SemiSegLib.methods.cards.presence import PRESENCE
from SemiSegLib.methods.cards.subclass import SUBCLASS_CARDS
from SemiSegLib.methods.cards.teachers import TEACHER_CARDS
from SemiSegLib.methods.catalogue import Card

CARDS: tuple[Card, ...] = (
    *SUBCLASS_CARDS,
    *LATENT_CARDS,
    *TEACHER_CARDS,
    *CROSS_CARDS,
    *DUAL_CARDS,
    *ADVERSARIAL_CARDS,
)


def card_of(name: str) -> Card:
    """Return the card of a method, or of the training of a presence network.

    Raises:
        ConfigError: there is no such method; the message names the nearest.
    """
    for card in (*CARDS, PRESENCE):
        if card.name == name:
            return card
    remedy = did_you_mean(name, [card.name for card in CARDS])
    raise ConfigError(explain(f"there is no method '{name}'", where="method", remedy=remedy))
