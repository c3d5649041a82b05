"""Light on the dressed geometry: sun, sky, lamps, headlights, snow, wet ground, fog; and heat images."""

from dataclasses import replace

import numpy as np

from minorkey.world.classes import Train
from minorkey.world.domains import Colour, Domain
from minorkey.world.gbuffer import GBuffer, gather
from minorkey.world.textures import Appearance, lookup, noise_table

LAMP_HEIGHT = 6.8


def shade(g: GBuffer, look: Appearance, domain: Domain) -> np.ndarray:
    """Light reaching the camera, (3, N) float32, before weather in the air and the sensor."""
    if domain.snow:
        look = _snowed(g, look, domain.snow)
    light = _irradiance(g, domain)
    light *= look.colour
    if domain.lights:
        light += domain.lights * look.glow * _column((1.5, 1.15, 0.75)) * (0.25 + 0.75 * look.colour)
    sky = np.flatnonzero(g.row == 0)
    light[:, sky] = _sky(g, domain, sky)
    if domain.wet:
        light = _wetted(g, light, domain.wet)
    if domain.fog:
        through = np.exp(-domain.fog * np.minimum(g.place[2], 400))
        light = light * through + _column(domain.horizon) * (1 - through)
    if domain.veil:
        light += _column((1.0, 0.92, 0.74)) * _stray_light(g, domain)
    return light


def thermal(g: GBuffer, look: Appearance) -> np.ndarray:
    """A heat image, (3, N) float32 grey: warm bodies bright, sky cold, textures smooth."""
    warmth = 0.30 + 0.62 * look.heat + 0.10 * (look.colour.mean(0) - 0.3)
    sunlit = g.surfaces.normal @ g.scene.sun
    warmth += 0.07 * gather(np.maximum(sunlit, 0), g.row) * (1 - g.shadow)
    warmth += 0.03 * lookup(noise_table(), g.place[0] * 0.4 + 8192, g.place[2] * 0.4 + 8192)
    through = np.exp(-0.004 * np.minimum(g.place[2], 200))
    warmth = warmth * through + 0.27 * (1 - through)
    up = np.clip(g.place[1] / 1000, 0, 1)
    warmth = np.where(g.row == 0, 0.12 - 0.1 * up, warmth)
    return np.repeat(warmth[None] ** 2, 3, 0)


def _column(colour: Colour) -> np.ndarray:
    return np.array(colour, np.float32)[:, None]


def _ground_noise(g: GBuffer, at: np.ndarray, per_metre: float) -> np.ndarray:
    """Noise seen from above at the given pixels."""
    return lookup(noise_table(), g.place[0][at] * per_metre + 8192, g.place[2][at] * per_metre + 8192)


def _irradiance(g: GBuffer, domain: Domain) -> np.ndarray:
    """Light falling on each pixel, (3, N)."""
    normal = g.surfaces.normal
    open_sky = gather(0.78 + 0.22 * normal[:, 1] + 0.06 * normal[:, 0], g.row)
    soiled = gather(np.where(normal[:, 1] < 0.9, np.float32(0.25), 0), g.row)
    open_sky *= 1 - soiled / (1 + np.square(2 * g.place[1]))
    total = _column(domain.ambient) * open_sky
    if any(domain.sun):
        facing = gather(np.maximum(normal @ sun_direction(g, domain), 0), g.row) * (1 - 0.85 * g.shadow)
        total += _column(domain.sun) * facing
    if domain.lights:
        total += _column((0.62, 0.46, 0.26)) * (domain.lights * 0.18 * _lamp_light(g))
    if domain.headlights:
        total += _column((0.95, 0.92, 0.80)) * (domain.headlights * _headlight(g))
    return total


def sun_direction(g: GBuffer, domain: Domain) -> np.ndarray:
    """(3,) unit vector towards the sun."""
    if domain.sun_in_front:
        return np.array([g.scene.sun[0] * 0.3, 0.16, 0.95], np.float32)
    return g.scene.sun


