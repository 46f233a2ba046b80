"""How much is measured: the full run of half an hour to three quarters, and the quick one."""

from dataclasses import dataclass

from loadtests.support.images import Recipe

# Sizes in MB of the layers. 206 MB in four layers: as the image of the published 2016 figures.
SMALL = Recipe("library/nginx", "1.27", (29.1, 43.8, 0.1, 0.1))
BLOB = Recipe("library/blob", "1", (67.108864 - 0.002048,))
PUBLISHED = Recipe("library/published", "1", (103.0, 62.0, 31.0, 10.0))
HEADLINE_CLIENTS = 16


@dataclass(frozen=True)
class Plan:
    """Seconds, counts, MB and Mbit/s. `pulls`: {clients: pulls of the 206 MB image}."""

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
    away_s: int
    mixed_s: int

    def herd(self) -> Recipe:
        """What the herd on an unlimited link pulls."""
        return Recipe("library/herd", "1", _layers(self.herd_mb))

    def limited(self, name: str) -> Recipe:
        """What is pulled over the limited link, by one client alone or by the herd."""
        return Recipe(f"library/limited-{name}", "1", _layers(self.limited_mb))

    def docker(self, link: str) -> list[Recipe]:
        """What real Docker hosts pull cold over a link, one for each way and round."""
        names = [f"{way}-{link}-{number}" for number in range(self.docker_rounds) for way in ("direct", "mirror")]
        return [Recipe(f"library/docker-{name}", "1", _layers(self.docker_mb)) for name in names]


def _layers(size_mb: float) -> tuple[float, ...]:
    return tuple(size_mb * share for share in (0.5, 0.3, 0.15, 0.05))


FULL = Plan(
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
    # So slow that the link is what a client waits for, not the processors that its own share with the mirror here.
    limited_mbits=10,
    limited_clients=100,
    docker_rounds=3,
    docker_mb=60,
    docker_mbits=100,
    away_s=65,
    mixed_s=90,
)
QUICK = Plan(
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
    away_s=8,
    mixed_s=70,
)
