"""Where a pod is in its life, and what its hooks hold it from. Pure.

The states and their order are OpenKruise's (``apps.kruise.io`` lifecycle); a pod without a hook passes them
without a write of its own.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from daemon.objects.pod_readiness import blockers
from daemon.workloads.clonesets.settings import Hook, Settings
from daemon.workloads.clonesets.views import (
    NORMAL,
    PREPARING_DELETE,
    PREPARING_NORMAL,
    PREPARING_UPDATE,
    UPDATED,
    UPDATING,
    PodView,
)

UPDATE_KEY: Final = "preUpdateHook"
DELETE_KEY: Final = "preDeleteHook"
"""What a pod is kept out of traffic for, in the message of KruisePodReady."""
USER_AGENT: Final = "Lifecycle"
"""Who does so there, as OpenKruise says it."""


@dataclass(frozen=True, slots=True)
class Turn:
    """A pod comes to another state."""

    state: str
    labels: Mapping[str, str] = field(default_factory=dict)
    """Handlers that are put back on it."""
    finalizers: tuple[str, ...] = ()
    acquire: str = ""
    """The key by which it is kept out of traffic from before that on."""
    release: str = ""
    """The key by which it is kept out of traffic no longer."""


@dataclass(frozen=True, slots=True)
class Stay:
    """The hook holds the pod where it is."""


@dataclass(frozen=True, slots=True)
class Go:
    """Nothing holds the pod: it may be changed, or deleted."""


def by_itself(view: PodView, settings: Settings) -> Turn | None:
    """What becomes of a pod that nothing is wanted of; None when it stays as it is."""
    hooks = settings.hooks
    match view.state:
        case "PreparingNormal":
            if hooks.pre_normal.holds:
                come = hooks.pre_normal.all_on(view.pod)
            else:
                come = bool(view.pod.spec.node_name)
            return Turn(NORMAL) if come else None
        case "Updating" if not view.busy:
            return Turn(after_update(settings), release=UPDATE_KEY)
        case "Normal" | "Updated" if not view.busy and (stale := _stale_key(view)):
            return Turn(view.state, release=stale)
        case "Updated" if not hooks.in_place_update.holds or hooks.in_place_update.all_on(view.pod):
            return Turn(NORMAL, release=UPDATE_KEY)
        case _:
            return None


def before_update(view: PodView, settings: Settings) -> Turn | Stay | Go:
    """What a pod must pass before it may be changed in place."""
    hook = settings.hooks.in_place_update
    if view.busy or not hook.holds:
        return Go()
    if view.state == PREPARING_UPDATE:
        return Stay() if hook.any_on(view.pod) else Go()
    if view.state == UPDATED:  # it is held anew for the newer revision
        return Turn(PREPARING_UPDATE, hook.labels, hook.finalizers, acquire=_key(hook, UPDATE_KEY))
    if hook.any_on(view.pod):
        return Turn(PREPARING_UPDATE, acquire=_key(hook, UPDATE_KEY))
    return Go()


def instead_of_update(view: PodView, settings: Settings) -> Turn:
    """What becomes of a pod that was held for an update that is off."""
    hook = settings.hooks.in_place_update
    whole = not hook.holds or hook.all_on(view.pod)
    return Turn(NORMAL if whole else UPDATED, release=UPDATE_KEY)


def before_delete(view: PodView, settings: Settings) -> Turn | Stay | Go:
    """What a pod must pass before it may be deleted."""
    hook = settings.hooks.pre_delete
    if not hook.any_on(view.pod):
        return Go()
    if view.state == PREPARING_DELETE:
        return Stay()
    return Turn(PREPARING_DELETE, acquire=_key(hook, DELETE_KEY))


def instead_of_delete(settings: Settings) -> Turn:
    """What becomes of a pod that was held for a deletion that is off."""
    state = PREPARING_NORMAL if settings.hooks.pre_normal.holds else NORMAL
    return Turn(state, release=DELETE_KEY)


def during_update(settings: Settings) -> str:
    """The state of a pod while it changes; empty where no hook asks for one."""
    return UPDATING if settings.hooks.in_place_update.holds else ""


def after_update(settings: Settings) -> str:
    """The state of a pod that has changed."""
    return UPDATED if settings.hooks.in_place_update.holds else NORMAL


def _stale_key(view: PodView) -> str:
    """The key of ours that still keeps a pod out of traffic though nothing is wanted of it; empty for none.

    The key and the state are two writes: whoever died between them left it.
    """
    ours = {each.key for each in blockers(view.pod) if each.user_agent == USER_AGENT}
    return next((key for key in (UPDATE_KEY, DELETE_KEY) if key in ours), "")


def _key(hook: Hook, key: str) -> str:
    return key if hook.mark_not_ready else ""
