"""What a manifest is made of: a sweep, the classes of its workers, and where they are to keep what they make."""

from __future__ import annotations

import re
from dataclasses import dataclass

from sweeps.machine.cluster_file import ClusterProfile, ResourceClass

STORE = "SWEEP_STORE"  # variable of the containers: address of the database or the bucket that the sweep is kept in
LONGEST = 40  # characters of a name: Kubernetes adds to those that we make, and takes 63


@dataclass(frozen=True)
class Deployment:
    """A sweep and its workers, as an engine is to be told of them."""

    name: str
    """Of the sweep: small letters, digits and -."""
    text: str
    """The sweep file."""
    profile: ClusterProfile
    """The cluster profile; one made up where there is none."""
    profile_text: str = ""
    """Its file; "" where there is none, and workers take all trials."""
    only: str = ""
    """The class to make a manifest for; "" for all."""
    image: str = ""
    """Container image of the workers."""
    claim: str = ""
    """Kubernetes: name of the claim of a volume that all pods can write to."""
    secret: str = ""
    """Kubernetes: name of the secret whose key url is the address of the database or the bucket."""
    checkpoints: str = ""
    """URL for copies of checkpoints; "" where all share a folder or a bucket, or trials begin anew elsewhere."""
    gpu: str = ""
    """SkyPilot: which GPU, such as A100."""

    @property
    def classes(self) -> tuple[ResourceClass, ...]:
        return tuple(one for one in self.profile.classes if self.only in ("", one.name))

    def label(self, resources: ResourceClass) -> str:
        """A class's name as part of another; two classes have two."""
        plain = simple(resources.name)
        alike = [one for one in self.profile.classes if simple(one.name) == plain]
        return plain if len(alike) == 1 else f"{plain[: LONGEST // 2 - 4]}-{self.profile.classes.index(resources) + 1}"


def simple(name: str) -> str:
    """A name as Kubernetes wants them: small letters and digits, with - between them, not too long."""
    words = re.findall(r"[a-z0-9]+", name.lower().encode("ascii", "ignore").decode())
    return "-".join(words)[: LONGEST // 2].strip("-") or "sweep"
