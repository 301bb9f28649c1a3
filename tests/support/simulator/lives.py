"""Whole lives of clusters: what happens in them, how long they have to become equal, and what is checked."""

from support.simulator.world import Trouble, World

SIZES = (2, 3, 2, 4, 3, 5, 2, 7, 3, 4)
#: Seconds within which all masters must be equal once everything healed (the drop of the last question included).
CONVERGENCE = 15.0
#: Seconds until the files are equal too: the targets' own waits between two tries are longer.
DELIVERY = 400.0

#: Seconds after which nothing moves any more: half an answer of a removed master has been adopted.
SETTLING = 10.0
#: What happens in a life, if nothing else is said.
ACTIONS = 60
MISFORTUNES = 6

#: kind of life: what may happen in it.
KINDS = {
    "network": Trouble(drop=0.2, repeat=0.2, crashes=False),
    "crashes": Trouble(),
    "power": Trouble(power=True),
    "bad clock": Trouble(bad_clock=True),
    "restored": Trouble(restores=True),
    "installed anew": Trouble(reinstalls=True, restores=True),
    "cloned": Trouble(clones=True),
    "rotten": Trouble(rot=True),
    "damaged": Trouble(damage=True, power=True, nodes=1),
    "members": Trouble(joins=True),
    "people": Trouble(people=True, power=True),
    "targets": Trouble(targets=True, people=True),
    "nodes": Trouble(nodes=3, power=True, joins=True),
    "one master": Trouble(nodes=2, power=True, restores=True, alone=True),
    "everything": Trouble(
        power=True, restores=True, reinstalls=True, joins=True, bad_clock=True, people=True, targets=True
    ),
}


def live(
    kind: str, seed: int, *, masters: int | None = None, actions: int = ACTIONS, misfortunes: int = MISFORTUNES
) -> None:
    """Let a cluster live through its trouble and heal, and check what must hold.

    Args:
        kind: a key of :data:`KINDS`.
        seed: decides everything.
        masters: how many there are in the beginning; the seed decides if None.
        actions: how often people do something.
        misfortunes: how often something goes wrong.

    Raises:
        AssertionError: something did not; its notes tell what happened last.
    """
    trouble = KINDS[kind]
    size = 1 if trouble.alone else SIZES[seed % len(SIZES)]
    with World(seed, size if masters is None else masters, trouble) as world:
        world.live(seconds=25, actions=actions, misfortunes=misfortunes)
        took = world.heal()
        world.run(SETTLING)
        if trouble.targets:
            world.settle_targets(DELIVERY)
        if trouble.nodes:
            world.settle_nodes(CONVERGENCE)
        world.checks.finally_()
        if trouble.people:
            close_the_doors(world)
        assert took <= CONVERGENCE, f"equal only {took:g} s after everything healed"


def close_the_doors(world: World) -> None:
    """Go through all doors of a quiet cluster: root sets a password, logins, refusals, a guesser."""
    people = world.people
    machine = world.random.choice(list(world.machines.values()))
    users = [user.entry.name for user in machine.accounts.view.users() if not user.locked]
    for name in users[:1]:
        people.set_by_root(machine, name)
        world.run(5)
        other = world.random.choice(list(world.machines.values()))
        people.log_in(other, name)
        people.be_refused(other, name)
        people.knock_until_slowed(other, name)
    people.be_refused(machine, "nobody")
    world.checks.finally_()
