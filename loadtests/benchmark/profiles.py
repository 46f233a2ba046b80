"""How much a run measures: the full profile takes half an hour to three quarters, the quick one some minutes."""

from dataclasses import dataclass

from loadtests.support.images import Recipe

# Sizes in MB of the layers. 206 MB in four layers is the image of the figures published in 2016.
SMALL = Recipe("library/nginx", "1.27", (29.1, 43.8, 0.1, 0.1))
BLOB = Recipe("library/blob", "1", (67.108864 - 0.002048,))
PUBLISHED = Recipe("library/published", "1", (103.0, 62.0, 31.0, 10.0))
HEADLINE_CLIENTS = 16
# Duration of the requests before the pulls of an outage, and how many clients pull.
OUTAGE_REQUEST_S = 2
OUTAGE_CLIENTS = 8


@dataclass(frozen=True)
class Store:
    """A cache for `--scale`; `compared`: measured with the version before as well."""

    blobs: int
    repositories: int
    tags: int = 50
    compared: bool = True


STORES = (Store(10_000, 2_000), Store(100_000, 20_000), Store(1_000_000, 20_000, compared=False))
QUICK_STORES = (Store(1_000, 100), Store(5_000, 500))


@dataclass(frozen=True)
class GroupProfile:
    """The size of a run of `--group`. A fault lasts for `fault_s`, Swift is away for `swift_s`."""

    clients: int = 100
    image_mb: float = 200
    # So many that members get nearly equal shares.
    layers: int = 20
    rounds: int = 5
    round_s: int = 2
    calm_s: float = 2
    fault_s: float = 8
    swift_s: float = 30

    def cold(self, hosts: int) -> Recipe:
        """The image that all clients pull at once from a group of this size."""
        return Recipe(f"library/cold-{hosts}", "1", (self.image_mb / self.layers,) * self.layers)

    def of_faults(self, fault: str) -> list[Recipe]:
        """What clients pull during a fault: the first half is cached before."""
        return [Recipe(f"library/{fault}-{number}", "1", (1.0, 0.7, 0.3)) for number in range(8)]


HIT = Recipe("library/hit", "1", (4.0,) * 8)
GROUP = GroupProfile()
QUICK_GROUP = GroupProfile(clients=20, image_mb=20, rounds=1, round_s=1, calm_s=1, fault_s=4, swift_s=5)


@dataclass(frozen=True)
class Profile:
    """Seconds, counts, MB and Mbit/s. `pulls` maps clients to pulls of the 206 MB image."""

    name: str
    clients: tuple[int, ...]
    delays_ms: tuple[int, ...]
    request_s: int
    headline_s: int
    rounds: int
    upstream_rounds: int
    pulls: dict[int, int]
    herd_clients: int
    herd_mb: float
    limited_mb: float
    limited_mbits: float
    limited_clients: int
    docker_rounds: int
    docker_mb: float
    docker_mbits: float
    outage_s: int
    mixed_s: int

    def herd(self) -> Recipe:
        """The image of the herd on an unlimited link."""
        return Recipe.of_size("library/herd", self.herd_mb)

    def limited(self, name: str) -> Recipe:
        """An image for the limited link."""
        return Recipe.of_size(f"library/limited-{name}", self.limited_mb)

    def docker(self, path: str, link: str) -> list[Recipe]:
        """The images that a Docker host pulls cold by a path over a link, one for each round."""
        names = [f"library/docker-{path}-{link}-{number}" for number in range(self.docker_rounds)]
        return [Recipe.of_size(name, self.docker_mb) for name in names]


FULL = Profile(
    name="full",
    clients=(1, 10, 30, 50, 100),
    delays_ms=(0, 20, 100),
    request_s=2,
    headline_s=2,
    rounds=15,
    upstream_rounds=11,
    pulls={1: 200, 10: 200, 30: 200, 50: 200, 100: 200},
    herd_clients=100,
    herd_mb=20,
    limited_mb=200,
    # So slow that a client waits for the link and not for the processors, which clients and mirror share here.
    limited_mbits=10,
    limited_clients=100,
    docker_rounds=3,
    docker_mb=60,
    docker_mbits=100,
    outage_s=65,
    mixed_s=90,
)
QUICK = Profile(
    name="quick",
    clients=(1, 10, 100),
    delays_ms=(0, 100),
    request_s=1,
    headline_s=2,
    rounds=1,
    upstream_rounds=1,
    pulls={1: 5, 10: 20, 30: 30},
    herd_clients=30,
    herd_mb=5,
    limited_mb=8,
    limited_mbits=10,
    limited_clients=30,
    docker_rounds=1,
    docker_mb=20,
    docker_mbits=100,
    outage_s=8,
    mixed_s=70,
)
