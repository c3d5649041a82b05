"""The domains of the built-in world: one row of light, weather and sensor each."""

from dataclasses import dataclass, replace

Colour = tuple[float, float, float]


@dataclass(frozen=True)
class Domain:
    """The appearance of a domain. Light is in units where a white surface under `sun` alone has value 1."""

    name: str
    description: str
    layout: str = "town"  # kind of place; domains of one layout are pixel-paired
    sun: Colour = (0.95, 0.90, 0.80)
    ambient: Colour = (0.36, 0.40, 0.46)
    zenith: Colour = (0.32, 0.50, 0.80)
    horizon: Colour = (0.75, 0.82, 0.88)
    clouds: float = 0.5  # cover, 0 to 1
    sun_in_front: bool = False  # the sun stands ahead, whatever the scene says
    lights: float = 0.0  # street lamps, windows, vehicle lamps
    headlights: float = 0.0  # the camera car's own beam
    fog: float = 0.0  # extinction in 1/m
    wet: float = 0.0  # mirror-like share of the ground
    snow: float = 0.0  # cover of upward surfaces
    rain: float = 0.0  # streaks in the air
    flakes: float = 0.0  # snow in the air
    veil: float = 0.0  # stray light from the sun
    thermal: bool = False  # a heat image instead of a light image
    noise: float = 0.008  # sensor noise, standard deviation
    blur: float = 0.0  # radius in pixels at a width of 256
    saturation: float = 1.0


def _in_suburb(domain: Domain) -> Domain:
    """The same light, weather and sensor in the other kind of place."""
    return replace(
        domain, name=f"suburb-{domain.name}", description=f"{domain.description}; in a suburb", layout="suburb"
    )


_ROWS: tuple[Domain, ...] = (
    Domain("clear", "daylight with sun and shadows"),
    Domain(
        "dusk", "a low warm sun under an orange and violet sky, lights on",
        sun=(0.55, 0.28, 0.12), ambient=(0.17, 0.13, 0.20), zenith=(0.20, 0.17, 0.38),
        horizon=(0.95, 0.45, 0.18), clouds=0.7, lights=0.7, noise=0.015,
    ),
    Domain(
        "night", "dark but for headlights, street lamps, windows and vehicle lamps",
        sun=(0.0, 0.0, 0.0), ambient=(0.010, 0.012, 0.020), zenith=(0.004, 0.005, 0.012),
        horizon=(0.030, 0.024, 0.022), lights=1.0, headlights=1.0, noise=0.045, saturation=0.8,
    ),
    Domain(
        "fog", "visibility of some tens of metres",
        sun=(0.0, 0.0, 0.0), ambient=(0.62, 0.63, 0.65), zenith=(0.66, 0.67, 0.69),
        horizon=(0.66, 0.67, 0.69), clouds=0.0, fog=0.042, saturation=0.7,
    ),
    Domain(
        "rain", "an overcast sky, a wet mirroring road, streaks and drops",
        sun=(0.0, 0.0, 0.0), ambient=(0.30, 0.32, 0.36), zenith=(0.32, 0.34, 0.38),
        horizon=(0.48, 0.50, 0.53), clouds=0.8, lights=0.35, fog=0.012, wet=0.55, rain=1.0, noise=0.015,
        blur=0.6, saturation=0.75,
    ),
    Domain(
        "snow", "white ground and roofs, flakes in the air",
        sun=(0.0, 0.0, 0.0), ambient=(0.62, 0.65, 0.70), zenith=(0.66, 0.68, 0.71),
        horizon=(0.78, 0.79, 0.81), clouds=0.5, fog=0.010, snow=0.85, flakes=1.0, saturation=0.8,
    ),
    Domain(
        "glare", "driving into a low sun: bloom, veil, crushed contrast",
        sun=(0.55, 0.46, 0.32), ambient=(0.16, 0.15, 0.15), zenith=(0.55, 0.62, 0.75),
        horizon=(1.0, 0.92, 0.75), clouds=0.4, sun_in_front=True, veil=1.0,
    ),
    Domain(
        "infrared", "a thermal camera: bodies, engines and wheels warm, sky cold",
        thermal=True, noise=0.03, blur=0.7,
    ),
    Domain(
        "elsewhere", "another place: towers and pitched houses, wide bent roads, other ground and trees",
        layout="suburb", sun=(1.0, 0.86, 0.62), ambient=(0.42, 0.40, 0.38), zenith=(0.46, 0.60, 0.74),
        horizon=(0.90, 0.85, 0.74), clouds=0.25, saturation=0.85,
    ),
)  # fmt: skip

DOMAINS: dict[str, Domain] = {
    domain.name: domain for domain in (*_ROWS, *(_in_suburb(domain) for domain in _ROWS if domain.layout == "town"))
}
"""Every domain by name: the town in all its weathers, `elsewhere`, and the suburb in the town's weathers."""
