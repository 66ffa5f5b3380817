"""Which differences an act can tell: the facts that are looked at before it is left out."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Dependence:
    """Each switch is a kind of facts without which what-ifs come out wrong. All are on in
    `SOUND`; the others exist so that tests can see that leaving one out is noticed."""

    phantoms: bool = True  # rows that a condition selects only as they are in the other world
    old_images: bool = True  # rows that a condition selects only as they were in the base
    triggers: bool = True  # what triggers of written tables read and write
    constraints: bool = True  # unique values and foreign keys of other rows
    predicates: bool = True  # columns in conditions
    expressions: bool = True  # columns in SET, in subqueries and joins: what is written
    failures: bool = True  # acts that failed may succeed
    sequences: bool = True  # numbers issued by sequences that no key pins
    writes: bool = True  # an act that writes a differing row makes it alike, or differs on
    constants: bool = True  # those of a statement itself, where its shape was read before
    copies: bool = True  # how many there are of a row without a key, where an act is run again
    # Where acts are told without being run:
    onlookers: bool = True  # triggers and checks that see what a statement sets
    companions: bool = True  # what the other statements of an act do with the same rows
    parts: bool = True  # rows that come to a sum or leave it


SOUND = Dependence()
