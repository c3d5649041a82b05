"""Light on the dressed geometry: sun, sky, lamps, headlights, snow, wet ground, fog; and heat images."""

from dataclasses import replace

import numpy as np

from minorkey.world.classes import Material, Train
from minorkey.world.domains import Colour, Domain
from minorkey.world.gbuffer import GBuffer
from minorkey.world.textures import Appearance, lookup, noise_table

LAMP_HEIGHT = 6.8


def shade(g: GBuffer, look: Appearance, domain: Domain) -> np.ndarray:
    """Light reaching the camera, (3, N) float32, before weather in the air and the sensor."""
    if domain.snow:
        look = _snowed(g, look, domain.snow)
    light = _irradiance(g, domain)
    light *= look.colour
    if domain.lights:
        glow = look.glow + g.spread(g.surfaces.glow)
        lit = np.flatnonzero(glow)
        for channel, colour, tint in zip(light, look.colour, (1.5, 1.15, 0.75), strict=True):
            channel[lit] += glow[lit] * (0.25 + 0.75 * colour[lit]) * (domain.lights * tint)
    light[:, g.sky] = _sky(g, domain)
    if domain.wet:
        _wet(g, light, domain.wet)
    if domain.fog:
        through = np.exp(np.minimum(g.place[2], 400) * -domain.fog)
        for channel, air in zip(light, domain.horizon, strict=True):
            channel -= air
            channel *= through
            channel += air
    if domain.veil:
        stray = _stray_light(g, domain).ravel()[g.order]
        for channel, tint in zip(light, (1.0, 0.92, 0.74), strict=True):
            channel += stray * tint
    return light


def thermal(g: GBuffer, look: Appearance) -> np.ndarray:
    """A heat image, (3, N) float32 grey: warm bodies bright, sky cold, textures smooth."""
    warmth = 0.27 + 0.62 * (look.heat + g.spread(g.surfaces.heat)) + 0.10 / 3 * look.colour.sum(0)
    warmth += _sunlight(g, g.scene.sun, 1.0) * 0.07
    warmth += 0.03 * lookup(noise_table(), g.place[0] * 0.4 + 8192, g.place[2] * 0.4 + 8192)
    warmth -= 0.27
    warmth *= np.exp(np.minimum(g.place[2], 200) * -0.004)
    warmth += 0.27
    warmth[g.sky] = 0.12 - 0.1 * np.clip(g.place[1, g.sky] / 1000, 0, 1)
    return np.broadcast_to(np.square(warmth), (3, len(warmth)))


def _column(colour: Colour) -> np.ndarray:
    return np.array(colour, np.float32)[:, None]


def _seen_from_above(place: np.ndarray, per_metre: float) -> np.ndarray:
    """Noise at the places (3, n)."""
    return lookup(noise_table(), place[0] * per_metre + 8192, place[2] * per_metre + 8192)


def _irradiance(g: GBuffer, domain: Domain) -> np.ndarray:
    """Light falling on each pixel, (3, N)."""
    normal = g.surfaces.normal
    open_sky = g.spread(0.78 + 0.22 * normal[1] + 0.06 * normal[0])
    standing = slice(g.ground.stop, None)
    open_sky[standing] *= 1 - 0.25 / (1 + np.square(2 * g.place[1, standing]))  # walls are soiled at their feet
    total = open_sky * _column(domain.ambient)
    if any(domain.sun):
        _add(total, _sunlight(g, sun_direction(g, domain), 0.85), domain.sun)
    if domain.lights:
        _add(total, _lamp_light(g) * (domain.lights * 0.18), (0.62, 0.46, 0.26))
    if domain.headlights:
        _add(total, _headlight(g) * domain.headlights, (0.95, 0.92, 0.80))
    return total


def _add(total: np.ndarray, light: np.ndarray, colour: Colour) -> None:
    for channel, tint in zip(total, colour, strict=True):
        channel += light * tint


def _sunlight(g: GBuffer, sun: np.ndarray, darkness: float) -> np.ndarray:
    """How squarely the sun meets each pixel, (N,), less a share in the shadows."""
    x, y, z = g.surfaces.normal
    facing = g.spread(np.maximum(x * sun[0] + y * sun[1] + z * sun[2], 0))
    facing[g.ground] *= 1 - darkness * g.shadow
    return facing


def sun_direction(g: GBuffer, domain: Domain) -> np.ndarray:
    """(3,) unit vector towards the sun."""
    if domain.sun_in_front:
        return np.array([g.scene.sun[0] * 0.3, 0.16, 0.95], np.float32)
    return g.scene.sun