def _lamp_light(g: GBuffer) -> np.ndarray:
    """Pools of light below the street lamps nearest to the camera, (N,)."""
    x, y, z = g.place
    total = np.zeros_like(x)
    for lamp_x, lamp_z in g.scene.lamps[:4].tolist():
        squared = (x - lamp_x) ** 2 + (z - lamp_z) ** 2 + (LAMP_HEIGHT - y) ** 2
        total += 60 / (30 + squared)
    return total


def _headlight(g: GBuffer) -> np.ndarray:
    """The camera car's beam, falling off with distance and away from straight ahead, (N,)."""
    x, y, z = g.place
    beam = np.exp(-np.square(x / z) * 6 - np.square(np.maximum(y - 0.4, 0) / z * 5))
    return beam * 0.8 / (1 + np.square(z / 13))


def _sky(g: GBuffer, domain: Domain, at: np.ndarray) -> np.ndarray:
    x, y, _ = g.place[:, at]
    up = np.clip((y - g.camera.height) / 420, 0, 1)
    colour = _column(domain.horizon) * (1 - up) + _column(domain.zenith) * up
    stretch = 90 / (60 + np.maximum(y, 0))
    a, b = g.scene.noise_at
    cloud = lookup(noise_table(), x * 0.12 * stretch + 4096 + a, stretch * 110 + 4096 + b)
    cover = np.clip((cloud - 1 + 2 * domain.clouds) * 0.5, 0, 1) * 0.55
    bright = _column(domain.ambient) * 0.9 + _column(domain.horizon) * 0.55
    return colour * (1 - cover) + bright * cover


def _snowed(g: GBuffer, look: Appearance, amount: float) -> Appearance:
    """Snow on what faces up, thinner in the wheel tracks; dusting on foliage."""
    up = g.surfaces.normal[:, 1].copy()
    up[g.surfaces.train_id == Train.VEGETATION] = 0.55
    lying = gather(np.clip((up - 0.35) * 2.2, 0, 1), g.row)
    at = np.flatnonzero(lying)
    patchy = 0.5 + 0.35 * _ground_noise(g, at, 3)
    half = g.scene.road.half_width
    track = (np.abs(np.abs(g.lateral[at]) - half / 2) < 0.9) & (g.row[at] == 1 + g.scene.road.carriageway)
    cover = np.clip(lying[at] * (amount - 0.35 + patchy - track * np.float32(0.55)), 0, 0.97)
    colour = look.colour.copy()
    for channel, white in zip(colour, (0.88, 0.90, 0.94), strict=True):
        channel[at] += cover * (white * (0.92 + 0.06 * patchy) - channel[at])
    return replace(look, colour=colour)


def _wetted(g: GBuffer, light: np.ndarray, amount: float) -> np.ndarray:
    """Mirror the upper image in the ground, rippled, and darken the rest of the ground."""
    width, height = g.camera.size
    at = np.flatnonzero((g.row >= 1) & (g.row <= len(g.scene.road.train_id)))
    y, x = np.divmod(at.astype(np.int32), width)
    ripple = _ground_noise(g, at, 6) * (width / 256)
    mirrored = np.clip(2 * g.camera.centre[1] - y + ripple * 2, 0, height - 1).astype(np.int32)
    seen = gather(light, mirrored * width + np.clip(x + ripple, 0, width - 1).astype(np.int32))
    puddle = np.clip(0.55 + 0.35 * _ground_noise(g, at, 0.7), 0.1, 1) * amount
    wet = light.copy()
    wet[:, at] = gather(light, at) * ((1 - 0.6 * amount) * (1 - puddle)) + seen * puddle
    return wet


def _stray_light(g: GBuffer, domain: Domain) -> np.ndarray:
    """The sun's disc and the light it scatters in the lens, (N,), brightest around the sun."""
    east, up, ahead = sun_direction(g, domain).tolist()
    width, height = g.camera.size
    x = np.arange(width, dtype=np.float32) - g.camera.centre[0] - g.camera.focal * east / ahead
    y = np.arange(height, dtype=np.float32)[:, None] - g.camera.centre[1] + g.camera.focal * up / ahead
    squared = ((x * x + y * y) / (0.11 * width) ** 2).ravel()
    return domain.veil * (1.1 / (1 + squared * (1 + 0.4 * squared)) + 0.22 / (1 + 0.15 * squared))
