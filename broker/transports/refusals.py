"""Several refusals of a broker as one sentence, so that they are granted in one go."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from effectmq.protocol.errors import AccessRefusedError
from effectmq.protocol.permissions import Permissions

__all__ = ["all_refused"]


def all_refused(
    refusals: Sequence[AccessRefusedError], who: str = "", advice: Permissions | None = None
) -> AccessRefusedError:
    """
    One error for all of them; a single one without more to say is given back as it is.

    Args:
        refusals: At least one.
        who: The role that needs the permissions, for instance ``a worker``.
        advice: All that the role needs, when it is known.
    """
    first = refusals[0]
    known = [one for one in refusals if one.resource]
    if (len(refusals) == 1 and advice is None) or not known:
        return first
    user, vhost = known[0].user, known[0].vhost
    missing = "; ".join(
        f"{permission or 'permission'} on " + ", ".join(dict.fromkeys(resources))
        for permission, resources in _by_permission(known).items()
    )
    patterns = " ".join(shlex.quote(each) for each in advice) if advice else "CONFIGURE WRITE READ"
    grant = f"rabbitmqctl set_permissions -p {shlex.quote(vhost)} {shlex.quote(user)} {patterns}"
    others = [str(one) for one in refusals if not one.resource]
    return AccessRefusedError(
        f"user '{user}' may not do all that {who or 'this'} needs in the virtual host '{vhost}'; "
        f"missing: {missing}. Grant it: {grant}"
        + ("" if advice else ", with patterns that match these names (docs/operations.md)")
        + "".join(f". {other}" for other in others),
        permission=known[0].permission,
        resource=known[0].resource,
        user=user,
        vhost=vhost,
        parts=tuple(refusals),
    )


def _by_permission(refusals: Sequence[AccessRefusedError]) -> dict[str, list[str]]:
    grouped: dict[str, list[str]] = {}
    for one in refusals:
        grouped.setdefault(one.permission, []).append(one.resource)
    return grouped