def _lamp_light(g: GBuffer) -> np.ndarray:
    """Pools of light below the street lamps nearest to the camera, (N,)."""
    x, y, z = g.place
    height = 30 + np.square(LAMP_HEIGHT - y)
    total = np.zeros_like(x)
    for lamp_x, lamp_z in g.scene.lamps[:3].tolist():
        total += 60 / (height + np.square(x - lamp_x) + np.square(z - lamp_z))
    return total


def _headlight(g: GBuffer) -> np.ndarray:
    """The camera car's beam, falling off with distance and away from straight ahead, (N,)."""
    x, y, z = g.place
    beam = np.exp(-(np.square(x) * 6 + np.square(np.maximum(y - 0.4, 0)) * 25) / np.square(z))
    return beam * 0.8 / (1 + np.square(z * (1 / 13)))


def _sky(g: GBuffer, domain: Domain) -> np.ndarray:
    x, y, _ = g.place[:, g.sky]
    up = np.clip((y - g.camera.height) / 420, 0, 1)
    colour = _column(domain.horizon) * (1 - up) + _column(domain.zenith) * up
    if not domain.clouds:
        return colour
    stretch = 90 / (60 + np.maximum(y, 0))
    a, b = g.scene.noise_at
    cloud = lookup(noise_table(), x * 0.12 * stretch + 4096 + a, stretch * 110 + 4096 + b)
    cover = np.clip((cloud - 1 + 2 * domain.clouds) * 0.5, 0, 1) * 0.55
    bright = _column(domain.ambient) * 0.9 + _column(domain.horizon) * 0.55
    return colour * (1 - cover) + bright * cover


def _snowed(g: GBuffer, look: Appearance, amount: float) -> Appearance:
    """Snow on what faces up, thinner in the wheel tracks; dusting on foliage."""
    up = g.surfaces.normal[1].copy()
    up[g.surfaces.train_id == Train.VEGETATION] = 0.55
    patchy = 0.5 + 0.35 * _seen_from_above(g.place, 3)
    cover = patchy + (amount - 0.35)
    road = g.of(Material.ASPHALT)
    lateral = g.lateral[: road.stop - road.start]  # the first material of the ground
    cover[road] -= (np.abs(np.abs(lateral) - g.scene.road.half_width / 2) < 0.9) * np.float32(0.55)
    cover *= g.spread(np.clip((up - 0.35) * 2.2, 0, 1))
    np.clip(cover, 0, 0.97, out=cover)
    shade = 0.92 + 0.06 * patchy
    colour = np.empty_like(look.colour)
    for snowy, bare, white in zip(colour, look.colour, (0.88, 0.90, 0.94), strict=True):
        snowy[:] = bare + cover * (white * shade - bare)
    return replace(look, colour=colour)


def _wet(g: GBuffer, light: np.ndarray, amount: float) -> None:
    """Mirror the upper image in the ground, rippled, and darken the rest of the ground; in place."""
    width, height = g.camera.size
    ground, at = g.place[:, g.ground], g.order[g.ground]
    y = np.floor((at + np.float32(0.5)) * np.float32(1 / width))
    x = at - width * y
    ripple = _seen_from_above(ground, 6) * (width / 256)
    mirrored = np.clip(np.float32(2 * g.camera.centre[1]) - y + ripple * 2, 0, height - 1).astype(np.int32)
    seen_at = mirrored * width + np.clip(x + ripple, 0, width - 1).astype(np.int32)
    where = np.empty(len(g.order), np.intp)
    where[g.order] = np.arange(len(g.order))
    source = where.take(seen_at)
    puddle = np.clip(0.55 + 0.35 * _seen_from_above(ground, 0.7), 0.1, 1) * amount
    dry = (1 - 0.6 * amount) * (1 - puddle)
    for channel in light:
        seen = channel.take(source)
        wet = channel[g.ground]
        wet *= dry
        wet += seen * puddle


def _stray_light(g: GBuffer, domain: Domain) -> np.ndarray:
    """The sun's disc and the light it scatters in the lens, (height, width), brightest around the sun."""
    east, up, ahead = sun_direction(g, domain).tolist()
    width, height = g.camera.size
    x = np.arange(width, dtype=np.float32) - g.camera.centre[0] - g.camera.focal * east / ahead
    y = np.arange(height, dtype=np.float32)[:, None] - g.camera.centre[1] + g.camera.focal * up / ahead
    squared = (x * x + y * y) * np.float32(1 / (0.11 * width) ** 2)
    return domain.veil * (1.1 / (1 + squared * (1 + 0.4 * squared)) + 0.22 / (1 + 0.15 * squared))
